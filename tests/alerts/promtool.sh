#!/usr/bin/env bash
# Prints the path of promtool; everything else goes to stderr. It is taken from PATH,
# else from Debian's package of Prometheus, which is unpacked into the cache and not installed.
#
#   HOSTUP_TEST_CACHE    where it is kept; default: hostup-operator in the user's cache folder
set -euo pipefail

say() { printf 'promtool: %s\n' "$*" >&2; }

if command -v promtool; then exit 0; fi

cache=${HOSTUP_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME, XDG_CACHE_HOME or HOSTUP_TEST_CACHE}/.cache}/hostup-operator}
[[ $cache == /* ]] || cache=$PWD/$cache
readonly cache kept=$cache/promtool
if [[ -x $kept ]]; then
  echo "$kept"
  exit 0
fi

how="install Prometheus, so that promtool is in PATH"
if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
  say "promtool is missing, and this is no Debian: $how"
  exit 1
fi
mkdir -p "$cache"
work=$(mktemp -d "$cache/promtool.XXXXXX")
trap 'rm -rf "$work"' EXIT
download() { (cd "$work" && apt-get download prometheus >&2); }
# A fresh machine knows no packages; to learn of them needs root.
download || { apt-get update >&2 && download; } || {
  say "promtool cannot be downloaded: $how"
  exit 1
}
dpkg -x "$work"/prometheus_*.deb "$work/unpacked" >&2
# Whole or not at all: another run may look for it now.
mv "$work/unpacked/usr/bin/promtool" "$kept"
echo "$kept"
