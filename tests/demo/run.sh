#!/usr/bin/env bash
# A demo of hostup-operator: a real Kubernetes API server, the release binary with the rights of deploy/rbac.yaml, and a
# simulator instead of HostUp. Nothing leaves this machine and nothing is bought. The script checks every claim that it
# prints, and ends with an error at the first claim that is not true.
#
#   make demo            shows it and cleans up
#   KEEP=1 make demo     leaves everything running and says how to stop it
#
# Needs bash and curl, in addition to the programs that `make demo` builds.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
built=${CARGO_TARGET_DIR:-$root/target}/release
programs=$(bash tests/control-plane/build.sh)
PATH=$programs:$PATH
dir=$(mktemp -d "${TMPDIR:-/tmp}/hostup-demo.XXXXXX")
readonly root built programs dir
pids=() # in the order of starting
failed=0

if [[ -t 1 ]]; then bold=$'\e[1m' green=$'\e[32m' cyan=$'\e[36m' plain=$'\e[0m'; else bold='' green='' cyan='' plain=''; fi

title() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
say() { printf '%s\n' "$@" | fold -s -w 100; }
holds() { printf '%s   [checked] %s%s\n' "$green" "$*" "$plain"; }
show() { printf '%s$ %s%s\n' "$cyan" "$*" "$plain"; }

die() {
  failed=1
  printf '\nThe demo FAILED: %s\n' "$*" >&2
  if [[ -s $dir/operator.log ]]; then
    printf 'Last lines of the operator:\n' >&2
    tail -n 15 "$dir/operator.log" >&2
  fi
  exit 1
}

# Shows a command as a user would type it, then runs exactly this text.
run() {
  show "$1"
  eval "$1" || die "this command should have worked: $1"
}

# Runs a command that must be refused with these words.
refused() {
  local said
  show "$1"
  if said=$(eval "$1" 2>&1); then die "this command should have been refused: $1"; fi
  fold -s -w 100 <<<"$said"
  [[ $said == *"$2"* ]] || die "the refusal does not say: $2"
}

expect() { # claim, actual value, expected value
  [[ $2 == "$3" ]] || die "$1: it is '$2' and should be '$3'"
  holds "$1"
}

stop_one() {
  local pid=$1 tries=150
  kill "$pid" 2>/dev/null || return 0
  while kill -0 "$pid" 2>/dev/null && ((tries-- > 0)); do sleep 0.1; done
  kill -9 "$pid" 2>/dev/null || true
}

