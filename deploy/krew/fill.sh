#!/usr/bin/env bash
# Prints the manifest for Krew: fill.sh VERSION FOLDER, where FOLDER contains the archives of the plugin.
set -euo pipefail

(($# == 2)) || {
  printf 'fill: usage: fill.sh VERSION FOLDER\n' >&2
  exit 1
}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here version=$1 folder=$2

checksum() { sha256sum <"$folder/kubectl-hostup-$version-linux-$1.tar.gz" | cut -d' ' -f1; }
amd64=$(checksum amd64)
arm64=$(checksum arm64)
sed -e '/^#/d' -e "s/@VERSION@/$version/g" -e "s/@SHA256_AMD64@/$amd64/" -e "s/@SHA256_ARM64@/$arm64/" "$here/hostup.yaml"
