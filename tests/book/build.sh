#!/usr/bin/env bash
# Builds docs/ as a book into target/book, and checks every link in it. Prints the folder of the book as the last line of
# stdout; everything else goes to stderr.
#
# mdBook is built and installed once, in a few minutes on two cores, into HOSTUP_TEST_CACHE (default: hostup-operator in the
# user's cache folder). It builds a copy of docs/ in which links to the rest of the repository lead to GitHub.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
readonly here root version=0.5.4

say() { printf 'book: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

cache=${HOSTUP_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME, XDG_CACHE_HOME or HOSTUP_TEST_CACHE}/.cache}/hostup-operator}
[[ $cache == /* ]] || cache=$PWD/$cache
home=$cache/mdbook-$version-$(uname -sm | tr ' ' '-')
readonly cache home

install_mdbook() {
  mkdir -p "$cache" || die "cannot make the cache folder $cache: set HOSTUP_TEST_CACHE to a writable one"
  exec 9>"$home.lock"
  ! command -v flock >/dev/null || flock 9
  [[ ! -e $home/whole ]] || return 0
  command -v "${CARGO:-cargo}" >/dev/null || die "Rust is missing: install rustup"
  say "building and installing mdBook $version (once; a few minutes on two cores)"
  rm -rf "$home"
  # Without the web server and the watching of files: they are most of its dependencies.
  "${CARGO:-cargo}" install --quiet --locked --version "$version" --no-default-features --features search \
    --root "$home" mdbook >&2 || die "installing mdBook failed; the lines above say why"
  # Written last: without it the folder is a build that was cut short.
  touch "$home/whole"
}

[[ -e $home/whole ]] || install_mdbook

target=${CARGO_TARGET_DIR:-$root/target}
[[ $target == /* ]] || target=$PWD/$target
python3 "$here/links.py" copy "$root" "$target/book-pages" >&2
rm -rf "$target/book"
"$home/bin/mdbook" build "$target/book-pages" --dest-dir "$target/book" >&2 || die "mdBook failed; the lines above say why"
python3 "$here/links.py" check "$target/book" >&2
echo "$target/book"
