# shellcheck shell=bash
# Claims of the long run: one line each, counted. Sourced.

claims_held=0 claims_failed=0 claims_skipped=0
# What follows a claim that failed stands on it, and is not tried. Set to nothing where something new begins.
broken=

ok() {
  printf 'ok       %s\n' "$*"
  claims_held=$((claims_held + 1))
}
failed() {
  printf 'FAILED   %s\n' "$*"
  claims_failed=$((claims_failed + 1))
  broken=1
}
skipped() { # what, why
  printf 'skipped  %s: %s\n' "$1" "$2"
  claims_skipped=$((claims_skipped + 1))
}

# Runs a command as a claim; what it printed is shown when it fails.
claim() { # what, command...
  local what=$1
  shift
  [[ -z $broken ]] || { skipped "$what" 'an earlier claim failed' && return; }
  if tried "$@"; then ok "$what"; else
    failed "$what"
    show_said
  fi
}

# As a claim, but nothing is said of it when it holds: what a claim begins with.
given() { # command...
  [[ -z $broken ]] || return 0
  tried "$@" || {
    failed "to begin with: $*"
    show_said
  }
}

show_said() {
  local line
  while IFS= read -r line; do printf '         | %s\n' "$line"; done <<<"$said"
}

# In a condition, bash would go on after a command that failed.
tried() {
  local status
  set +e
  said=$(set -e && "$@" 2>&1)
  status=$?
  set -e
  return "$status"
}

closing_line() { # name
  printf '%s: %s passed, %s failed, %s skipped\n' "$1" "$claims_held" "$claims_failed" "$claims_skipped"
  # A run that tried nothing shows nothing.
  [[ $claims_failed == 0 && $claims_held != 0 ]]
}
