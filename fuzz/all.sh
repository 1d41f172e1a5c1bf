#!/usr/bin/env bash
# Fuzzes targets one after another, each from its committed corpus, and lists
# how many inputs each was given. A finding of any of them is an error, and is
# left in fuzz/artifacts.
#
# usage: fuzz/all.sh SECONDS [TARGET..]
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
sanitizer=${SANITIZER:-none}
cargo fuzz build --sanitizer "$sanitizer"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=()
for target in "$@"; do
    dictionary=()
    [ ! -e "dictionaries/$target.dict" ] || dictionary=("-dict=dictionaries/$target.dict")
    # What it finds stays out of the repository.
    cp -r "corpus/$target" "$work/corpus"
    code=0
    cargo fuzz run --sanitizer "$sanitizer" "$target" "$work/corpus" -- \
        -max_total_time="$seconds" -timeout=25 -print_final_stats=1 \
        "${dictionary[@]}" >"$work/log" 2>&1 || code=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")
    found=$(find "$work/corpus" -type f | wc -l)
    echo "$target: ${runs:-no} executions, $found inputs in its corpus"
    if [ "$code" != 0 ]; then
        tail -n 60 "$work/log"
        failed+=("$target")
    fi
    rm -rf "$work/corpus"
done
if [ "${#failed[@]}" != 0 ]; then
    echo "findings in: ${failed[*]}" >&2
    exit 1
fi
