#!/usr/bin/env bash
# The first five minutes of a user: preview, approval, VM, ledger, options, budget, size. run.sh sources it, and has the functions and the programs.
# shellcheck shell=bash disable=SC2154

title "1. A preview shows the price and spends nothing"
run "kubectl create namespace shop"
run "kubectl apply -f examples/secret.yaml -f examples/restore-preview.yaml"
await vbr/restore-web-01 AwaitingApproval 20
run "kubectl -n shop get vbr"
say "" "The gates: whatever could close the purchase at HostUp, as the operator read it. And the operator's message:"
run "kubectl -n shop get vbr restore-web-01 -o jsonpath='{range .status.gates[*]}{.name}={.allowed} {end}{\"\\n\"}'"
show_message vbr/restore-web-01
price=$(kubectl -n shop get vbr restore-web-01 -o jsonpath='{.status.quote.summary}')
expect "this is the price of 2 cores, 4 GB of memory, 80 GB of storage and an IPv4 address" "$price" "0.66 SEK/h"
gates=$(kubectl -n shop get vbr restore-web-01 -o jsonpath='{.status.gates[*].allowed}')
expect "the operator read six gates, and all are open" "$gates" "true true true true true true"
count_purchases
expect "nothing was bought (the simulator's list of sales is empty)" "$bought" 0
say "" "The VPS web-01 and its backup stay as they are. To buy nothing, delete the object. To stop a purchase that is approved \
already, suspend or delete the object, or set the annotation vps.hostup.se/hold: \"true\", before the purchase is sent. Nothing but \
HostUp's panel cancels a VM: to delete the object then deletes no VM."

title "2. Approval, with the command that the message printed"
approve vbr/restore-web-01 vpsbackuprestore

say "" "HostUp creates the VM. The status shows the progress in steps of 25 %:"
columns='REASON:.status.conditions[?(@.type=="Ready")].reason,JOB:.status.job.status,PROGRESS:.status.job.progress'
show "kubectl -n shop get vbr restore-web-01 --watch -o custom-columns='$columns'"
kubectl -n shop get vbr restore-web-01 --watch -o custom-columns="$columns" > >(tee "$dir/progress") 2>/dev/null 3>&- &
watch=$!
pids+=("$watch")
kubectl -n shop wait vbr/restore-web-01 --for=condition=Ready --timeout=60s >/dev/null ||
  die "the restore did not become ready: $(message vbr/restore-web-01)"
for ((tries = 50; tries > 0; tries--)); do
  ! grep -q '^Restored' "$dir/progress" || break
  sleep 0.1
done
stop_one "$watch"
unset 'pids[-1]'
grep -Eq '^JobRunning +in_progress +(25|50|75)' "$dir/progress" || die "no progress was shown on the way"
holds "the status showed progress, and kubectl wait --for=condition=Ready returned"

title "3. The new VM"
run "kubectl -n shop get vbr"
ip=$(kubectl -n shop get vbr restore-web-01 -o jsonpath='{.status.vm.primaryIp}')
run "kubectl -n shop get vbr restore-web-01 -o jsonpath='{.status.vm}{\"\\n\"}'"
run "kubectl -n shop events --for vbr/restore-web-01"
[[ $ip =~ ^[0-9.]+$ ]] || die "the VM has no address: '$ip'"
[[ $(curl -fsS "$sim/_sim/vps") == *"\"primaryIp\":\"$ip\""* ]] || die "HostUp has no VM with the address $ip"
holds "HostUp has a VM with this address"
count_purchases
expect "one VM was bought" "$bought" 1

title "4. The ledger: one record for each paid call, created before the call"
say "A record exists before the first byte is sent, outlives the object and the namespace, and is immutable:"
run "kubectl get vop"
run "kubectl get vop -o jsonpath='{.items[0].spec.request}{\"\\n\"}'"
expect "the record shows the outcome" "$(record_of vbr/restore-web-01 '{.status.state}')" Succeeded
expect "and the price that was approved" "$(record_of vbr/restore-web-01 '{.spec.quote.summary}')" "0.66 SEK/h"
refused "kubectl patch vop $(record_of vbr/restore-web-01 '{.metadata.name}') --type=merge -p '{\"spec\":{\"quote\":{\"perHour\":\"0.01\"}}}'" \
  "a VpsOperation is immutable"

