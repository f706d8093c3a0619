#!/usr/bin/env bash
# Pushes the files of release-files.sh: publish.sh FOLDER VERSION REGISTRY, where REGISTRY is a host and a path, e.g.
# ghcr.io/hostup-operator. Prints two lines, `image=` and `chart=`, with the digests to sign.
#
# The script never replaces a version. If the registry has the version with the same contents, the script leaves it as it
# is, so that an interrupted run can be repeated. If the contents differ, the script refuses them.
#
# Needs skopeo, helm, oras and jq, logged in. PLAIN_HTTP=1 is for a registry on this machine.
set -euo pipefail

die() {
  printf 'publish: %s\n' "$*" >&2
  exit 1
}

(($# == 3)) || die "usage: publish.sh FOLDER VERSION REGISTRY"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here folder=$1 version=$2 registry=$3
image=$registry/hostup-operator
chart=$registry/charts/hostup-operator
verify=true plain=()
[[ -z ${PLAIN_HTTP:-} ]] || verify=false plain=(--plain-http)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Succeeds if the registry has the version, and writes its manifest to $work/manifest. It must not run in a subshell: if the
# registry answers anything except "not found", a version could be replaced, so the script ends and pushes nothing.
is_there() {
  ! skopeo inspect --raw --tls-verify="$verify" "docker://$1" >"$work/manifest" 2>"$work/why" || return 0
  grep -qiE 'manifest unknown|name unknown|not found' "$work/why" || {
    cat "$work/why" >&2
    die "it cannot be seen whether $1 is there"
  }
  return 1
}
digest() { sha256sum | cut -d' ' -f1; }

archive=oci-archive:$folder/hostup-operator-$version.oci.tar:$version
ours=$(skopeo inspect --raw "$archive" | digest)
if is_there "$image:$version"; then
  [[ $(digest <"$work/manifest") == "$ours" ]] || die "$image:$version is there with other contents; make a new version"
else
  skopeo copy --all --preserve-digests --dest-tls-verify="$verify" "$archive" "docker://$image:$version" >&2
fi

package=$folder/hostup-operator-$version.tgz
layer=sha256:$(digest <"$package")
if is_there "$chart:$version"; then
  jq -e --arg layer "$layer" 'any(.layers[]; .digest == $layer)' "$work/manifest" >/dev/null ||
    die "$chart:$version is there with other contents; make a new version"
else
  helm push "${plain[@]}" "$package" "oci://${chart%/*}" >&2
fi

(cd "$here" && oras push "${plain[@]}" "$chart:artifacthub.io" \
  --config /dev/null:application/vnd.cncf.artifacthub.config.v1+yaml \
  artifacthub-repo.yml:application/vnd.cncf.artifacthub.repository-metadata.layer.v1.yaml) >&2

for what in image chart; do
  is_there "${!what}:$version" || die "${!what}:$version was pushed and is not there"
  printf '%s=%s@sha256:%s\n' "$what" "${!what}" "$(digest <"$work/manifest")"
done
