#!/usr/bin/env bash
# Collects the files of a release in target/release-files: the image for both architectures, the chart, the manifests, the
# CRDs, the kubectl plugin with its manifest for Krew, the SBOM of the binaries, and the checksums of all files.
#
# Needs the programs of `make image` for two architectures, and cargo-cyclonedx.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
  printf 'release-files: %s\n' "$*" >&2
  exit 1
}

version=$(cargo pkgid -p hostup-operator | sed 's/.*[@#]//')
targets=${CARGO_TARGET_DIR:-target}
out=$targets/release-files
readonly version targets out
cargo cyclonedx --version >/dev/null 2>&1 ||
  die "cargo-cyclonedx is missing: cargo install --locked cargo-cyclonedx --version 0.5.9"
helm=$(bash tests/control-plane/build.sh)/helm
[[ -x $helm ]] || helm=helm

rm -rf "$out"
mkdir -p "$out"
ARCHITECTURES="amd64 arm64" bash deploy/image.sh
cp "$targets/image/hostup-operator.oci.tar" "$out/hostup-operator-$version.oci.tar"
"$helm" package charts/hostup-operator --destination "$out"
[[ -e $out/hostup-operator-$version.tgz ]] || die "the chart has another version than $version: run \`make release-check\`"
cp deploy/install.yaml "$out/install.yaml"
# image.sh has built the plugin too.
for platform in amd64:x86_64 arm64:aarch64; do
  binary=$targets/${platform#*:}-unknown-linux-musl/release/kubectl-hostup
  archive=$out/kubectl-hostup-$version-linux-${platform%:*}.tar.gz
  tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 \
    --directory "$(dirname "$binary")" kubectl-hostup --directory "$PWD" LICENSE | gzip --no-name >"$archive"
done
bash deploy/krew/fill.sh "$version" "$out" >"$out/hostup.krew.yaml"
for kind in crds/*.yaml; do
  printf -- '---\n'
  cat "$kind"
done >"$out/crds.yaml"

# It writes one file for each Cargo.toml of the workspace; the release contains only that of the operator.
trap 'find . -name hostup-parts.json -not -path "./target/*" -delete' EXIT
cargo cyclonedx --format json --spec-version 1.5 --no-build-deps --target x86_64-unknown-linux-musl \
  --override-filename hostup-parts
cp hostup-parts.json "$out/sbom.cdx.json"
jq -e --arg version "$version" '.metadata.component | .name == "hostup-operator" and .version == $version' \
  "$out/sbom.cdx.json" >/dev/null || die "the parts list is not that of hostup-operator $version"

(cd "$out" && sha256sum -- * >SHA256SUMS && cat SHA256SUMS)
