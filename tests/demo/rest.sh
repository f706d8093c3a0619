#!/usr/bin/env bash
# The rest: mistakes, repetitions, lost answers, a kill, failed jobs, invoices, drift, the legacy API, an overwritten disk, the books. run.sh sources it, and has the functions and the programs.
# shellcheck shell=bash disable=SC2154

title "8. Mistakes are refused before they cost anything"
say "A typo in a field:"
refused "sed 's/storageGb/storageGB/; s/restore-web-01/typo/' examples/restore-preview.yaml | kubectl apply -f -" \
  'unknown field "spec.target.cloudVm.storageGB"'
say "" "A ceiling without an end, which would buy again after a rebuild of the cluster:"
refused "sed '/validUntil/d' examples/restore-approved-ceiling.yaml | kubectl apply -f -" "validUntil is required with maxPrice"
say "" "Another backup in an object that already has a price:"
refused "kubectl -n shop patch vbr restore-web-01 --type=merge -p '{\"spec\":{\"source\":{\"backupId\":\"bkp_another\"}}}'" \
  "create a VpsBackupRestore with another name"
holds "the API server refused each, and said what to do"

say "" "A VPS by a name that it does not have:"
run "sed 's/vpsId: .*/vpsName: web-99/; s/name: restore-web-01/name: typo/' examples/restore-preview.yaml | kubectl apply -f -"
await vbr/typo VpsNotFound 20
show_message vbr/typo
say "" "A backup from before a time at which there was none; the message names the one that comes closest:"
run "sed 's/backupId: .*/backupSelector: {before: \"2020-01-01T00:00:00Z\"}/; s/name: restore-web-01/name: before/' examples/restore-preview.yaml | kubectl apply -f -"
await vbr/before BackupNotFound 20
show_message vbr/before
run "kubectl -n shop delete vbr typo before"

title "9. The same manifest again, as after a namespace or a cluster was created again from Git"
run "kubectl delete -f examples/restore-preview.yaml"
run "kubectl apply -f examples/restore-preview.yaml"
await vbr/restore-web-01 AlreadyExecuted 20
say "" "One name, one restore: the operator found its record."
run "kubectl -n shop get vbr"
count_purchases
expect "HostUp sold nothing more" "$bought" 1

title "10. Approved in Git, and the answer is lost"
curl -fsS -X POST "$sim/_sim/job-duration/3s" >/dev/null
say "A ceiling instead of a quote. It has expired, so the operator buys nothing yet:"
run "kubectl apply -f examples/restore-approved-ceiling.yaml"
await vbr/restore-web-02 ApprovalExpired 20
run "kubectl -n shop get vbr restore-web-02"
count_purchases
expect "still one purchase" "$bought" 1
say "" "HostUp will now execute the next order and then drop the connection without an answer:"
run "curl -fsS -X POST '$sim/_sim/faults/lost-answer'"
run "kubectl -n shop patch vbr restore-web-02 --type=merge -p '{\"spec\":{\"approval\":{\"validUntil\":\"$(in_an_hour)\"}}}'"
kubectl -n shop wait vbr/restore-web-02 --for=condition=Ready --timeout=60s >/dev/null ||
  die "the restore did not become ready: $(message vbr/restore-web-02)"
say "" "The name of the VM contains a token, so the operator found the VM in HostUp's list:"
run "kubectl -n shop events --for vbr/restore-web-02"
expect "the VM was found by the token in its name" "$(record_of vbr/restore-web-02 '{.status.evidence}')" VmFound
events=$(kubectl -n shop events --for vbr/restore-web-02 -o jsonpath='{.items[*].reason}')
[[ $events == *ConfirmingOutcome* && $events != *OutcomeUnknown* ]] || die "the events are: $events"
holds "the events say that the operator searched, and it asked nobody"
count_purchases
expect "two purchases for two restores" "$bought" 2
count_orders
expect "two orders were sent; the lost one was not repeated" "$orders" 2

title "11. An order is lost before HostUp executes it: only a user can find out"
run "curl -fsS -X POST '$sim/_sim/faults/lost-request'"
run "sed 's/web-02/web-03/; s/2026-01-31T00:00:00Z/$(in_an_hour)/' examples/restore-approved-ceiling.yaml | kubectl apply -f -"
say "For the operator this looks the same: no answer. It searches for the settle time (5 s here, 15 min by default)."
await vbr/restore-web-03 OutcomeUnknown 60
run "kubectl -n shop get vbr restore-web-03"
say "" "The operator does not guess. It asks, and prints the command for each answer:"
show_message vbr/restore-web-03
count_orders
expect "the order was sent once and not repeated" "$orders" 3
count_purchases
expect "no third VM was sold" "$bought" 2
say "" "HostUp's panel shows no such VM, so a user answers with the first command:"
answer=$(message vbr/restore-web-03 | grep -o "kubectl patch vpsoperation [^']*'[^']*NotExecuted[^']*'") ||
  die "the message prints no command"