title "5. VpsResourceConfig: paid options of a VPS, again with a preview first"
say "The source VPS has 2048 GB of traffic. This file requests 4096:"
run "cat examples/config-preview.yaml"
run "kubectl apply -f examples/config-preview.yaml"
await vrc/web-01 AwaitingApproval 20
run "kubectl -n shop get vrc"
show_message vrc/web-01
expect "the price is that of HostUp's own dry run" "$(quoted vrc/web-01)" "40.00 SEK now, 40.00 SEK/month"
count_changes
expect "a dry run is not an order: nothing was bought" "$changes" 0
say "" "The kubectl plugin shows what waits for you, and approves exactly the quote that you name or see:"
run "kubectl hostup status -n shop"
quote=$(kubectl -n shop get vrc web-01 -o jsonpath='{.status.quote.id}')
refused "kubectl hostup approve vrc/web-01 -n shop --yes --quote q-another" "has another quote: $quote"
run "kubectl hostup approve vrc/web-01 -n shop --yes --quote $quote"
run "kubectl -n shop wait vrc/web-01 --for=condition=Ready --timeout=30s"
run "kubectl -n shop get vrc"
say "" "InSync means that the operator has read the new options back:"
run "kubectl -n shop get vrc web-01 -o jsonpath='{.status.current}{\"\\n\"}'"
expect "HostUp has 4096 GB" "$(panel_shows bandwidthGb)" 4096
count_changes
expect "it took one order" "$changes" 1
say "" "Everything that was bought so far:"
run "kubectl hostup spend"
spend=$(kubectl hostup spend -o json)
[[ $spend == *0.66* && $spend == *40.00* ]] || die "the sums are: $spend"
holds "the sums are those of the two purchases"

title "6. A budget limits what a namespace spends, whoever approves"
say "An administrator allows 1.00 SEK/h for all VMs of the namespace together. One VM for 0.66 SEK/h is there already:"
run "sed 's/perHour: .*/perHour: \"1.00\"/' examples/budget.yaml | kubectl apply -f -"
kubectl wait vpsbudget/shop --for=jsonpath='{.status.perHour.used}'=0.66 --timeout=20s >/dev/null ||
  die "the budget does not count the VM: $(kubectl get vpsbudget shop -o yaml)"
run "kubectl get vpsbudgets"
say "" "Another restore, approved with the plugin:"
run "sed 's/restore-web-01/restore-web-06/' examples/restore-preview.yaml | kubectl apply -f -"
await vbr/restore-web-06 AwaitingApproval 20
quote=$(kubectl -n shop get vbr restore-web-06 -o jsonpath='{.status.quote.id}')
run "kubectl hostup approve vbr/restore-web-06 -n shop --yes --quote $quote"
await vbr/restore-web-06 BudgetExceeded 20
run "kubectl -n shop get vbr"
show_message vbr/restore-web-06
count_purchases
expect "nothing was bought" "$bought" 1
say "" "It continues when the administrator raises the limit, or when a VM ends. Here, the user deletes the object:"
run "kubectl -n shop delete vbr restore-web-06"
run "kubectl hostup spend"
run "kubectl delete vpsbudget shop"

title "7. Another size of the new VM, which HostUp bills by the hour"
vm=$(kubectl -n shop get vbr restore-web-01 -o jsonpath='{.status.vm.vpsId}')
say "The VM has 2 cores and 4 GB of memory. This file requests 4 and 8:"
run "sed 's/vps_01hxc4d5e6f7g8h9j0k1m2n3p4/$vm/' examples/config-resize.yaml | kubectl apply -f -"
await vrc/web-01-size AwaitingApproval 20
run "kubectl -n shop get vrc web-01-size"
show_message vrc/web-01-size
expect "the price is that of the whole VM, and the difference to now" "$(quoted vrc/web-01-size)" "1.06 SEK/h (+0.40)"
approve vrc/web-01-size vpsresourceconfig
run "kubectl -n shop wait vrc/web-01-size --for=condition=Ready --timeout=30s"
run "kubectl -n shop get vrc web-01-size -o jsonpath='{.status.current}{\"\\n\"}'"
expect "HostUp has 4 cores and 8 GB" "$(vps_shows "$vm" cpuCores) $(vps_shows "$vm" memoryGb)" "4 8"
run "kubectl hostup spend"
say "" "Back to the size of before. An approval that was used orders nothing more, so this needs another quote:"
run "kubectl -n shop patch vrc web-01-size --type=merge -p '{\"spec\":{\"cloudVm\":{\"cpuCores\":2,\"memoryGb\":4}}}'"
await vrc/web-01-size AwaitingApproval 20
expect "the VM becomes cheaper" "$(quoted vrc/web-01-size)" "0.66 SEK/h (-0.40)"
approve vrc/web-01-size vpsresourceconfig
run "kubectl -n shop wait vrc/web-01-size --for=condition=Ready --timeout=30s"
expect "HostUp has 2 cores and 4 GB again" "$(vps_shows "$vm" cpuCores) $(vps_shows "$vm" memoryGb)" "2 4"
expect "two resizes, two orders" "$(curl -fsS "$sim/_sim/purchases" | occurrences '"kind":"Resize"')" 2
