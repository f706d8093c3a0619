# shellcheck shell=bash disable=SC2154
# Commands out of the documents. Sourced, with `root` set.

# The `sh` blocks of a document under a heading, as they stand.
blocks() { # file, heading
  awk -v heading="$2" '
    /^#+ / { inside = ($0 ~ "^#+ " heading "$") }
    inside && /^ *```sh$/ { match($0, /^ */); indent = RLENGTH; block = 1; next }
    block && /^ *```$/ { block = 0; next }
    block { print substr($0, indent + 1) }' "$root/$1"
}
