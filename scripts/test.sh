#!/bin/sh
# Everything that `make test` checks. CI calls nothing else.
set -eu
# What the tests need is installed while the compiler works, unless somebody has to be asked, or the
# compiler itself is what is missing.
installing=
have() { for program in "$@"; do command -v "$program" >/dev/null 2>&1 || return 1; done; }
if { [ "$(id -u)" = 0 ] || [ "${YES:-}" = 1 ]; } && have cargo gcc python3; then
    scripts/setup.sh test &
    installing=$!
else
    scripts/setup.sh test
fi
log=${TMPDIR:-/tmp}/rt-vm-bench-test-$$.log
trap 'rm -f "$log"; [ -z "$installing" ] || kill "$installing" 2>/dev/null || true' EXIT
export CARGO_TERM_COLOR=never RUST_BACKTRACE=0
# What is built here is for the tests: without debug information and without optimisation across the
# parts of a crate, it is built in two thirds of the time.
export CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_LTO=off

# What each layer took, printed at the end.
times=
took() { times="$times$(printf '%5.1f min  %s' "$(echo "$2" | awk '{ print $1 / 60 }')" "$1")
"; }
begun=$(date +%s)
lap() { now=$(date +%s); took "$1" $((now - begun)); begun=$now; }

step() { echo "== $*"; "$@"; }
step cargo fmt --all --check
python3 -m doctest scripts/circles.py
step python3 scripts/circles.py
# Of the profile that is built below: what runs in the compiler is then built once.
step cargo clippy --release --workspace --all-targets --quiet -- -D warnings
RUSTDOCFLAGS="-D warnings" step cargo doc --release --workspace --no-deps --quiet
lap "formatting, lints, documentation"
# The end-to-end tests run the programs as a user would: built for release. So are the tests; with
# them come the programs, so that nothing is built twice.
step cargo test --release --workspace --no-run --quiet
export RTVM_BUILT=true
if [ -n "$installing" ]; then
    wait "$installing"
    installing=
fi
step target/release/orchestrator fetch-kernel
# A test run that was killed before this one must not make this one fail.
[ "$(id -u)" != 0 ] || step target/release/orchestrator restore
lap "build, and kernels for guests"

echo "== cargo test"
status=0
# One test program after the other, and one test at a time within the end-to-end ones (see their
# locks): measurements side by side would measure each other.
cargo test --release --workspace --no-fail-fast -- --show-output >"$log" 2>&1 || status=$?
# What passed, in short; what failed, in full and last.
grep -E '^(     Running|   Doc-tests|test |error|A/A)' "$log" || true
sed -n '/^claim × sabotage/,/^$/p' "$log"
[ "$status" = 0 ] || sed -n '/^failures:$/,/^test result:/p' "$log"

# Test programs by layer: each says how long it ran.
by_layer() {
    awk '
        / Running unittests / { layer = "unit and property tests" }
        / Running tests\// { layer = "programs, snapshots, sabotage" }
        / Running tests\/e2e/ { layer = "end to end: guests, KVM in lab hosts, reservations, Apache" }
        / Doc-tests / { layer = "examples in the documentation" }
        /^test result:/ && match($0, /finished in [0-9.]+s/) {
            sum[layer] += substr($0, RSTART + 12, RLENGTH - 13)
        }
        END { for (layer in sum) printf "%5.1f min  %s\n", sum[layer] / 60, layer }
    ' "$log" | sort -k 3
}
echo "== Minutes per layer"
printf '%s' "$times"
by_layer

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
