#!/usr/bin/env bash
# A demo of hostup-operator: a real Kubernetes API server, the release binary with the rights of deploy/rbac.yaml, and a
# simulator instead of HostUp. Nothing leaves this machine and nothing is bought. The script checks every claim that it
# prints, and ends with an error at the first claim that is not true.
#
#   make demo            the first five minutes of a user, then cleans up
#   ALL=1 make demo      everything: also mistakes, lost answers, a killed operator, invoices, drift, an overwritten disk
#   KEEP=1 make demo     leaves everything running and says how to stop it
#
# Needs bash and curl, in addition to the programs that `make demo` builds.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
built=${CARGO_TARGET_DIR:-$root/target}/release
programs=$(bash tests/control-plane/build.sh)
PATH=$programs:$built:$PATH # kubectl finds its plugin there
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
  bought=$(occurrences '"kind":"RestoreToPayg"' <<<"$ledger")
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

# Prints a value of one VPS, as HostUp has it.
vps_shows() { # VPS, key
  curl -fsS "$sim/_sim/vps" | tr -d '"' | grep -o "{id:$1,.*" | grep -o "$2:[^,}]*" | head -n 1 | cut -d : -f 2
}

# Sets `overwrites`: the number of disks that the simulator was told to overwrite, and took.
count_overwrites() {
  local ledger
  ledger=$(curl -fsS "$sim/_sim/purchases") || die "the simulator does not answer"
  overwrites=$(occurrences '"kind":"RestoreFromVps"' <<<"$ledger")
}

quoted() { # object
  kubectl -n shop get "$1" -o jsonpath='{.status.quote.summary}'
}

title "Start: API server, simulator, operator"
for program in curl kubectl; do
  command -v "$program" >/dev/null || die "$program is missing: install it"
done
for program in hostup-operator kubectl-hostup hostup-sim control-plane; do
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

# shellcheck source=tests/demo/first.sh
source "$root/tests/demo/first.sh"
if [[ -n ${ALL:-} ]]; then
  # shellcheck source=tests/demo/rest.sh
  source "$root/tests/demo/rest.sh"
fi

title "Done in $SECONDS s. Nothing was really bought."
if [[ -n ${KEEP:-} ]]; then
  printf 'Everything is still running: the simulator at %s/_sim/, metrics at %s/metrics, logs in %s.\n' "$sim" "$operator" "$dir"
  printf 'To use it:\n  export KUBECONFIG=%s PATH=%s:"%s"\n' "$KUBECONFIG" "$programs" "\$PATH"
  printf 'To stop it:\n  kill %s && rm -rf %s\n' "${pids[*]}" "$dir"
  trap - EXIT
fi
