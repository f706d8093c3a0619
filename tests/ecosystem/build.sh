#!/usr/bin/env bash
# Builds a program that the long run needs, once, and prints the folder that holds it as the last line of
# stdout; everything else goes to stderr.
#
#   build.sh node|oldest|helm3|flux|crane|argocd
#
# Versions are those of the go.mod files; HOSTUP_TEST_CACHE names another cache folder, as for the control plane.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${HOSTUP_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME, XDG_CACHE_HOME or HOSTUP_TEST_CACHE}/.cache}/hostup-operator}
[[ $cache == /* ]] || cache=$PWD/$cache
readonly here cache recipe=1
readonly name=${1:?name what to build}

say() { printf 'ecosystem: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

# Modules that an answer is made of; where they are.
case $name in
  node) modules=(tools/kubernetes-node) ;;
  oldest) modules=(tools/kubernetes-oldest) ;;
  flux) modules=(tools/source-controller tools/kustomize-controller tools/helm-controller) ;;
  helm3 | crane | argocd) modules=("tools/$name") ;;
  *) die "nothing is known about $name" ;;
esac
key=$( (
  echo "recipe $recipe $(uname -sm) $name"
  for module in "${modules[@]}"; do cat "$here/$module/go.mod" "$here/$module/go.sum"; done
  cat "$here/tools/$name"/*.go 2>/dev/null || true
) | sha256sum | cut -c1-16)
readonly key home=$cache/$name-$key

if [[ -d $home ]]; then
  echo "$home"
  exit 0
fi
command -v go >/dev/null || die "$name is built from source: install Go 1.26 or newer"
mkdir -p "$cache"
exec 9>"$cache/$name-$key.lock"
flock 9
if [[ -d $home ]]; then
  echo "$home"
  exit 0
fi
work=$(mktemp -d "$cache/$name-$key.build.XXXXXX")
trap 'rm -rf "$work"' EXIT

version_of() { # module, folder of the go.mod
  (cd "$here/$2" && GOWORK=off go list -m -f '{{.Version}}' "$1")
}

folder_of() { # module, folder of the go.mod
  (cd "$here/$2" && GOWORK=off go list -m -f '{{.Dir}}' "$1")
}

go_build() { # folder of the module, -ldflags, file or folder for the result, packages
  local module=$1 flags=$2 out=$3
  shift 3
  (cd "$here/$module" && CGO_ENABLED=0 GOWORK=off GOFLAGS='-mod=readonly -buildvcs=false' \
    go build -trimpath -gcflags=all=-dwarf=false -ldflags "-s -w $flags" -o "$work/$out" "$@" >&2) ||
    die "building $name failed; the lines above say why"
}

kubernetes() { # folder of the module, programs
  local module=$1 version major minor stamp=k8s.io/component-base/version
  shift
  version=$(version_of k8s.io/kubernetes "$module")
  IFS=. read -r major minor _ <<<"${version#v}"
  go_build "$module" "-X $stamp.gitVersion=$version -X $stamp.gitMajor=$major -X $stamp.gitMinor=$minor -X $stamp.gitTreeState=clean" \
    "" "${@/#/k8s.io/kubernetes/cmd/}"
}

say "building $name, once"
started=$SECONDS
case $name in
  node) kubernetes "${modules[0]}" kubelet kube-proxy kube-scheduler ;;
  oldest)
    kubernetes "${modules[0]}" kube-apiserver kube-controller-manager kubectl
    current=$(env -u KUBEBUILDER_ASSETS bash "$here/../control-plane/build.sh")
    ln -s "$current/etcd" "$current/helm" "$work/"
    ;;
  helm3)
    go_build "${modules[0]}" "-X helm.sh/helm/v3/internal/version.version=$(version_of helm.sh/helm/v3 "${modules[0]}")" \
      helm helm.sh/helm/v3/cmd/helm
    ;;
  flux)
    for module in "${modules[@]}"; do
      controller=${module#tools/}
      go_build "$module" "" "$controller" "github.com/fluxcd/$controller"
      mkdir "$work/$controller-crds"
      cp "$(folder_of "github.com/fluxcd/$controller" "$module")"/config/crd/bases/*.yaml "$work/$controller-crds/"
      chmod -R u+w "$work/$controller-crds"
    done
    ;;
  crane) go_build "${modules[0]}" "" crane github.com/google/go-containerregistry/cmd/crane ;;
  argocd)
    module=github.com/argoproj/argo-cd/v3
    go_build "${modules[0]}" "-X $module/common.version=$(version_of "$module" "${modules[0]}" | tr -d v)" argocd "$module/cmd"
    go_build "${modules[0]}" "" argocd-check .
    mkdir "$work/argocd-crds"
    cp "$(folder_of "$module" "${modules[0]}")"/manifests/crds/*-crd.yaml "$work/argocd-crds/"
    chmod -R u+w "$work/argocd-crds"
    ;;
esac
mv "$work" "$home"
trap - EXIT
say "built $name in $((SECONDS - started)) s"
echo "$home"