run "$answer"
say "Only now, and because the approval is still valid, the operator orders again:"
kubectl -n shop wait vbr/restore-web-03 --for=condition=Ready --timeout=60s >/dev/null ||
  die "the restore did not become ready: $(message vbr/restore-web-03)"
run "kubectl -n shop get vbr restore-web-03"
count_purchases
expect "three purchases for three restores" "$bought" 3

title "12. The operator is killed during a restore"
curl -fsS -X POST "$sim/_sim/job-duration/8s" >/dev/null
run "sed 's/web-02/web-04/; s/2026-01-31T00:00:00Z/$(in_an_hour)/' examples/restore-approved-ceiling.yaml | kubectl apply -f -"
await vbr/restore-web-04 JobRunning 30
run "kill -9 $operator_pid"
wait "$operator_pid" 2>/dev/null || true
unset 'pids[-1]'
say "" "Start it again. The new process waits until the Lease of the old one expires, 15 s:"
show "hostup-operator ..."
start_operator
kubectl -n shop wait vbr/restore-web-04 --for=condition=Ready --timeout=90s >/dev/null ||
  die "the restore did not become ready: $(message vbr/restore-web-04)"
run "kubectl -n shop get vbr"
count_purchases
expect "four purchases for four restores" "$bought" 4
count_orders
expect "five orders in all, one of them lost in step 11; one for each record" \
  "$orders" "$(kubectl get vop -o jsonpath='{.items[*].spec.type}' | tr ' ' '\n' | occurrences RestoreToCloudVm)"

title "13. HostUp's job fails and leaves a VM behind"
curl -fsS -X POST "$sim/_sim/job-duration/3s" >/dev/null
run "curl -fsS -X POST '$sim/_sim/faults/job-failed'"
run "sed 's/web-02/web-05/; s/2026-01-31T00:00:00Z/$(in_an_hour)/' examples/restore-approved-ceiling.yaml | kubectl apply -f -"
await vbr/restore-web-05 VpsLeftBilling 30
show_message vbr/restore-web-05
left=$(kubectl -n shop get vbr restore-web-05 -o jsonpath='{.status.vm.vpsId}')
[[ -n $left && $(message vbr/restore-web-05) == *"$left"* ]] || die "the message does not name the VM '$left'"
count_purchases
expect "the message names the VM that costs money, and the operator buys no other" "$bought" 5

title "14. A change whose invoice must be paid first"
curl -fsS -X POST "$sim/_sim/faults/config-unpaid" >/dev/null
say "Two more snapshot slots. The approval named the quote of step 5, so this is a preview again:"
run "kubectl -n shop patch vrc web-01 --type=merge -p '{\"spec\":{\"resources\":{\"snapshotSlots\":3}}}'"
await vrc/web-01 AwaitingApproval 20
count_changes
expect "an approval that was used buys nothing more" "$changes" 1
approve vrc/web-01 vpsresourceconfig
await vrc/web-01 AwaitingPayment 20
say "" "HostUp accepted the order and created an invoice. Nothing changes until it is paid, and nothing is sent again:"
run "kubectl -n shop get vrc"
show_message vrc/web-01
run "kubectl -n shop get vrc web-01 -o jsonpath='{.status.invoice}{\"\\n\"}'"
expect "HostUp still shows one slot" "$(panel_shows snapshotSlots)" 1
invoice=$(kubectl -n shop get vrc web-01 -o jsonpath='{.status.invoice.id}')
say "" "A user pays in HostUp's panel:"
run "curl -fsS -X POST '$sim/_sim/invoices/$invoice/pay'"
run "kubectl -n shop wait vrc/web-01 --for=condition=Ready --timeout=30s"
expect "the operator found out by itself that HostUp shows three slots" "$(panel_shows snapshotSlots)" 3
count_changes
expect "two changes, two orders" "$changes" 2

