#!/usr/bin/env bash
# Builds the container image without a Docker engine, into target/image:
#
#   hostup-operator.tar          the image for one architecture: that of this machine, unless ARCHITECTURES is set
#   hostup-operator-ARCH.tar     an image for each architecture, if ARCHITECTURES lists several, e.g. "amd64 arm64"
#   hostup-operator.oci.tar      all of these under one index, for `skopeo copy --all oci-archive:...`
#
# `docker load`, `podman load` and `ctr images import` read the first two.
#
# Needs buildah, readelf, the CA certificates of the system, and rustup's target for musl with its C compiler
# (Debian: musl-tools). For other architectures, the script uses Zig as C compiler and linker. It installs Zig from PyPI into
# HOSTUP_TEST_CACHE (default: hostup-operator in the user's cache folder), and needs Python for it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
  printf 'image: %s\n' "$*" >&2
  exit 1
}

# A small image is faster to pull and to scan.
readonly most_bytes=$((15 * 1024 * 1024))
certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
case $(uname -m) in
  x86_64) own=amd64 ;;
  aarch64) own=arm64 ;;
  *) own=none ;;
esac
read -ra architectures <<<"${ARCHITECTURES:-$own}"
version=$(cargo pkgid -p hostup-operator | sed 's/.*[@#]//')
targets=${CARGO_TARGET_DIR:-target}
out=$targets/image
readonly certificates own architectures version targets out

command -v buildah >/dev/null || die "buildah is missing: install it"
command -v readelf >/dev/null || die "readelf is missing: install binutils"
[[ -s $certificates ]] || die "$certificates is missing: install ca-certificates, or set SSL_CERT_FILE"

# Puts Zig and cargo-zigbuild into PATH.
take_zig() {
  local cache=${HOSTUP_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME, XDG_CACHE_HOME or HOSTUP_TEST_CACHE}/.cache}/hostup-operator}
  local home
  home=$cache/zig-$(cksum <deploy/cross-requirements.txt | cut -d' ' -f1)
  if [[ ! -e $home/whole ]]; then
    python3 -c 'import venv, ensurepip' 2>/dev/null || die "Python with venv is missing: install it (Debian: python3-venv)"
    rm -rf "$home"
    python3 -m venv "$home" >&2
    "$home/bin/pip" install --quiet --disable-pip-version-check --no-deps -r deploy/cross-requirements.txt >&2 ||
      die "installing deploy/cross-requirements.txt failed; the lines above say why"
    touch "$home/whole"
  fi
  PATH=$home/bin:$PATH
}

compile() { # architecture, target, what readelf calls it
  local architecture=$1 target=$2 machine=$3 build=build
  if [[ $architecture != "$own" ]]; then
    take_zig
    build=zigbuild
  fi
  ! command -v rustup >/dev/null || rustup target add "$target" >&2
  cargo "$build" --locked --release --target "$target" -p hostup-operator
  local binary=$targets/$target/release/hostup-operator
  readelf --file-header "$binary" | grep -q "Machine:.*$machine" || die "$binary is not for $architecture"
  # An image from scratch has no loader.
  ! readelf --program-headers "$binary" | grep -q INTERP || die "$binary is not linked statically"
  cp "$binary" "$out/context/hostup-operator-$architecture"
}

store=$(mktemp -d)
trap 'rm -rf "$store"' EXIT
with_buildah() { buildah --root "$store/root" --runroot "$store/run" --storage-driver vfs "$@"; }

rm -rf "$out"
mkdir -p "$out/context"
cp deploy/Dockerfile "$out/context/"
cp "$certificates" "$out/context/ca-certificates.crt"
all=localhost/hostup-operator:all
with_buildah manifest create "$all" >/dev/null
for architecture in "${architectures[@]}"; do
  case $architecture in
    amd64) compile amd64 x86_64-unknown-linux-musl X86-64 ;;
    arm64) compile arm64 aarch64-unknown-linux-musl AArch64 ;;
    *) die "no image is made for $architecture: ARCHITECTURES may name amd64 and arm64" ;;
  esac
  image=localhost/hostup-operator:$version
  file=$out/hostup-operator-$architecture.tar
  ((${#architectures[@]} > 1)) || file=$out/hostup-operator.tar
  with_buildah build --isolation chroot --timestamp 0 --arch "$architecture" --build-arg "TARGETARCH=$architecture" \
    --label "org.opencontainers.image.version=$version" --iidfile "$store/id" "$out/context" >&2
  id=$(<"$store/id")
  with_buildah push "$id" "docker-archive:$file:$image" >&2
  with_buildah manifest add "$all" "$id" >/dev/null
  bytes=$(wc -c <"$file")
  ((bytes <= most_bytes)) || die "the image of $architecture has $bytes bytes, more than $most_bytes"
  printf '%s %s: %s, %s bytes\n' "$image" "$architecture" "$file" "$bytes"
done
if ((${#architectures[@]} > 1)); then
  with_buildah manifest push --all "$all" "oci-archive:$out/hostup-operator.oci.tar:$version" >&2
  printf 'all of them: %s\n' "$out/hostup-operator.oci.tar"
fi
