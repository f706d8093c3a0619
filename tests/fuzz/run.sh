#!/usr/bin/env bash
# `run.sh [SECONDS [TARGET...]]`: each fuzz target for so long, and what it came to. A broken promise, a panic, an input
# that takes more than a second of the processor, or more than a gigabyte: the input is kept, and this fails.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
targets=("${@:2}")
if [ ${#targets[@]} -eq 0 ]; then
  targets=(problem envelope list price headers secret spec record)
fi
folder=${CARGO_TARGET_DIR:-target}
host=$(rustc -vV | sed -n 's/^host: //p')
# What libFuzzer is steered by. They are options of the compiler's own back end, so that the stable one has them; with
# --target they leave build scripts and macros alone.
counters=(-Cpasses=sancov-module)
for option in level=4 inline-8bit-counters pc-table trace-compares; do
  counters+=("-Cllvm-args=-sanitizer-coverage-$option")
done
RUSTFLAGS="${counters[*]}" cargo build --locked --profile fuzz --target "$host" -p hostup-fuzz --features libfuzzer

# The long inputs first: what they take does not change from run to run.
fuzzed() {
  local fuzz=("$folder/$host/fuzz/hostup-fuzz" -timeout=25 -rss_limit_mb=1024 -artifact_prefix="$found/")
  local long
  for long in "tests/fuzz/long/$target/"*; do
    "${fuzz[@]}" "$long" || return
  done
  "${fuzz[@]}" -max_total_time="$seconds" -max_len=8192 -print_final_stats=1 -dict=tests/fuzz/words.dict \
    "$corpus" "tests/fuzz/seeds/$target"
}

# The last number that the fuzzer's last line has after a word.
figure() {
  grep -E '^#[0-9]+.* cov: ' "$log" | tail -n 1 | sed -nE "s/.* $1: ([0-9]+).*/\1/p"
}

failed=0
printf '%-9s %10s %8s %7s %9s %7s %8s  %s\n' target runs seconds edges features inputs 'peak MB' end
for target in "${targets[@]}"; do
  corpus=$folder/fuzz/corpus/$target
  found=$folder/fuzz/found/$target
  log=$folder/fuzz/$target.log
  mkdir -p "$corpus" "$found"
  started=$(date +%s)
  end=well
  HOSTUP_FUZZ_TARGET=$target fuzzed >"$log" 2>&1 || end=FAILED
  took=$(($(date +%s) - started))
  runs=$(sed -nE 's/^#([0-9]+).*/\1/p' "$log" | tail -n 1)
  peak=$(sed -nE 's/^stat::peak_rss_mb: +//p' "$log" | tail -n 1)
  printf '%-9s %10s %8s %7s %9s %7s %8s  %s\n' "$target" "${runs:-0}" "$took" "$(figure cov)" "$(figure ft)" \
    "$(figure corp)" "${peak:-?}" "$end"
  if [ "$end" != well ]; then
    failed=1
    grep -E "panicked at|ERROR: libFuzzer|Test unit written|^Base64" -A 1 "$log" >&2 || tail -n 30 "$log" >&2
  fi
done
exit "$failed"