stop() {
  local status=$? n
  trap '' INT TERM
  [[ $status == 0 || $status == 130 || $status == 143 ]] || failed=1
  for ((n = ${#pids[@]} - 1; n >= 0; n--)); do stop_one "${pids[n]}"; done
  if ((failed)); then
    printf 'Logs are in %s\n' "$dir" >&2
  else
    rm -rf "$dir"
  fi
  exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Starts a program that prints one line when it is ready, and sets `line` to it.
start() { # name, seconds, command...
  local name=$1 seconds=$2
  shift 2
  mkfifo "$dir/$name.ready"
  "$@" <"$dir/held" >"$dir/$name.ready" 2>"$dir/$name.log" 3>&- &
  pids+=("$!")
  IFS= read -r -t "$seconds" line <"$dir/$name.ready" || {
    cat "$dir/$name.log" >&2
    die "$name was not ready within $seconds s"
  }
}

# Starts the operator and waits until it is ready; sets `operator` to its address.
start_operator() {
  local tries log=$dir/operator.log from
  touch "$log"
  from=$(($(wc -l <"$log") + 1))
  KUBECONFIG=$as_operator "$built/hostup-operator" "${flags[@]}" <"$dir/held" >>"$log" 2>&1 3>&- &
  operator_pid=$!
  pids+=("$operator_pid")
  for ((tries = 100; tries > 0; tries--)); do
    operator=http://$(tail -n "+$from" "$log" | sed -n 's/.*serving .* address=\([0-9.:]*\).*/\1/p')
    ! curl -fsS "$operator/readyz" >/dev/null 2>&1 || return 0
    kill -0 "$operator_pid" 2>/dev/null || die "the operator ended"
    sleep 0.2
  done
  die "the operator was not ready within 20 s"
}

in_an_hour() {
  local at=$(($(date +%s) + 3600))
  date -u -d "@$at" +%Y-%m-%dT%H:%M:%SZ 2>/dev/null || date -u -r "$at" +%Y-%m-%dT%H:%M:%SZ
}

await() { # object, reason, seconds
  local path='{.status.conditions[?(@.type=="Ready")].reason}'
  kubectl -n shop wait "$1" --for=jsonpath="$path"="$2" --timeout="$3s" >/dev/null 2>&1 ||
    die "$1 did not come to $2 within $3 s, it is: $(kubectl -n shop get "$1" -o jsonpath="$path" 2>&1)"
}

message() { # object
  kubectl -n shop get "$1" -o jsonpath='{.status.conditions[?(@.type=="Ready")].message}'
}

show_message() { # object
  run "kubectl -n shop get $1 -o jsonpath='{.status.conditions[?(@.type==\"Ready\")].message}{\"\\n\"}' | fold -s -w 100"
}

# Runs the command that the object's message printed.
approve() { # object, kind as the command spells it
  local command
  command=$(message "$1" | sed -n 's/.*To approve: //p')
  [[ $command == "kubectl -n shop patch $2 ${1#*/} "* ]] || die "the message of $1 prints no command: $command"
  run "$command"
}

record_of() { # object, jsonpath of its last VpsOperation
  local name
  name=$(kubectl -n shop get "$1" -o jsonpath='{.status.operation.name}')
  kubectl get vop "$name" -o jsonpath="$2"
}

# Sets `bought`: the number of VMs that the simulator has sold, whatever it answered.
count_purchases() {
  local ledger
  ledger=$(curl -fsS "$sim/_sim/purchases") || die "the simulator does not answer"
  bought=$(tr '{' '\n' <<<"$ledger" | grep -c '"sequence"') || true
}

# Sets `orders`: the number of paid requests that reached the simulator, executed or not.
count_orders() {
  local requests
  requests=$(curl -fsS "$sim/_sim/requests") || die "the simulator does not answer"
  orders=$(grep -o '"path":"[^"]*/actions/restore-to-payg"' <<<"$requests" | wc -l)
  orders=$((orders))
}

# Sets `changes` and `upgrades`: the number of changes of options, and of upgrades through the legacy API, that the simulator
# has sold; and `commits`: the number of orders of options that reached it, executed or not.
count_changes() {
  local ledger requests
  ledger=$(curl -fsS "$sim/_sim/purchases") || die "the simulator does not answer"
  requests=$(curl -fsS "$sim/_sim/requests") || die "the simulator does not answer"
  changes=$(occurrences '"kind":"Config"' <<<"$ledger")
  upgrades=$(occurrences '"kind":"LegacyUpgrade"' <<<"$ledger")
  commits=$(occurrences '\"dryRun\":false' <<<"$requests")
}

occurrences() { # text; reads standard input
  { grep -oF -- "$1" || true; } | wc -l | tr -d ' '
}

# Prints the value of an option of the first VPS, as HostUp has it.
panel_shows() { # key
  curl -fsS "$sim/_sim/vps" | grep -o "\"$1\":[^,}]*" | head -n 1 | cut -d : -f 2
}

quoted() { # object
  kubectl -n shop get "$1" -o jsonpath='{.status.quote.summary}'
}

title "Start: API server, simulator, operator"
for program in curl kubectl; do
  command -v "$program" >/dev/null || die "$program is missing: install it"
done
for program in hostup-operator hostup-sim control-plane; do
  [[ -x $built/$program ]] || die "$built/$program is missing; run: make demo"
done
# Programs that read this pipe stop when the last writer is gone, even after kill -9 of this script.
mkfifo "$dir/held"
exec 3<>"$dir/held"
if [[ -n ${KEEP:-} ]]; then
  sleep infinity >"$dir/held" 2>/dev/null 3>&- &
  pids+=("$!")
fi

start control-plane 120 "$built/control-plane" up --dir "$dir/cluster"
export KUBECONFIG=$dir/cluster/kubeconfig
say "A real Kubernetes API server with nothing in it:"
run "kubectl version | tail -n 1"

# The simulator takes the placeholder of examples/secret.yaml for a key.
start hostup-sim 20 "$built/hostup-sim" --listen 127.0.0.1:0 --key put-your-hostup-api-key-here
[[ $line =~ (http://127\.0\.0\.1:[0-9]+) ]] || die "the simulator printed no address: $line"
sim=${BASH_REMATCH[1]}
say "" "A simulator instead of HostUp, with one VPS, its backups, and its own list of sales ($sim)."

hostup-operator() { "$built/hostup-operator" "$@"; }
say "" "Install the operator: its CRDs, and the rights that it needs."
run "hostup-operator crds | kubectl apply --server-side -f -"
run "kubectl apply -f deploy/rbac.yaml"

as_operator=$dir/operator.kubeconfig
cp "$KUBECONFIG" "$as_operator"
{
  admin=$(kubectl config view -o jsonpath='{.users[0].name}')
  kubectl --kubeconfig "$as_operator" config set-credentials operator \
    --token="$(kubectl -n hostup-system create token hostup-operator --duration=2h)"
  kubectl --kubeconfig "$as_operator" config set-context --current --user=operator
  kubectl --kubeconfig "$as_operator" config delete-user "$admin"
} >/dev/null
whoami=$(kubectl --kubeconfig "$as_operator" auth whoami -o jsonpath='{.status.userInfo.username}')
expect "the operator runs as its ServiceAccount" "$whoami" system:serviceaccount:hostup-system:hostup-operator
may() { kubectl auth can-i "$@" --as=system:serviceaccount:hostup-system:hostup-operator 2>/dev/null || true; }
expect "it may not list Secrets" "$(may list secrets --all-namespaces)" no
expect "it may not delete its records" "$(may delete vpsoperations.vps.hostup.se)" no
for kind in vpsbackuprestores vpsresourceconfigs; do
  expect "it may not change the objects of users ($kind)" "$(may update $kind.vps.hostup.se --all-namespaces)" no
done

say "" "Start the operator as this ServiceAccount. The durations are short for the demo; the defaults are minutes."
# The demo runs in one namespace, and buys more there than the default cap of a namespace allows.
flags="--hostup-url $sim --listen 127.0.0.1:0 --log-format text --settle-time 5s --poll-interval 500ms"
flags+=" --max-paid-calls-per-namespace 20"
flags+=" --request-timeout 5s --paid-timeout 10s --gate-interval 5s --resync-interval 3s --enable-legacy-upgrade"
show "KUBECONFIG=$as_operator hostup-operator $flags"
read -ra flags <<<"$flags"
start_operator
holds "/readyz says ok"

title "1. A preview shows the price and spends nothing"
run "kubectl create namespace shop"
run "kubectl apply -f examples/secret.yaml -f examples/restore-preview.yaml"
await vbr/restore-web-01 AwaitingApproval 20
run "kubectl -n shop get vbr"
say "" "The gates that the operator read at HostUp, and its message:"
run "kubectl -n shop get vbr restore-web-01 -o jsonpath='{range .status.gates[*]}{.name}={.allowed} {end}{\"\\n\"}'"
show_message vbr/restore-web-01
price=$(kubectl -n shop get vbr restore-web-01 -o jsonpath='{.status.quote.summary}')
expect "this is the price of 2 cores, 4 GB of memory, 80 GB of storage and an IPv4 address" "$price" "0.66 SEK/h"
gates=$(kubectl -n shop get vbr restore-web-01 -o jsonpath='{.status.gates[*].allowed}')
expect "the operator read six gates, and all are open" "$gates" "true true true true true true"
count_purchases
expect "nothing was bought" "$bought" 0

title "2. Mistakes are refused before they cost anything"
say "A typo in a field:"
refused "sed 's/storageGb/storageGB/; s/restore-web-01/typo/' examples/restore-preview.yaml | kubectl apply -f -" \
  'unknown field "spec.target.cloudVm.storageGB"'
say "" "A ceiling without an end, which would buy again after a rebuild of the cluster:"
refused "sed '/validUntil/d' examples/restore-approved-ceiling.yaml | kubectl apply -f -" "validUntil is required with maxPrice"
say "" "Another backup in an object that already has a price:"
refused "kubectl -n shop patch vbr restore-web-01 --type=merge -p '{\"spec\":{\"source\":{\"backupId\":\"bkp_another\"}}}'" \
  "create a VpsBackupRestore with another name"
holds "the API server refused each, and said what to do"

title "3. Approval, with the command that the message printed"
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
grep -Eq '^JobRunning +running +(25|50|75)' "$dir/progress" || die "no progress was shown on the way"
holds "the status showed progress, and kubectl wait --for=condition=Ready returned"

title "4. The new VM"
run "kubectl -n shop get vbr"
ip=$(kubectl -n shop get vbr restore-web-01 -o jsonpath='{.status.vm.primaryIp}')
run "kubectl -n shop get vbr restore-web-01 -o jsonpath='{.status.vm}{\"\\n\"}'"
run "kubectl -n shop events --for vbr/restore-web-01"
[[ $ip =~ ^[0-9.]+$ ]] || die "the VM has no address: '$ip'"
[[ $(curl -fsS "$sim/_sim/vps") == *"\"primaryIp\":\"$ip\""* ]] || die "HostUp has no VM with the address $ip"
holds "HostUp has a VM with this address"
count_purchases
expect "one VM was bought" "$bought" 1

title "5. The ledger: one record for each paid call, created before the call"
say "A record exists before the first byte is sent, outlives the object and the namespace, and is immutable:"
run "kubectl get vop"
run "kubectl get vop -o jsonpath='{.items[0].spec.request}{\"\\n\"}'"
expect "the record shows the outcome" "$(record_of vbr/restore-web-01 '{.status.state}')" Succeeded
expect "and the price that was approved" "$(record_of vbr/restore-web-01 '{.spec.quote.summary}')" "0.66 SEK/h"
refused "kubectl patch vop $(record_of vbr/restore-web-01 '{.metadata.name}') --type=merge -p '{\"spec\":{\"quote\":{\"perHour\":\"0.01\"}}}'" \
  "a VpsOperation is immutable"

title "6. The same manifest again, as after a namespace or a cluster was created again from Git"
run "kubectl delete -f examples/restore-preview.yaml"
run "kubectl apply -f examples/restore-preview.yaml"
await vbr/restore-web-01 AlreadyExecuted 20
say "" "One name, one restore: the operator found its record."
run "kubectl -n shop get vbr"
count_purchases
expect "HostUp sold nothing more" "$bought" 1

title "7. Approved in Git, and the answer is lost"
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

title "8. An order is lost before HostUp executes it: only a user can find out"
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

title "9. The operator is killed during a restore"
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
expect "five orders in all, one of them lost in step 8; one for each record" \
  "$orders" "$(kubectl get vop -o name | wc -l | tr -d ' ')"

title "10. HostUp's job fails and leaves a VM behind"
curl -fsS -X POST "$sim/_sim/job-duration/3s" >/dev/null
run "curl -fsS -X POST '$sim/_sim/faults/job-failed'"
run "sed 's/web-02/web-05/; s/2026-01-31T00:00:00Z/$(in_an_hour)/' examples/restore-approved-ceiling.yaml | kubectl apply -f -"
await vbr/restore-web-05 VpsLeftBilling 30
show_message vbr/restore-web-05
left=$(kubectl -n shop get vbr restore-web-05 -o jsonpath='{.status.vm.vpsId}')
[[ -n $left && $(message vbr/restore-web-05) == *"$left"* ]] || die "the message does not name the VM '$left'"
count_purchases
expect "the message names the VM that costs money, and the operator buys no other" "$bought" 5

title "11. VpsResourceConfig: paid options of a VPS, again with a preview first"
say "The source VPS has 2048 GB of traffic. This file requests 4096:"
run "cat examples/config-preview.yaml"
run "kubectl apply -f examples/config-preview.yaml"
await vrc/web-01 AwaitingApproval 20
run "kubectl -n shop get vrc"
show_message vrc/web-01
expect "the price is that of HostUp's own dry run" "$(quoted vrc/web-01)" "40.00 SEK now, 40.00 SEK/month"
count_changes
expect "a dry run is not an order: nothing was bought" "$changes" 0
say "" "Approve with the command that the message printed:"
approve vrc/web-01 vpsresourceconfig
run "kubectl -n shop wait vrc/web-01 --for=condition=Ready --timeout=30s"
run "kubectl -n shop get vrc"
say "" "InSync means that the operator has read the new options back:"
run "kubectl -n shop get vrc web-01 -o jsonpath='{.status.current}{\"\\n\"}'"
expect "HostUp has 4096 GB" "$(panel_shows bandwidthGb)" 4096
count_changes
expect "it took one order" "$changes" 1

title "12. A change whose invoice must be paid first"
curl -fsS -X POST "$sim/_sim/faults/config-unpaid" >/dev/null
say "Two more snapshot slots. The approval named the quote of step 11, so this is a preview again:"
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

title "13. Somebody changes an option in HostUp's panel"
run "curl -fsS -X POST '$sim/_sim/option/bandwidthGb/2048'"
say "The operator reads options again every --resync-interval (3 s here, an hour by default):"
await vrc/web-01 Drifted 30
run "kubectl -n shop get vrc"
show_message vrc/web-01
count_changes
expect "the default driftPolicy is Report: the status shows the drift, and nothing was ordered" "$changes" 2
say "" "Now the file for Git: the same options, with driftPolicy Correct and a ceiling for each change:"
run "grep -v '^#' examples/config-approved-ceiling.yaml"
say "" "Without validUntil, the ceiling does not expire. (Use replace, because apply would keep the used quoteId.)"
run "sed '/validUntil/d' examples/config-approved-ceiling.yaml | kubectl replace -f -"
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

title "14. HostUp commits a change and answers with an error"
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

title "15. HostUp's legacy API, which is off unless the admin allows it"
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

title "16. The cost so far: three sources, one sum"
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

title "Done in $SECONDS s. Nothing was really bought."
if [[ -n ${KEEP:-} ]]; then
  printf 'Everything is still running: the simulator at %s/_sim/, metrics at %s/metrics, logs in %s.\n' "$sim" "$operator" "$dir"
  printf 'To use it:\n  export KUBECONFIG=%s PATH=%s:"%s"\n' "$KUBECONFIG" "$programs" "\$PATH"
  printf 'To stop it:\n  kill %s && rm -rf %s\n' "${pids[*]}" "$dir"
  trap - EXIT
fi
