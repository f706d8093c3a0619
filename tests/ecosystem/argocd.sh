#!/usr/bin/env bash
# Argo CD's own programs on our kinds: its packages for health, actions and differences on the files of
# deploy/argocd, then its application-controller and repo-server with a Git repository, against a real API
# server, our operator, and a simulator in HostUp's place. Prints one line for each claim, `ok ...` or
# `FAILED ...`, and a sum; ends with 1 if one failed.
#
#   PROFILE=debug        takes the programs of a debug build, else of a release build
#   KEEP_LOGS=1          keeps the logs also where all is well
#
# Needs git, curl and redis-server (Debian: apt-get install git curl redis-server), and Go for the build.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"
# shellcheck source=tests/ecosystem/claims.sh
source "$here/claims.sh"
# shellcheck source=tests/ecosystem/documents.sh
source "$here/documents.sh"
built=${CARGO_TARGET_DIR:-$root/target}/${PROFILE:-release}
dir=$(mktemp -d "${TMPDIR:-/tmp}/hostup-argocd.XXXXXX")
readonly here root built dir
# Seconds that anything may take before it counts as failed.
readonly patience=90
pids=() # in the order of starting
die() {
  printf 'argocd: %s\n' "$*" >&2
  failed "argocd could not be tried: $*"
  exit 1
}

stop_one() {
  local pid=$1 tries=100
  kill "$pid" 2>/dev/null || return 0
  while kill -0 "$pid" 2>/dev/null && ((tries-- > 0)); do sleep 0.1; done
  kill -9 "$pid" 2>/dev/null || true
}

