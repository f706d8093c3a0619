#!/usr/bin/env bash
# Makes the programs of a Kubernetes control plane available and prints the folder that holds them
# as the last line of stdout; everything else goes to stderr.
#
#   KUBEBUILDER_ASSETS   a folder with etcd, kube-apiserver and kube-controller-manager: used as it is
#   HOSTUP_TEST_CACHE    where built programs are kept; default: hostup-operator in the user's cache folder
#
# Otherwise they, kubectl and Helm are built once from the modules in tools/, about six minutes on two cores. Their
# versions are those of the committed go.mod files; a changed go.mod or go.sum means a new build.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
# Part of the cache key; raise it when the flags below change what is built.
readonly recipe=1

say() { printf 'control-plane: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

holds() {
  local folder=$1 program
  shift
  for program in "$@"; do
    [[ -x $folder/$program ]] || return 1
  done
}

version_of() { # module, its go.mod
  awk -v module="$1" '$1 == "require" { sub(/^require /, "") } $1 == module { print $2; exit }' "$2"
}

sum() {
  if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi
}

go_build() { # folder of the module, folder for the programs, flags and packages
  local module=$1 out=$2
  shift 2
  (cd "$module" && CGO_ENABLED=0 GOWORK=off GOFLAGS='-mod=readonly -buildvcs=false' \
    go build -trimpath -gcflags=all=-dwarf=false -o "$out/" "$@" >&2)
}

if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then
  if holds "$KUBEBUILDER_ASSETS" etcd kube-apiserver kube-controller-manager; then
    (cd "$KUBEBUILDER_ASSETS" && pwd)
    exit 0
  fi
  say "KUBEBUILDER_ASSETS ($KUBEBUILDER_ASSETS) lacks etcd, kube-apiserver or kube-controller-manager; using own builds"
fi

cache=${HOSTUP_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME, XDG_CACHE_HOME or HOSTUP_TEST_CACHE}/.cache}/hostup-operator}
[[ $cache == /* ]] || cache=$PWD/$cache
key=$( (
  echo "recipe $recipe $(uname -sm)"
  cd "$here/tools" && cat {etcd,helm,kubernetes}/go.{mod,sum}
) | sum | cut -c1-16)
readonly cache key home=$cache/$key
programs=(etcd kube-apiserver kube-controller-manager kubectl helm)

if holds "$home/bin" "${programs[@]}"; then
  echo "$home/bin"
  exit 0
fi

command -v go >/dev/null || die "the test control plane is built from source: install Go 1.26 or newer, or set KUBEBUILDER_ASSETS"
for module in kubernetes etcd helm; do
  (cd "$here/tools/$module" && GOWORK=off go list -m >/dev/null 2>&1) ||
    die "$(go env GOVERSION 2>/dev/null || echo "this Go") cannot use tools/$module/go.mod: install Go 1.26 or newer, or set KUBEBUILDER_ASSETS"
done
mkdir -p "$cache" || die "cannot make the cache folder $cache: set HOSTUP_TEST_CACHE to a writable one"

# One build at a time; whoever waited finds the result. Without flock two builds may run, and the
# rename below still lets only a whole one be seen.
exec 9>"$cache/$key.lock"
if command -v flock >/dev/null && ! flock --nonblock 9; then
  say "another run is building the control plane; waiting for it"
  flock 9
fi
if holds "$home/bin" "${programs[@]}"; then
  echo "$home/bin"
  exit 0
fi

work=$(mktemp -d "$cache/$key.build.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"

kubernetes=$(version_of k8s.io/kubernetes "$here/tools/kubernetes/go.mod")
etcd=$(version_of go.etcd.io/etcd/server/v3 "$here/tools/etcd/go.mod")
IFS=. read -r major minor _ <<<"${kubernetes#v}"
stamp=k8s.io/component-base/version
started=$SECONDS

say "building Kubernetes $kubernetes (once; about five minutes on two cores)"
go_build "$here/tools/kubernetes" "$work/bin" \
  -ldflags "-s -w -X $stamp.gitVersion=$kubernetes -X $stamp.gitMajor=$major -X $stamp.gitMinor=$minor -X $stamp.gitTreeState=clean" \
  k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kubectl} ||
  die "building Kubernetes $kubernetes failed; the lines above say why"

say "building etcd $etcd"
go_build "$here/tools/etcd" "$work/bin" -ldflags '-s -w' go.etcd.io/etcd/server/v3 ||
  die "building etcd $etcd failed; the lines above say why"
[[ -e $work/bin/etcd ]] || mv "$work/bin/server" "$work/bin/etcd"

helm=$(version_of helm.sh/helm/v4 "$here/tools/helm/go.mod")
say "building Helm $helm"
go_build "$here/tools/helm" "$work/bin" -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=$helm" \
  helm.sh/helm/v4/cmd/helm ||
  die "building Helm $helm failed; the lines above say why"

holds "$work/bin" "${programs[@]}" || die "the build ended without all of: ${programs[*]}"
if [[ -e $home ]]; then rm -rf "$home"; fi
mv "$work" "$home"
say "built in $((SECONDS - started)) s into $home/bin"
echo "$home/bin"
