#!/usr/bin/env bash
# Makes the image of this machine's architecture without a Docker engine, as target/image/hostup-operator.tar,
# which `docker load`, `podman load` and `ctr images import` read.
#
# Needs buildah, the CA certificates of the system, and rustup's target for musl with its C compiler (Debian:
# musl-tools).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
  printf 'image: %s\n' "$*" >&2
  exit 1
}

# A pull over a thin line and a look by a scanner both take as long as the image is large.
readonly most_bytes=$((15 * 1024 * 1024))
certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
case $(uname -m) in
  x86_64) architecture=amd64 target=x86_64-unknown-linux-musl ;;
  aarch64) architecture=arm64 target=aarch64-unknown-linux-musl ;;
  *) die "no image is made for $(uname -m)" ;;
esac
version=$(cargo pkgid -p hostup-operator | sed 's/.*[@#]//')
readonly certificates architecture target version

command -v buildah >/dev/null || die "buildah is missing: install it"
[[ -s $certificates ]] || die "$certificates is missing: install ca-certificates, or set SSL_CERT_FILE"
! command -v rustup >/dev/null || rustup target add "$target" >&2
cargo build --locked --release --target "$target" -p hostup-operator

image=localhost/hostup-operator:$version
out=${CARGO_TARGET_DIR:-target}/image
rm -rf "$out"
mkdir -p "$out/context"
cp deploy/Dockerfile "$out/context/"
cp "$certificates" "$out/context/ca-certificates.crt"
cp "${CARGO_TARGET_DIR:-target}/$target/release/hostup-operator" "$out/context/hostup-operator-$architecture"
store=$(mktemp -d)
trap 'rm -rf "$store"' EXIT
with_buildah() { buildah --root "$store/root" --runroot "$store/run" --storage-driver vfs "$@"; }
with_buildah build --isolation chroot --timestamp 0 --build-arg "TARGETARCH=$architecture" -t "$image" "$out/context" >&2
with_buildah push "$image" "docker-archive:$out/hostup-operator.tar:$image" >&2

bytes=$(wc -c <"$out/hostup-operator.tar")
((bytes <= most_bytes)) || die "the image has $bytes bytes, more than $most_bytes"
printf '%s %s: %s, %s bytes\n' "$image" "$architecture" "$out/hostup-operator.tar" "$bytes"
