#!/usr/bin/env bash
# A real node and its control plane, in namespaces of their own: etcd, API server, controller-manager, scheduler,
# containerd, kubelet, kube-proxy. Started by `unshare --net --mount --pid --fork --kill-child --mount-proc`, so that
# no port, bridge or rule of this machine is touched and everything ends with this script.
#
#   up.sh DIR PROGRAMS...   DIR is kept short, for sockets lie in it; PROGRAMS are folders for PATH
#
# Writes DIR/kubeconfig, and DIR/ready once the node is Ready. The address of the node is 10.99.0.1; a registry on
# 127.0.0.1:5000 is reached without TLS, as containerd does by itself.
set -euo pipefail

dir=$1
shift
for folder in "$@"; do PATH=$folder:$PATH; done
readonly dir
mkdir -p "$dir"/{certs,cni,logs,manifests}
cd "$dir"

ip link set lo up
ip link add node0 type bridge
ip addr add 10.99.0.1/24 dev node0
ip link set node0 up
ip route add default dev node0
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.route_localnet=1

echo 'admin-token,admin,admin,system:masters' >tokens.csv
openssl genrsa -out certs/sa.key 2048 2>/dev/null
echo 'nameserver 10.99.0.1' >resolv.conf
cat >kubeconfig <<EOF
apiVersion: v1
kind: Config
clusters: [{name: node, cluster: {server: "https://127.0.0.1:6443", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: admin-token}}]
contexts: [{name: node, context: {cluster: node, user: admin}}]
current-context: node
EOF
# restrict_oom_score_adj: root in a sandbox may lack the capability to lower the score.
cat >containerd.toml <<EOF
version = 2
root = "$dir/containerd"
state = "$dir/containerd-state"
[grpc]
  address = "$dir/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "$dir/cni"
EOF
cat >cni/10-bridge.conflist <<EOF
{"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "pods0", "isGateway": true,
 "hairpinMode": true, "ipam": {"type": "host-local", "dataDir": "$dir/ipam",
 "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
EOF
cat >kubelet.yaml <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://$dir/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /hostup-node
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
enforceNodeAllocatable: []
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
address: 10.99.0.1
healthzPort: 0
resolvConf: $dir/resolv.conf
clusterDomain: cluster.local
clusterDNS: [10.99.0.1]
podLogsDir: $dir/pod-logs
volumePluginDir: $dir/volume-plugins
staticPodPath: $dir/manifests
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%}
EOF

die() {
  printf 'node: %s\n' "$*" >&2
  exit 1
}
run() {
  local name=$1
  shift
  command -v "$1" >/dev/null || die "$1 is missing"
  "$@" >"logs/$name.log" 2>&1 &
  echo $! >"$name.pid"
}
await() { # what, command...
  local what=$1 tries=600
  shift
  until "$@" >/dev/null 2>&1; do
    ((tries-- > 0)) || die "$what did not come within a minute; see $dir/logs"
    sleep 0.1
  done
}
is_ready() { kubectl --kubeconfig kubeconfig get node node1 | grep -q ' Ready'; }

# Each namespace of pids has its own first process; the machine's cgroups are shared.
for controller in /sys/fs/cgroup/*/; do
  [[ ! -e $controller/cgroup.procs ]] || mkdir -p "$controller/hostup-node"
done
[[ ! -e /sys/fs/cgroup/cgroup.controllers ]] || mkdir -p /sys/fs/cgroup/hostup-node

run etcd etcd --data-dir="$dir/etcd" --unsafe-no-fsync --log-level=warn
run kube-apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --cert-dir="$dir/certs" \
  --advertise-address=10.99.0.1 --service-account-key-file=certs/sa.key --service-account-signing-key-file=certs/sa.key \
  --service-account-issuer=https://kubernetes.default.svc --token-auth-file=tokens.csv --authorization-mode=RBAC \
  --service-cluster-ip-range=10.0.0.0/24 --kubelet-preferred-address-types=InternalIP
run containerd containerd --config containerd.toml
await 'the API server' kubectl --kubeconfig kubeconfig get --raw /readyz
run kube-controller-manager kube-controller-manager --kubeconfig=kubeconfig --service-account-private-key-file=certs/sa.key \
  --root-ca-file=certs/apiserver.crt --leader-elect=false --secure-port=0 \
  --controllers='*,-node-ipam-controller,-node-route-controller,-cloud-node-lifecycle-controller,-service-lb-controller'
run kube-scheduler kube-scheduler --kubeconfig=kubeconfig --leader-elect=false --secure-port=0
await containerd ctr --address "$dir/containerd.sock" version
ctr --address "$dir/containerd.sock" -n k8s.io images import "$dir/pause.tar" >/dev/null
run kubelet kubelet --config=kubelet.yaml --kubeconfig=kubeconfig --root-dir="$dir/kubelet" --cert-dir="$dir/pki" \
  --node-ip=10.99.0.1 --hostname-override=node1
run kube-proxy kube-proxy --kubeconfig=kubeconfig --hostname-override=node1 --proxy-mode=iptables \
  --cluster-cidr=10.244.0.0/24 --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0 \
  --conntrack-tcp-timeout-close-wait=0
await 'the node' is_ready
touch ready
wait
