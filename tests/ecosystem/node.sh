#!/usr/bin/env bash
# A new user's way through the documents, on a real node with the real image: every `sh` block is run as it stands.
# HostUp is the simulator. Each way of installing gets a node of its own.
#
#   node.sh [helm|kustomize|flux ...]   all of them unless some are named
#
# Needs root, writable cgroups, and from Debian: containerd runc containernetworking-plugins iptables iproute2
# buildah musl-tools openssl curl python3 git. Where no container can be run it says so, and fails.
# shellcheck disable=SC2016 # what stands in single quotes is expanded on the node
set -euo pipefail


here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
readonly here root
# shellcheck source=tests/ecosystem/claims.sh
source "$here/claims.sh"
# shellcheck source=tests/ecosystem/documents.sh
source "$here/documents.sh"
ways=("$@")
((${#ways[@]})) || ways=(helm kustomize flux)

work=$(mktemp -d /tmp/hostup-node.XXXX)
nodes=() # the pid of each `unshare`
# The kubelet sets these for the whole machine.
sysctls=(vm.overcommit_memory kernel.panic kernel.panic_on_oops)
values=()
for name in "${sysctls[@]}"; do values+=("$name=$(sysctl -n "$name")"); done

end_node() { # pid of `unshare`
  # With the first process of its namespace the kernel ends all others.
  pkill -KILL -P "$1" || true
  wait "$1" 2>/dev/null || true
  # What the containers leave in the machine's cgroups; deepest first.
  local tries
  for ((tries = 50; tries > 0; tries--)); do
    find /sys/fs/cgroup -depth -type d -path '*/hostup-node*' -exec rmdir {} + 2>/dev/null || true
    [[ -n $(find /sys/fs/cgroup -type d -name hostup-node 2>/dev/null) ]] || break
    sleep 0.1
  done
}
stop() {
  local status=$? pid
  trap - EXIT
  for pid in "${nodes[@]}"; do end_node "$pid"; done
  sysctl -qw "${values[@]}" 2>/dev/null || true
  if [[ $status == 0 && -z ${KEEP:-} ]]; then rm -rf "$work"; else printf 'node: logs in %s\n' "$work" >&2; fi
  exit "$status"
}
trap stop EXIT
trap 'exit 130' INT TERM

why_not() {
  local program
  [[ $(id -u) == 0 ]] || { echo 'not root' && return; }
  for program in containerd runc iptables ip unshare nsenter buildah openssl; do
    command -v "$program" >/dev/null || { echo "$program is missing" && return; }
  done
  unshare --net --mount --pid --fork --mount-proc true 2>/dev/null || { echo 'no namespaces can be made' && return; }
  mkdir -p /sys/fs/cgroup/memory/hostup-node 2>/dev/null || mkdir -p /sys/fs/cgroup/hostup-node 2>/dev/null ||
    echo 'cgroups cannot be written'
}
reason=$(why_not)
if [[ -n $reason ]]; then
  for way in "${ways[@]}"; do skipped "a new user's way by $way on a real node" "$reason"; done
  closing_line node
  exit
fi

control_plane=$(bash "$root/tests/control-plane/build.sh")
node_programs=$(bash "$here/build.sh" node)
crane=$(bash "$here/build.sh" crane)
flux=
[[ " ${ways[*]} " != *' flux '* ]] || flux=$(bash "$here/build.sh" flux)
(cd "$root" && bash deploy/image.sh >&2 && cargo build --locked --release -p hostup-operator -p hostup-sim -p control-plane)
built=${CARGO_TARGET_DIR:-$root/target}
readonly control_plane node_programs crane flux built

gcc -static -Os -o "$work/pause" "$here/node/pause.c"
printf 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n' >"$work/Dockerfile"
with_buildah() { buildah --root "$work/store" --runroot "$work/run" --storage-driver vfs "$@"; }
with_buildah build --isolation chroot -t localhost/pause:1 "$work" >"$work/pause.log" 2>&1
with_buildah push localhost/pause:1 "docker-archive:$work/pause.tar:localhost/pause:1" >>"$work/pause.log" 2>&1

# What a user has: the project's files, with the image where `make image` puts it. Sets `checkout`, and `dir` and
# `pid` of a new node with a registry and the simulator on it.
new_node() { # name
  local unshare tries=900
  dir=$work/$1
  checkout=$dir/checkout
  mkdir -p "$checkout/target/image"
  cp "$work/pause.tar" "$dir/"
  (cd "$root" && cp -r README.md CHANGELOG.md charts crds deploy docs examples "$checkout/")
  cp "$built/image/hostup-operator.tar" "$checkout/target/image/"
  printf 'demo-key\n' >"$checkout/key.txt"
  unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private \
    bash "$here/node/up.sh" "$dir" "$control_plane" "$node_programs" >"$dir/up.log" 2>&1 &
  unshare=$!
  nodes+=("$unshare")
  until [[ -e $dir/ready ]]; do
    if ! kill -0 "$unshare" 2>/dev/null || ((tries-- == 0)); then cat "$dir/up.log" >&2 && return 1; fi
    sleep 0.1
  done
  pid=$(pgrep -P "$unshare")
  start registry "$crane/crane" registry serve --address 127.0.0.1:5000
  start simulator "$built/release/hostup-sim" --listen 10.99.0.1:8787
  # Pods have the search domains of a cluster, and these answer as badly as any.
  start names python3 "$here/node/name_server.py" 10.99.0.1 cloud.hostup.test 10.99.0.1
  on_node 'kubectl apply -f "$0"' "$here/node/simulator.yaml" >/dev/null
  on_node 'until curl -fsS 127.0.0.1:5000/v2/ && curl -fsS 10.99.0.1:8787/_sim/; do sleep 0.1; done' >/dev/null 2>&1
}

# Runs bash in the network of the node, in the checkout.
on_node() { # script, arguments...
  (cd "$checkout" && nsenter -t "$pid" -n env KUBECONFIG="$dir/kubeconfig" PATH="$control_plane:$crane:$PATH" \
    HELM_CACHE_HOME="$dir/helm" HELM_CONFIG_HOME="$dir/helm" HELM_DATA_HOME="$dir/helm" \
    bash -euo pipefail -c "$@")
}

# Starts a program in the network and the processes of the node, which end it.
start() { # name, command...
  local name=$1
  shift
  nsenter -t "$pid" -n -p env KUBECONFIG="$dir/kubeconfig" RUNTIME_NAMESPACE=flux-system "$@" >"$dir/logs/$name.log" 2>&1 &
}

# Follows a document. The registry is this node's, without TLS; the image is made already.
follow() { # file, heading
  local script
  script=$(blocks "$1" "$2" | sed -e 's#YOUR-REGISTRY#127.0.0.1:5000#g' -e '/^make image/d' -e 's/^helm push .*/& --plain-http/')
  [[ -n $script ]] || { echo "$1 has no commands under $2" && return 1; }
  printf '\n== %s, %s\n' "$1" "$2" >>"$dir/walk.log"
  on_node "set -x; $script" 2>&1 | tee -a "$dir/walk.log"
}

bought() { on_node "curl -fsS 10.99.0.1:8787/_sim/purchases | tr '{' '\n' | grep -c '\"sequence\"' || true"; }
has_bought() { # number
  local number
  number=$(bought)
  [[ $number == "$1" ]] || { echo "$number VMs were bought, not $1" && return 1; }
}
reason_of() { # name of a restore
  on_node "kubectl -n shop get vbr $1 -o jsonpath='{.status.conditions[?(@.type==\"Ready\")].reason}'"
}
is_restricted() {
  on_node 'kubectl -n hostup-system get pods -l app.kubernetes.io/name=hostup-operator -o json' |
    grep -q '"readOnlyRootFilesystem": true'
  on_node 'kubectl get namespace hostup-system -o jsonpath="{.metadata.labels}"' | grep -q '"pod-security.kubernetes.io/enforce":"restricted"'
}
# A restore that is approved for an hour, from the example for Git.
approved() { # name of the VM, seconds its job takes
  on_node "curl -fsS -X POST 10.99.0.1:8787/_sim/job-duration/$2s >/dev/null
    sed 's/web-02/$1/; s/2026-01-31T00:00:00Z/$(date -u -d '+1 hour' +%Y-%m-%dT%H:%M:%SZ)/' examples/restore-approved-ceiling.yaml"
}
apply_approved() { approved "$@" | on_node 'kubectl apply -f -'; }

# Kills the operator's container as the kernel would, and waits until another one runs in its place.
kill_container() {
  on_node '
    pod=$(kubectl -n hostup-system get pods -l app.kubernetes.io/name=hostup-operator -o name | head -n 1)
    id=$(kubectl -n hostup-system get "$pod" -o jsonpath="{.status.containerStatuses[0].containerID}")
    ctr --address "$0/containerd.sock" -n k8s.io tasks kill --signal SIGKILL "${id#containerd://}"
    kubectl -n hostup-system wait "$pod" --for=jsonpath="{.status.containerStatuses[0].restartCount}"=1 --timeout=60s' "$dir"
}

# A restore whose job runs for 20 s.
under_way() { # name of the VM
  apply_approved "$1" 20
  on_node "kubectl -n shop wait vbr/restore-$1 --for=jsonpath='{.status.job.status}'=in_progress --timeout=60s"
}

ready_within() { on_node "kubectl -n shop wait vbr/$1 --for=condition=Ready --timeout=$2s"; }

by_helm() {
  claim 'the image is pushed to a registry' follow docs/install.md 'The image'
  claim 'helm install --wait ends with a pod that is Ready' follow docs/install.md Helm
  claim 'it runs under PodSecurity restricted, on a read-only root' is_restricted
  claim "the README's first restore ends with a VM" follow README.md 'The first restore'
  claim 'one VM was bought' has_bought 1

  given under_way web-11
  claim 'the container is killed in mid-restore and started again' kill_container
  claim 'the restore goes on to its end' ready_within restore-web-11 120
  claim 'it was ordered once' has_bought 2

  given under_way web-12
  claim 'an upgrade to two replicas rolls while a restore runs' on_node \
    'helm upgrade hostup-operator charts/hostup-operator --namespace hostup-system --reuse-values --wait \
      --set replicas=2,podDisruptionBudget.enabled=true
     kubectl -n hostup-system get pods -o wide'
  claim 'that restore ends' ready_within restore-web-12 120
  claim 'and was ordered once' has_bought 3
  claim 'rolling back works' follow docs/upgrade.md 'Roll back'
  claim 'upgrading as the document says works' follow docs/upgrade.md Upgrade

  claim 'a drain takes the pod away' on_node 'kubectl drain node1 --ignore-daemonsets --delete-emptydir-data --timeout=180s'
  claim 'nothing of the operator runs any more' on_node 'test -z "$(kubectl -n hostup-system get pods -o name \
    --field-selector status.phase=Running)"'
  given apply_approved web-13 2
  claim 'after uncordon it is Ready again' on_node 'kubectl uncordon node1 &&
    kubectl -n hostup-system rollout status deployment/hostup-operator --timeout=120s'
  claim 'and what was asked for meanwhile is restored' ready_within restore-web-13 120
  claim 'by one purchase' has_bought 4
  claim 'uninstalling works as the document says' follow docs/upgrade.md Uninstall
  claim 'nothing of the operator runs any more' no_pods
  claim 'kinds, objects and records are there' are_kept 4
}
no_pods() { on_node 'kubectl -n hostup-system wait pods --all --for=delete --timeout=150s'; }
are_kept() { # number of records, each of an object
  test "$(on_node 'kubectl get vop -o name' | wc -l)" = "$1"
  test "$(on_node 'kubectl -n shop get vbr -o name' | wc -l)" = "$1"
}

by_kustomize() {
  claim 'the image is pushed to a registry' follow docs/install.md 'The image'
  claim 'kubectl apply -k ends with a pod that is Ready' follow docs/install.md kustomize
  claim 'it runs under PodSecurity restricted, on a read-only root' is_restricted
  claim "the README's first restore ends with a VM" follow README.md 'The first restore'
  claim 'one VM was bought' has_bought 1
  claim 'applying it again changes nothing' on_node 'kubectl diff --server-side -k my-hostup-operator'
  claim 'uninstalling works as the document says' follow docs/upgrade.md 'Uninstall what kustomize installed'
  claim 'kinds, objects and records are there' are_kept 1
}

# A user's repository over HTTP, with one restore in it, and Flux's name for it.
a_repository() {
  local repository=$dir/git/fleet.git
  mkdir -p "$dir/git" "$dir/fleet/restores"
  git init -q --bare -b main "$repository"
  approved web-21 5 >"$dir/fleet/restores/web-21.yaml"
  git init -q -b main "$dir/fleet"
  commit_and_push 'Restore web-21'
  start git python3 "$here/node/git_server.py" "$dir/git" 127.0.0.1 9418
  on_node 'kubectl apply -f -' <<END
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: flux-system, namespace: flux-system}
spec: {interval: 5s, url: "http://127.0.0.1:9418/cgi-bin/git/fleet.git", ref: {branch: main}}
END
}
commit_and_push() { # message
  git -C "$dir/fleet" add -A
  git -C "$dir/fleet" -c user.name=user -c user.email=user@example.com commit -qm "$1"
  git -C "$dir/fleet" push -q "$dir/git/fleet.git" HEAD:main
}

# A restore with a ceiling in Git that is under its price.
too_low_a_ceiling() {
  approved web-23 2 | sed 's/perHour: "[0-9.]*"/perHour: "0.10"/' >"$dir/fleet/restores/web-23.yaml"
  commit_and_push 'Restore web-23 for no more than 0.10 an hour'
  on_node 'kubectl -n flux-system annotate --overwrite gitrepository flux-system reconcile.fluxcd.io/requestedAt=low'
}
message_of() { on_node "kubectl -n shop get vbr $1 -o jsonpath='{.status.conditions[?(@.type==\"Ready\")].message}'"; }
approve_as_printed() { # object
  local message
  message=$(message_of "$1")
  [[ $message == *'To approve: kubectl '* ]]
  on_node "${message##*To approve: }"
}

a_restore_of_nothing() {
  approved web-22 2 | sed 's/backup: Latest.*/backupId: bkp_00000000000000000000000000/' >"$dir/fleet/restores/web-22.yaml"
  commit_and_push 'Restore web-22 from a backup that is not there'
}
no_restores_any_more() {
  rm "$dir/fleet/restores/"web-2[123].yaml
  printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: empty, namespace: shop}\n' >"$dir/fleet/restores/empty.yaml"
  commit_and_push 'No restores any more'
}

by_flux() {
  local controller health=9440
  claim 'the image is pushed to a registry' follow docs/install.md 'The image'
  given on_node 'kubectl apply --server-side -f "$0/source-controller-crds" -f "$0/kustomize-controller-crds" -f "$0/helm-controller-crds" &&
    kubectl create namespace flux-system && kubectl create namespace shop &&
    kubectl -n shop create secret generic hostup-api --from-file=token=key.txt' "$flux"
  mkdir "$dir/sources"
  start source-controller "$flux/source-controller" --enable-leader-election=false --storage-path="$dir/sources" \
    --storage-addr=127.0.0.1:9790 --storage-adv-addr=127.0.0.1:9790 --health-addr=127.0.0.1:9440 --metrics-addr=127.0.0.1:9450 --events-addr=
  for controller in kustomize-controller helm-controller; do
    health=$((health + 1))
    start "$controller" "$flux/$controller" --enable-leader-election=false --health-addr="127.0.0.1:$health" \
      --metrics-addr="127.0.0.1:$((health + 10))" --events-addr=
  done
  given a_repository
  claim "helm-controller installs the operator from the chart in the registry, and a Kustomization that waits is Ready once its restore is" \
    follow docs/install.md Flux
  claim 'the restore is Restored' test "$(reason_of restore-web-21)" = Restored
  claim 'one VM was bought' has_bought 1

  claim 'the same commit applied again is no change' on_node '
    generation=$(kubectl -n shop get vbr restore-web-21 -o jsonpath="{.metadata.generation}")
    version=$(kubectl -n shop get vbr restore-web-21 -o jsonpath="{.metadata.resourceVersion}")
    kubectl -n flux-system annotate --overwrite kustomization restores reconcile.fluxcd.io/requestedAt=again
    kubectl -n flux-system wait kustomization/restores --for=jsonpath="{.status.lastHandledReconcileAt}"=again --timeout=60s
    kubectl -n flux-system wait kustomization/restores --for=condition=Ready --timeout=60s
    test "$(kubectl -n shop get vbr restore-web-21 -o jsonpath="{.metadata.generation} {.metadata.resourceVersion}")" = "$generation $version"'

  given too_low_a_ceiling
  claim 'a price over the ceiling in Git waits' on_node 'kubectl -n shop wait vbr/restore-web-23 --for=create --timeout=60s
    kubectl -n shop wait vbr/restore-web-23 --for=jsonpath="{.status.conditions[?(@.type==\"Ready\")].reason}"=QuoteExceedsCeiling --timeout=60s'
  claim 'the printed command approves it by hand' approve_as_printed restore-web-23
  claim 'and it is restored' ready_within restore-web-23 120
  claim 'Flux applies the same commit again, and takes neither approval away' on_node '
    generation=$(kubectl -n shop get vbr restore-web-23 -o jsonpath="{.metadata.generation}")
    kubectl -n flux-system annotate --overwrite kustomization restores reconcile.fluxcd.io/requestedAt=approved
    kubectl -n flux-system wait kustomization/restores --for=jsonpath="{.status.lastHandledReconcileAt}"=approved --timeout=60s
    kubectl -n flux-system wait kustomization/restores --for=condition=Ready --timeout=60s
    test "$(kubectl -n shop get vbr restore-web-23 -o jsonpath="{.metadata.generation}")" = "$generation"
    kubectl -n shop get vbr restore-web-23 -o jsonpath="{.spec.approval.quoteId} {.spec.approval.maxPrice.perHour}" | grep "^q-.* 0.10$"'
  claim 'two VMs were bought' has_bought 2

  given a_restore_of_nothing
  claim 'a restore that stalls fails the Kustomization at once, with the reason' on_node '
    kubectl -n flux-system annotate --overwrite gitrepository flux-system reconcile.fluxcd.io/requestedAt=now
    kubectl -n flux-system wait kustomization/restores --for=jsonpath="{.status.conditions[?(@.type==\"Ready\")].status}"=False --timeout=120s
    kubectl -n flux-system get kustomization restores -o jsonpath="{.status.conditions[?(@.type==\"Ready\")].message}" | grep -i stalled'

  given no_restores_any_more
  claim 'what leaves Git is pruned, and its record and its VM stay' on_node '
    kubectl -n flux-system annotate --overwrite gitrepository flux-system reconcile.fluxcd.io/requestedAt=later
    kubectl -n shop wait vbr/restore-web-21 --for=delete --timeout=120s
    kubectl get vop -o jsonpath="{.items[*].status.state}" | grep -x "Succeeded Succeeded"'
  claim 'still two VMs' has_bought 2
}

for way in "${ways[@]}"; do
  printf '\n%s\n' "== a new user's way by $way"
  broken=
  if new_node "$way"; then
    ok 'a real node is Ready'
    "by_$way"
  else
    failed 'a real node is Ready'
  fi
  end_node "${nodes[-1]}"
  unset 'nodes[-1]'
done
closing_line node
