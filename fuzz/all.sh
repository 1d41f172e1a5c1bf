#!/usr/bin/env bash
# Fuzzes targets, as many side by side as there are processors, each from its
# committed corpus, and lists how many inputs each was given. A finding of any of
# them is an error, and is left in fuzz/artifacts.
#
# usage: [JOBS=n] [CODEGEN_UNITS=n] fuzz/all.sh SECONDS [TARGET..]
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:?for how many seconds each target is fuzzed}
shift
if [ $# = 0 ]; then
    for target in fuzz_targets/*.rs; do
        set -- "$@" "$(basename "$target" .rs)"
    done
fi
# cargo-fuzz wants nightly's flags; the variable makes stable take them. The
# sanitizer finds what is unsafe, which these packages forbid, and is slow.
export RUSTC_BOOTSTRAP=1
how=(--sanitizer "${SANITIZER:-none}")
# More than one build faster, and run slower.
[ -z "${CODEGEN_UNITS:-}" ] || how+=(--codegen-units "$CODEGEN_UNITS")
cargo fuzz build "${how[@]}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

one() {
    local target=$1 dictionary=() code=0 runs found
    [ ! -e "dictionaries/$target.dict" ] || dictionary=("-dict=dictionaries/$target.dict")
    # What it finds stays out of the repository.
    mkdir "$work/$target"
    cp -r "corpus/$target" "$work/$target/corpus"
    cargo fuzz run "${how[@]}" "$target" "$work/$target/corpus" -- \
        -max_total_time="$seconds" -timeout=25 -print_final_stats=1 \
        "${dictionary[@]}" >"$work/$target/log" 2>&1 || code=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$target/log")
    found=$(find "$work/$target/corpus" -type f | wc -l)
    if [ "$code" = 0 ]; then
        echo "$target: ${runs:-no} executions, $found inputs in its corpus"
    else
        tail -n 60 "$work/$target/log"
        echo "$target: exit code $code after ${runs:-no} executions"
        touch "$work/$target/failed"
    fi
}

jobs=${JOBS:-$(nproc)}
for target in "$@"; do
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do
        wait -n || true
    done
    one "$target" &
done
wait
failed=$(cd "$work" && find . -name failed -printf '%h ' | tr -d ./)
if [ -n "$failed" ]; then
    echo "findings in: $failed" >&2
    exit 1
fi
