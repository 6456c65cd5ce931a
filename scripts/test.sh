#!/bin/sh
# Everything that `make test` checks. CI calls nothing else.
set -eu
log=${TMPDIR:-/tmp}/rt-vm-bench-test-$$.log
trap 'rm -f "$log"' EXIT
export CARGO_TERM_COLOR=never RUST_BACKTRACE=0

step() { echo "== $*"; "$@"; }
step cargo fmt --all --check
step cargo clippy --workspace --all-targets --quiet -- -D warnings
RUSTDOCFLAGS="-D warnings" step cargo doc --workspace --no-deps --quiet
# The end-to-end tests run the programs as a user would: built for release. So are the tests; with
# them come the programs, so that nothing is built twice.
step cargo test --release --workspace --no-run --quiet
export RTVM_BUILT=true
step target/release/orchestrator fetch-kernel

echo "== cargo test"
status=0
# One test program after the other, and one test at a time within the end-to-end ones (see their
# locks): measurements side by side would measure each other.
cargo test --release --workspace --no-fail-fast -- --show-output >"$log" 2>&1 || status=$?
# What passed, in short; what failed, in full and last.
grep -E '^(     Running|   Doc-tests|test |error|A/A)' "$log" || true
sed -n '/^claim × sabotage/,/^$/p' "$log"
[ "$status" = 0 ] || sed -n '/^failures:$/,/^test result:/p' "$log"

skipped=$(grep -c '^SKIPPED: ' "$log" || true)
echo "$skipped tests skipped"
grep '^SKIPPED: ' "$log" || true
[ "$status" = 0 ] || exit "$status"

# A skip that this machine could have run is a failure: only the reasons listed may stand.
if [ "${CI:-}" = true ]; then
    unexpected=$(grep '^SKIPPED: ' "$log" | grep -vEf .ci/may-skip || true)
    if [ -n "$unexpected" ]; then
        echo "These tests were skipped, though this machine should be able to run them:"
        echo "$unexpected"
        exit 1
    fi
fi