finish() {
  local status=$? n
  trap '' INT TERM
  for ((n = ${#pids[@]} - 1; n >= 0; n--)); do stop_one "${pids[n]}"; done
  if ((status || claims_failed)) || [[ -n ${KEEP_LOGS:-} ]]; then
    printf 'argocd: logs are in %s\n' "$dir" >&2
  else
    rm -rf "$dir"
  fi
  closing_line argocd || status=1
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

expect() { # claim, what is, what should be
  if [[ $2 == "$3" ]]; then ok "$1"; else failed "$1: it is '$2' and should be '$3'"; fi
}

# Starts a program that runs until it is stopped.
start() { # name, command...
  local name=$1
  shift
  "$@" <"$dir/held" >"$dir/$name.log" 2>&1 3>&- &
  pids+=("$!")
}

# Starts a program that prints one line when it is ready, and sets `line` to it.
start_and_read() { # name, command...
  local name=$1
  shift
  mkfifo "$dir/$name.ready"
  "$@" <"$dir/held" >"$dir/$name.ready" 2>"$dir/$name.log" 3>&- &
  pids+=("$!")
  IFS= read -r -t 120 line <"$dir/$name.ready" || die "$name was not ready within 120 s: $(tail -n 3 "$dir/$name.log")"
}

listens() { # port
  (exec 4<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Sets `port` to one that nothing listens on.
free_port() {
  local tries
  for ((tries = 50; tries > 0; tries--)); do
    port=$((20000 + RANDOM % 12000))
    listens "$port" || return 0
  done
  die "no free port was found"
}

await_port() { # name, port, pid
  local tries
  for ((tries = 300; tries > 0; tries--)); do
    ! listens "$2" || return 0
    kill -0 "$3" 2>/dev/null || die "$1 ended: $(tail -n 3 "$dir/$1.log")"
    sleep 0.1
  done
  die "$1 does not listen: $(tail -n 3 "$dir/$1.log")"
}

in_an_hour() {
  local at=$(($(date +%s) + 3600))
  date -u -d "@$at" +%Y-%m-%dT%H:%M:%SZ 2>/dev/null || date -u -r "$at" +%Y-%m-%dT%H:%M:%SZ
}

for program in git curl redis-server; do
  command -v "$program" >/dev/null || die "$program is missing: apt-get install git curl redis-server"
done
for program in hostup-operator hostup-sim control-plane; do
  [[ -x $built/$program ]] ||
    die "$built/$program is missing; run: cargo build --locked --release -p hostup-operator -p hostup-sim -p control-plane"
done
programs=$(bash tests/control-plane/build.sh) || die "the control plane could not be built"
argocd=$(bash "$here/build.sh" argocd) || die "Argo CD could not be built"
# Argo CD renders charts by Helm 3.
helm3=$(bash "$here/build.sh" helm3) || die "Helm 3 could not be built"
crane=$(bash "$here/build.sh" crane) || die "the registry could not be built"
PATH=$programs:$PATH
kinds_of_argocd=$argocd/argocd-crds
mkdir "$dir/home" "$dir/tmp" "$dir/tls" "$dir/ssh" "$dir/gpg" "$dir/plugins" "$dir/redis" "$dir/objects"
# Programs that read this pipe stop when the last writer is gone, even after kill -9 of this script.
mkfifo "$dir/held"
exec 3<>"$dir/held"

# Runs Argo CD's packages, and counts their claims. It ends with 1 where one failed, with more where it could not go on.
check() {
  local line said=0 status=0
  "$argocd/argocd-check" "$@" >"$dir/check.log" 2>&1 || status=$?
  while IFS= read -r line; do
    case $line in
      'ok '*) ok "${line#ok }" && said=1 ;;
      'FAILED '*) failed "${line#FAILED }" && said=1 ;;
      *) printf '%s\n' "$line" ;;
    esac
  done <"$dir/check.log"
  ((status < 2)) || failed "argocd-check $1 ended with $status"
  ((said)) || failed "argocd-check $1 says nothing"
}

check scripts deploy/argocd/argocd-cm.yaml deploy/argocd/resource_customizations

start_and_read control-plane "$built/control-plane" up --dir "$dir/cluster"
export KUBECONFIG=$dir/cluster/kubeconfig
start_and_read hostup-sim "$built/hostup-sim" --listen 127.0.0.1:0 --key put-your-hostup-api-key-here
[[ $line =~ (http://127\.0\.0\.1:[0-9]+) ]] || die "the simulator names no address: $line"
sim=${BASH_REMATCH[1]}
{
  "$built/hostup-operator" crds | kubectl apply --server-side -f -
  kubectl apply -f deploy/rbac.yaml
  kubectl apply --server-side -f "$kinds_of_argocd/application-crd.yaml" -f "$kinds_of_argocd/appproject-crd.yaml" \
    -f "$kinds_of_argocd/applicationset-crd.yaml"
  # It refuses to wait for a kind that has no condition yet.
  for ((tries = 30; tries > 0; tries--)); do
    ! kubectl wait --for=condition=Established --timeout=60s crd --all || break
    sleep 0.5
  done
  ((tries))
} >"$dir/install.log" 2>&1 || die "the kinds could not be installed: $(tail -n 3 "$dir/install.log")"

as_operator=$dir/operator.kubeconfig
cp "$KUBECONFIG" "$as_operator"
{
  kubectl --kubeconfig "$as_operator" config set-credentials operator \
    --token="$(kubectl -n hostup-system create token hostup-operator --duration=2h)"
  kubectl --kubeconfig "$as_operator" config set-context --current --user=operator
} >/dev/null
start operator env KUBECONFIG="$as_operator" "$built/hostup-operator" --hostup-url "$sim" --listen 127.0.0.1:0 \
  --log-format text --settle-time 5s --poll-interval 500ms --request-timeout 5s --paid-timeout 10s \
  --gate-interval 5s --resync-interval 3s

# Argo CD. What it applies from Git it applies as an account of its own, as with a remote cluster.
server=$(kubectl config view --minify --raw -o jsonpath='{.clusters[0].cluster.server}')
{
  kubectl create namespace argocd
  kubectl create namespace shop
  kubectl apply -f examples/secret.yaml
  kubectl -n argocd create configmap argocd-cm
  bash -euxo pipefail -c "$(blocks docs/install.md 'Argo CD')"
  kubectl -n argocd create serviceaccount deployer
  kubectl create clusterrolebinding deployer --clusterrole=cluster-admin --serviceaccount=argocd:deployer
  kubectl apply -f - <<YAML
apiVersion: v1
kind: Secret
metadata: {name: argocd-secret, namespace: argocd, labels: {app.kubernetes.io/part-of: argocd}}
stringData: {server.secretkey: only-for-this-run}
---
apiVersion: v1
kind: Secret
metadata: {name: here, namespace: argocd, labels: {argocd.argoproj.io/secret-type: cluster}}
stringData:
  name: here
  server: $server
  config: '{"bearerToken": "$(kubectl -n argocd create token deployer --duration=2h)", "tlsClientConfig": {"insecure": true}}'
---
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: default, namespace: argocd}
spec:
  sourceRepos: ['*']
  destinations: [{namespace: '*', server: '*'}]
  clusterResourceWhitelist: [{group: '*', kind: '*'}]
YAML
} >"$dir/argocd-objects.log" 2>&1 || die "Argo CD's objects were refused: $(tail -n 3 "$dir/argocd-objects.log")"

claim "the Applications of the examples are taken" kubectl apply --dry-run=server --validate=strict -f examples/argocd

free_port && redis=127.0.0.1:$port
start redis redis-server --bind 127.0.0.1 --port "$port" --save '' --appendonly no --dir "$dir/redis"
await_port redis "$port" "${pids[-1]}"
of_argocd=(env "HOME=$dir/home" "TMPDIR=$dir/tmp" ARGOCD_GPG_ENABLED=false "ARGOCD_TLS_DATA_PATH=$dir/tls"
  "ARGOCD_SSH_DATA_PATH=$dir/ssh" "ARGOCD_GPG_DATA_PATH=$dir/gpg" "ARGOCD_PLUGINSOCKFILEPATH=$dir/plugins")
free_port && metrics=$port
free_port && repo_server=127.0.0.1:$port
start repo-server "${of_argocd[@]}" "PATH=$helm3:$PATH" ARGOCD_BINARY_NAME=argocd-repo-server "$argocd/argocd" \
  --redis "$redis" --address 127.0.0.1 --port "$port" --disable-tls --metrics-address 127.0.0.1 --metrics-port "$metrics"
await_port repo-server "$port" "${pids[-1]}"
# Its metrics alone cannot be bound to loopback; port 0 is one that nobody knows.
start controller "${of_argocd[@]}" ARGOCD_BINARY_NAME=argocd-application-controller "$argocd/argocd" \
  --kubeconfig "$KUBECONFIG" --namespace argocd --redis "$redis" --repo-server "$repo_server" \
  --repo-server-plaintext --app-resync 10 --metrics-port 0 --persist-resource-health
controller=${pids[-1]}

# The repository: a folder for each Application.
repository=$dir/repository
mkdir -p "$repository"/{waves,stalled,preview,ceiling}
wave() { # number; reads an object
  awk -v wave="$1" '{ print } /^metadata:/ { print "  annotations: {argocd.argoproj.io/sync-wave: \"" wave "\"}" }'
}
marker() { # name
  printf 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  annotations: {argocd.argoproj.io/sync-wave: "1"}\n  name: %s\n  namespace: shop\n' "$1"
}
sed "s/validUntil: .*/validUntil: \"$(in_an_hour)\"/" examples/restore-approved-ceiling.yaml | wave 0 >"$repository/waves/restore.yaml"
sed "s/validUntil: .*/validUntil: \"$(in_an_hour)\"/" examples/config-approved-ceiling.yaml | wave 0 >"$repository/waves/config.yaml"
marker after-restore >"$repository/waves/after.yaml"
sed 's/backup: Latest.*/backupId: bkp_00000000000000000000000000/; s/restore-web-02/restore-lost/' \
  examples/restore-approved-ceiling.yaml | wave 0 >"$repository/stalled/restore.yaml"
marker after-lost >"$repository/stalled/after.yaml"
cp examples/restore-preview.yaml "$repository/preview/restore.yaml"
sed "s/validUntil: .*/validUntil: \"$(in_an_hour)\"/; s/perHour: \"[0-9.]*\"/perHour: \"0.10\"/; s/web-02/web-03/" \
  examples/restore-approved-ceiling.yaml >"$repository/ceiling/restore.yaml"
git -C "$repository" init -q -b main
git -C "$repository" add .
git -C "$repository" -c user.name=author -c user.email=author@example.com commit -q -m "What the shop wants"

application() { # name; its folder has the same one
  kubectl apply -f - >>"$dir/argocd-objects.log" 2>&1 <<YAML || die "the Application $1 was refused"
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: $1, namespace: argocd}
spec:
  project: default
  source: {repoURL: "file://$repository", path: $1, targetRevision: main}
  destination: {server: "$server", namespace: shop}
  syncPolicy:
    automated: {prune: true, selfHeal: true}
    retry: {limit: 0}
YAML
}

of_app() { # application, jsonpath
  kubectl -n argocd get application "$1" -o jsonpath="$2" 2>/dev/null || true
}

of_object() { # object, jsonpath
  kubectl -n shop get "$1" -o jsonpath="$2" 2>/dev/null || true
}

# Waits for what an object says at a path; fails with what it says then.
comes_to() { # claim, namespace, object, jsonpath, value
  local is
  if kubectl -n "$2" wait "$3" --for=create --timeout="${patience}s" >/dev/null 2>&1 &&
    kubectl -n "$2" wait "$3" --for=jsonpath="$4"="$5" --timeout="${patience}s" >/dev/null 2>&1; then
    ok "$1"
  else
    is=$(kubectl -n "$2" get "$3" -o jsonpath="$4" 2>&1) || true
    kill -0 "$controller" 2>/dev/null || is+="; the application-controller has ended: $(tail -n 2 "$dir/controller.log")"
    failed "$1: $3 did not come to $5 within $patience s, it is '$is'"
  fi
}

app_comes_to() { # claim, application, jsonpath, value
  comes_to "$1" argocd "application/$2" "$3" "$4"
}

health_in_tree() { # application, kind: the health that Argo CD has of the resource
  of_app "$1" "{.status.resources[?(@.kind==\"$2\")].health.status}"
}

there() { # ConfigMap
  if kubectl -n shop get configmap "$1" >/dev/null 2>&1; then printf yes; else printf no; fi
}

ready_reason='{.status.conditions[?(@.type=="Ready")].reason}'

# Long enough for Argo CD to look at it on the way.
curl -fsS -X POST "$sim/_sim/job-duration/30s" >/dev/null
application waves
comes_to "Argo CD applies a restore of wave 0, and it is ordered" shop vbr/restore-web-02 "$ready_reason" JobRunning
app_comes_to "while the job runs the application is Progressing" waves '{.status.health.status}' Progressing
app_comes_to "and its sync goes on" waves '{.status.operationState.phase}' Running
expect "nothing of wave 1 is there" "$(there after-restore)" no
expect "the restore still runs" "$(of_object vbr/restore-web-02 "$ready_reason")" JobRunning
comes_to "the restore ends" shop vbr/restore-web-02 "$ready_reason" Restored
app_comes_to "then the sync ends" waves '{.status.operationState.phase}' Succeeded
restored_at=$(of_object vbr/restore-web-02 '{.status.conditions[?(@.type=="Ready")].lastTransitionTime}')
wave_1_at=$(of_object configmap/after-restore '{.metadata.creationTimestamp}')
if [[ -n $wave_1_at && ! $wave_1_at < $restored_at ]]; then
  ok "wave 1 came only after Restored"
else
  failed "wave 1 came only after Restored: Ready at '$restored_at', the ConfigMap at '$wave_1_at'"
fi
app_comes_to "the application is Healthy" waves '{.status.health.status}' Healthy
app_comes_to "and Synced" waves '{.status.sync.status}' Synced
expect "the restore is Healthy by our script" "$(health_in_tree waves VpsBackupRestore)" Healthy
expect "the options are Healthy by our script" "$(health_in_tree waves VpsResourceConfig)" Healthy

application stalled
app_comes_to "a stalled restore makes the sync fail" stalled '{.status.operationState.phase}' Failed
app_comes_to "and its application Degraded" stalled '{.status.health.status}' Degraded
result=$(of_app stalled '{.status.operationState.syncResult.resources[?(@.kind=="VpsBackupRestore")].message}')
if [[ $result == *BackupNotFound* ]]; then
  ok "the failed sync names the reason of the restore"
else
  failed "the failed sync names the reason of the restore: it says '$result'"
fi
expect "nothing of the wave after it is there" "$(there after-lost)" no

application preview
app_comes_to "a preview is Suspended" preview '{.status.health.status}' Suspended
app_comes_to "and Synced" preview '{.status.sync.status}' Synced
comes_to "it shows its price" shop vbr/restore-web-01 '{.status.quote.summary}' "0.66 SEK/h"

application ceiling
comes_to "a price over the ceiling in Git waits" shop vbr/restore-web-03 "$ready_reason" QuoteExceedsCeiling
app_comes_to "and is Suspended" ceiling '{.status.health.status}' Suspended
message=$(of_object vbr/restore-web-03 '{.status.conditions[?(@.type=="Ready")].message}')
claim "the printed command approves it by hand" bash -c "${message##*To approve: }"
comes_to "and it is restored" shop vbr/restore-web-03 "$ready_reason" Restored
app_comes_to "its application is Healthy" ceiling '{.status.health.status}' Healthy

# That Argo CD sees a difference where there is one.
kubectl -n shop patch vrc web-01 --type=merge -p '{"spec":{"driftPolicy":"Report"}}' >/dev/null
comes_to "what is changed by hand is put back" shop vrc/web-01 '{.spec.driftPolicy}' Correct
comes_to "and looked at by the operator" shop vrc/web-01 '{.status.observedGeneration}' 3
app_comes_to "and its application is Healthy again" waves '{.status.health.status}' Healthy
app_comes_to "and Synced again" waves '{.status.sync.status}' Synced
app_comes_to "by a sync that succeeded" waves '{.status.operationState.phase}' Succeeded

# The operator by the example, from a registry that has no TLS.
free_port && registry=127.0.0.1:$port
start registry "$crane/crane" registry serve --address "$registry"
await_port registry "$port" "${pids[-1]}"
# shellcheck disable=SC2016 # expanded by that shell
claim "the chart is pushed to a registry" bash -euo pipefail -c '
  helm package charts/hostup-operator --destination "$1" && helm push "$1"/*.tgz "oci://$2/charts" --plain-http' \
  push "$dir/tmp" "$registry"
# shellcheck disable=SC2016 # expanded by that shell
claim "the example of the operator is taken" bash -euo pipefail -c '
  sed "s#registry.example.com#$1#; s#https://kubernetes.default.svc#$2#; s#NAME OF THIS CLUSTER#here#; s#  enableOCI.*#&\n  insecureOCIForceHttp: \"true\"#" \
    examples/argocd/operator.yaml | kubectl apply -f -' apply "$registry" "$server"
app_comes_to "Argo CD installs the operator's chart from the registry" hostup-operator '{.status.operationState.phase}' Succeeded
app_comes_to "and is Synced once it has compared again" hostup-operator '{.status.sync.status}' Synced
expect "with its kinds" "$(of_app hostup-operator '{.status.resources[?(@.kind=="CustomResourceDefinition")].status}')" \
  "$(printf 'Synced %.0s' "$root"/crds/*.yaml | sed 's/ $//')"

# No difference, however it is looked for. A sync of its own would show as another start of the operation.
compare_anew() { # application
  kubectl -n argocd annotate application "$1" argocd.argoproj.io/refresh=hard --overwrite >/dev/null
  local tries
  for ((tries = patience * 2; tries > 0; tries--)); do
    [[ -n $(of_app "$1" '{.metadata.annotations.argocd\.argoproj\.io/refresh}') ]] || return 0
    sleep 0.5
  done
  return 1
}
differing='{.status.resources[?(@.status!="Synced")].name}'
for how in client server; do
  for app in waves preview ceiling hostup-operator; do
    if [[ $how == server ]]; then
      kubectl -n argocd annotate application "$app" argocd.argoproj.io/compare-options=ServerSideDiff=true --overwrite >/dev/null
    fi
    before=$(of_app "$app" '{.status.operationState.startedAt} {.status.reconciledAt}')
    # Its times are in whole seconds.
    sleep 1
    compare_anew "$app" || failed "$app is not compared anew"
    after=$(of_app "$app" '{.status.operationState.startedAt} {.status.reconciledAt}')
    [[ ${before#* } != "${after#* }" ]] || failed "$app was not compared anew, at ${after#* }"
    expect "nothing of $app is OutOfSync by a $how-side diff" "$(of_app "$app" "$differing")$(of_app "$app" '{.status.sync.status}')" Synced
    expect "nor was it applied again" "${after% *}" "${before% *}"
  done
done

# The same by the diff package alone, on every example that rests.
desired_and_live() { # kind, name, file in Git
  kubectl -n shop get "$1" "$2" -o yaml >"$dir/objects/$1-$2.yaml" 2>&1 || true
  check diff deploy/argocd/argocd-cm.yaml "$3" "$dir/objects/$1-$2.yaml"
}
desired_and_live vbr restore-web-02 "$repository/waves/restore.yaml"
desired_and_live vrc web-01 "$repository/waves/config.yaml"
desired_and_live vbr restore-web-01 "$repository/preview/restore.yaml"
desired_and_live vbr restore-web-03 "$repository/ceiling/restore.yaml"
approval=$(of_object vbr/restore-web-03 '{.spec.approval.quoteId} {.spec.approval.maxPrice.perHour}')
if [[ $approval == q-*' 0.10' ]]; then
  ok "neither the approval by hand nor the ceiling in Git was taken away"
else
  failed "neither the approval by hand nor the ceiling in Git was taken away: there is '$approval'"
fi

sold=$(curl -fsS "$sim/_sim/purchases" | tr '{' '\n' | grep -c '"sequence"' || true)
expect "HostUp sold two VMs and one change of options, each once" "$sold" 3
