#!/usr/bin/env bash
# How much of the code that reads foreign bytes the tests run, in lines: of
# every such module, and of all. Below 95 % of all is an error.
#
# It takes llvm-profdata and llvm-cov of the LLVM that rustc has: those of
# rustup's component llvm-tools, or those in the folder LLVM.
set -euo pipefail
cd "$(dirname "$0")/.."
llvm=${LLVM:-$(rustc --print target-libdir)/../bin}
if ! "$llvm/llvm-cov" --version >/dev/null 2>&1; then
    echo "there is no llvm-cov in $llvm: rustup component add llvm-tools, or set LLVM" >&2
    exit 2
fi
decoders=(
    core/src/admission.rs core/src/id.rs core/src/members.rs core/src/path.rs core/src/text.rs
    core/src/ticket.rs core/src/version.rs
    core/src/wire/{frame,message}.rs
    core/src/seal/{chunk,grant,head,manifest,name,record,share,signature,walk}.rs
    core/src/gob/{decode,number,types,value,walk}.rs
    core/src/foreverstore/{connection,framing,incoming,message,names,writing}.rs
    core/src/tape/{call,entry,replay,shapes,shown,value}.rs
    adapters/store/src/{entry,replay,segment,state}.rs
    adapters/tls/src/{channel,handshake,identity,record}.rs
)
packages=(-p peerhold-core -p peerhold-store -p peerhold-tls)
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/coverage" CARGO_INCREMENTAL=0
export RUSTFLAGS="-C instrument-coverage"
profiles="$CARGO_TARGET_DIR/profiles"
rm -rf "$profiles"
mkdir -p "$profiles"
# Proc macros and build scripts write theirs while they build.
LLVM_PROFILE_FILE="$profiles/build-%p.raw" cargo test "${packages[@]}" --no-run --message-format=json >"$profiles/built"
mapfile -t binaries < <(sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' "$profiles/built")
LLVM_PROFILE_FILE="$profiles/test-%p-%m.profraw" PEERHOLD_MUTATIONS="${PEERHOLD_MUTATIONS:-0}" cargo test -q "${packages[@]}"
"$llvm/llvm-profdata" merge -sparse "$profiles"/test-*.profraw -o "$profiles/all"
objects=()
for binary in "${binaries[@]:1}"; do
    objects+=(-object "$binary")
done
"$llvm/llvm-cov" export -format=lcov -instr-profile "$profiles/all" "${binaries[0]}" "${objects[@]}" "${decoders[@]}" >"$profiles/lcov"
# Lines of a module's own tests do not count.
awk -F'[:,]' '
    /^SF:/ {
        file = substr($0, 4)
        tests = 0
        at = 0
        while ((getline line < file) > 0) {
            at++
            if (line ~ /^#\[cfg\(test\)\]/ && !tests) tests = at
        }
        close(file)
    }
    /^DA:/ && (!tests || $2 < tests) { lines[file]++; if ($3 > 0) run[file]++; else missed[file] = missed[file] " " $2 }
    END {
        for (file in lines) {
            all += lines[file]
            hit += run[file]
            printf "%6.2f %% of %4d lines  %s%s\n", 100 * run[file] / lines[file], lines[file], file, missed[file] ? "  not:" missed[file] : "" | "sort -n"
        }
        close("sort -n")
        printf "%6.2f %% of %d lines of all decoders\n", 100 * hit / all, all
        exit hit / all < 0.95
    }' "$profiles/lcov"
