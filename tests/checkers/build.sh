#!/usr/bin/env bash
# Makes the programs available that check what is written without running it, and prints the folder that holds
# them as the last line of stdout: in bin/ actionlint, hadolint, helm-unittest, kubeconform, an old kustomize, shellcheck,
# yamllint and zizmor, in schemas/ those of Kubernetes' own kinds. Everything else goes to stderr.
#
# They are built and installed once, about a minute on two cores, at the versions of go.mod and requirements.txt,
# into HOSTUP_TEST_CACHE (default: hostup-operator in the user's cache folder).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here

say() { printf 'checkers: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

sum() {
  if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi
}

cache=${HOSTUP_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME, XDG_CACHE_HOME or HOSTUP_TEST_CACHE}/.cache}/hostup-operator}
[[ $cache == /* ]] || cache=$PWD/$cache
key=checkers-$( (
  uname -sm
  cd "$here" && cat build.sh {.,kustomize}/go.{mod,sum} requirements.txt schemas.py
) | sum | cut -c1-16)
readonly cache key home=$cache/$key

# Written last: without it the folder is a build that was cut short.
if [[ -e $home/whole ]]; then
  echo "$home"
  exit 0
fi

command -v go >/dev/null || die "Go is missing: install Go 1.26 or newer"
python3 -c 'import venv, ensurepip' 2>/dev/null || die "Python with venv is missing: install it (Debian: python3-venv)"
mkdir -p "$cache" || die "cannot make the cache folder $cache: set HOSTUP_TEST_CACHE to a writable one"

exec 9>"$cache/$key.lock"
! command -v flock >/dev/null || flock 9
if [[ -e $home/whole ]]; then
  echo "$home"
  exit 0
fi

say "building and installing the checkers (once; about a minute on two cores)"
rm -rf "$home"
for module in . kustomize; do
  (cd "$here/$module" && CGO_ENABLED=0 GOWORK=off GOFLAGS='-mod=readonly -buildvcs=false' \
    go build -trimpath -gcflags=all=-dwarf=false -ldflags '-s -w' -o "$home/bin/" tool >&2) ||
    die "building actionlint, helm-unittest, kubeconform and kustomize failed; the lines above say why"
done
python3 -m venv "$home/python" >&2
"$home/python/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$here/requirements.txt" >&2 ||
  die "installing requirements.txt failed; the lines above say why"
for program in hadolint shellcheck yamllint zizmor; do
  ln -s "../python/bin/$program" "$home/bin/$program"
done
"$home/python/bin/python" "$here/schemas.py" "$home/schemas"
# Only the schemas were wanted, and they are most of it.
"$home/python/bin/pip" uninstall --quiet --disable-pip-version-check --yes kubernetes-validate >&2
touch "$home/whole"
echo "$home"