title "15. Somebody changes an option in HostUp's panel"
run "curl -fsS -X POST '$sim/_sim/option/bandwidthGb/2048'"
say "The operator reads options again every --resync-interval (3 s here, an hour by default):"
await vrc/web-01 Drifted 30
run "kubectl -n shop get vrc"
show_message vrc/web-01
count_changes
expect "the default driftPolicy is Report: the status shows the drift, and nothing was ordered" "$changes" 2
say "" "Now the file for Git: the same options, with driftPolicy Correct and a ceiling for each change:"
run "grep -v '^#' examples/config-approved-ceiling.yaml"
say "" "Without validUntil the ceiling stays valid:"
run "sed '/validUntil/d' examples/config-approved-ceiling.yaml | kubectl apply -f -"
await vrc/web-01 InSync 30
run "kubectl -n shop get vrc"
expect "HostUp has 4096 GB again" "$(panel_shows bandwidthGb)" 4096
count_changes
expect "it took one more order, at a price that the ceiling allows" "$changes $(quoted vrc/web-01)" \
  "3 40.00 SEK now, 40.00 SEK/month"
say "" "Somebody changes the option again. To correct it each time would cost money each time:"
run "curl -fsS -X POST '$sim/_sim/option/bandwidthGb/2048'"
await vrc/web-01 DriftContested 30
show_message vrc/web-01
count_changes
expect "the operator corrected it once, and not again" "$changes" 3

title "16. HostUp commits a change and answers with an error"
say "HostUp will execute the next order and answer 502, which means \"committed, but the invoice failed\":"
run "curl -fsS -X POST '$sim/_sim/faults/config-502-acted'"
say "" "The conflict is settled, and the user requests IPv6 too. A changed spec starts again, and the ceiling allows it:"
run "kubectl -n shop patch vrc web-01 --type=merge -p '{\"spec\":{\"resources\":{\"ipv6\":true}}}'"
run "kubectl -n shop wait vrc/web-01 --for=condition=Ready --timeout=60s"
run "kubectl -n shop get vrc"
expect "the answer proved nothing, so the operator read the options as evidence" "$(record_of vrc/web-01 '{.status.evidence}')" ReadBack
expect "HostUp has 4096 GB and IPv6" "$(panel_shows bandwidthGb) $(panel_shows ipv6)" "4096 true"
count_changes
expect "four orders were sent in all and HostUp executed four: none was repeated" "$commits $changes" "4 4"
say "" "All events of the object:"
run "kubectl -n shop events --for vrc/web-01 | cut -c 1-150"

title "17. HostUp's legacy API, which is off unless the admin allows it"
say "This operator runs with --enable-legacy-upgrade. HostUp's pages do not say what an estimate of the" \
  "legacy API does, so the estimate has its own record and is made at most once:"
run "grep -v '^#' examples/config-legacy.yaml"
run "kubectl apply -f examples/config-legacy.yaml"
await vrc/web-01-disk AwaitingApproval 30
run "kubectl -n shop get vrc"
show_message vrc/web-01-disk
count_changes
expect "the operator made an estimate, and nothing was bought" "$upgrades" 0
say "" "The estimate needed no approval. The order needs one:"
approve vrc/web-01-disk vpsresourceconfig
run "kubectl -n shop wait vrc/web-01-disk --for=condition=Ready --timeout=30s"
show_message vrc/web-01-disk
count_changes
expect "one upgrade was ordered" "$upgrades" 1
estimates=$(kubectl get vop -o jsonpath='{.items[?(@.spec.type=="LegacyEstimate")].status.state}')
expect "after one estimate" "$estimates" Succeeded

title "18. A restore onto a VPS that exists costs nothing, and destroys the data of a disk"
vm=$(kubectl -n shop get vbr restore-web-01 -o jsonpath='{.status.vm.vpsId}')
say "The newest backup of the first VPS, onto the VM of step 3:"
run "sed 's/vps_01hxc4d5e6f7g8h9j0k1m2n3p4/$vm/' examples/restore-existing-vps.yaml | kubectl apply -f -"
await vbr/overwrite-web-02 AwaitingApproval 20
run "kubectl -n shop get vbr overwrite-web-02"
show_message vbr/overwrite-web-02
expect "it has no price" "$(quoted vbr/overwrite-web-02)" "no charge"
count_overwrites
expect "a preview overwrites nothing" "$overwrites" 0
say "" "A ceiling says nothing about a disk, so it cannot approve this:"
refused "kubectl -n shop patch vbr overwrite-web-02 --type=merge -p '{\"spec\":{\"approval\":{\"maxPrice\":{\"perHour\":\"9.00\",\"currencyCode\":\"SEK\"},\"validUntil\":\"$(in_an_hour)\"}}}'" \
  "existingVps does not support approval.maxPrice"
say "" "The quote can. It names the VM and its state:"
approve vbr/overwrite-web-02 vpsbackuprestore
run "kubectl -n shop wait vbr/overwrite-web-02 --for=condition=Ready --timeout=60s"
run "kubectl -n shop get vbr overwrite-web-02"
backup=$(kubectl -n shop get vbr overwrite-web-02 -o jsonpath='{.status.backup.id}')
expect "the disk of the VM has the backup" "$(vps_shows "$vm" content)" "$backup"
expect "the record names the state of the VM before" "$(record_of vbr/overwrite-web-02 '{.spec.changes.from.powerState}')" running
count_overwrites
expect "it took one call" "$overwrites" 1
say "" "The file asks for a backup of the VM before (backupFirst). The operator made it, and waited for it:"
run "kubectl get vop --sort-by=.metadata.creationTimestamp | tail -n 2"
first=$(kubectl -n shop get vbr overwrite-web-02 -o jsonpath='{.status.backupFirst.id}')
made=$(curl -fsS "$sim/_sim/purchases" | tr '{' '\n' | sed -n 's/.*"backup":"\(bkp_[^"]*\)".*before a change by hostup-operator.*/\1/p')
expect "the status names the backup that HostUp made" "$first" "$made"

title "19. The cost so far: three sources, one sum"
say "The ledger of restores and options, with the call that a user declared not executed, the VM of the" \
  "failed job, and the estimate, which has no price:"
run "kubectl get vop --sort-by=.metadata.creationTimestamp"
run "curl -fsS $operator/metrics | grep '^hostup_operator_spend_'"
say "" "The simulator's own list ($sim/_sim/purchases):" "VMs by the hour, then changes, due at once:"
ledger=$(curl -fsS "$sim/_sim/purchases")
tr '{' '\n' <<<"$ledger" |
  sed -nE 's/.*"name":"([^"]*)".*"perHour":"?([0-9.]+)"?.*"vpsId":"([^"]*)".*/\1  \2 SEK\/h  \3/p' | tee "$dir/book"
tr '{' '\n' <<<"$ledger" |
  sed -nE -e 's/.*"kind":"Config".*"amount":"?([0-9.]+)"?.*/options  \1 SEK/p' \
    -e 's/.*"kind":"LegacyUpgrade".*"total":"?([0-9.]+)"?.*/upgrade  \1 SEK/p' | tee "$dir/changes"
sum() { awk '{ sum += $NF } END { printf "%.2f", sum }'; }
in_book=$(awk '{ print $2 }' "$dir/book" | sum)
in_ledger=$(kubectl get vop -o jsonpath='{range .items[?(@.status.result.vpsId)]}{.spec.quote.perHour}{"\n"}{end}' | sum)
in_metrics=$(curl -fsS "$operator/metrics" | grep '^hostup_operator_spend_per_hour{' | sum)
expect "per hour, the ledger and HostUp's list have the same sum, $in_book SEK" "$in_ledger" "$in_book"
expect "the metric has the same sum" "$in_metrics" "$in_book"
names_in_book=$(awk '{ print $1 }' "$dir/book" | sort)
names_in_ledger=$(kubectl get vop -o jsonpath='{range .items[?(@.status.result.vpsId)]}{.status.result.name}{"\n"}{end}' | sort)
expect "the ledger and HostUp's list have the same names" "$names_in_ledger" "$names_in_book"
in_book=$(awk '{ print $2 }' "$dir/changes" | sum)
in_ledger=$(kubectl get vop -o jsonpath='{range .items[?(@.status.state=="Succeeded")]}{.spec.quote.dueNow}{"\n"}{end}' | sum)
in_metrics=$(curl -fsS "$operator/metrics" | grep '^hostup_operator_spend_at_once{' | sum)
expect "due at once, the ledger and HostUp's list have the same sum, $in_book SEK" "$in_ledger" "$in_book"
expect "the metric has the same sum" "$in_metrics" "$in_book"
if grep -q 'lacks rights\|orbidden' "$dir/operator.log"; then die "the RBAC of deploy/ refused something to the operator"; fi
if grep -q put-your-hostup-api-key-here "$dir/operator.log"; then die "the log contains the API key"; fi
holds "the rights of deploy/rbac.yaml were enough, and no log line contains the API key"
