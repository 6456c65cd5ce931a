#!/bin/sh
# rtload against its peers, in turn and in one run: execution time against rt-app, wake-up latency
# against cyclictest.
#
#   rtload/bench.sh [PATH-OF-RTLOAD]
#
# Needs root, an otherwise quiet machine with two CPUs, and the peers. ROUNDS (3), SECONDS_EACH (10)
# and CPU (the last one) are environment variables. Raw data stay in OUT (target/bench/rtload).
# Exit codes as everywhere: 0 all hold, 3 something is missing, 4 a comparison does not hold.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
rtload=${1:-$here/../target/release/rtload}
rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-10}
cpu=${CPU:-$(($(nproc --all) - 1))}
out=${OUT:-$here/../target/bench/rtload}
. "$here/bench-statistics.sh"

missing=0
need() { # PROGRAM WHAT-TO-DO
    command -v "$1" >/dev/null 2>&1 || { echo "bench: $1 is missing: $2" >&2; missing=1; }
}
need "$rtload" "cargo build --release -p rtload"
need rt-app "apt-get install rt-app, or build github.com/scheduler-tools/rt-app"
need cyclictest "apt-get install rt-tests"
[ "$(id -u)" = 0 ] || { echo "bench: real-time priorities need root: run it with sudo" >&2; missing=1; }
[ "$missing" = 0 ] || exit 3

rm -rf "$out"
mkdir -p "$out"
export XDG_CACHE_HOME="$out/cache"
jobs=$((seconds * 1000 / 150))

cat >"$out/rt-app.json" <<JSON
{ "tasks": { "tau1": { "policy": "SCHED_FIFO", "priority": 80, "cpus": [$cpu], "loop": $jobs,
    "run": 30000, "timer": { "ref": "tau1", "period": 150000, "mode": "absolute" } } },
  "global": { "duration": $((seconds + 5)), "calibration": "CPU$cpu", "lock_pages": true,
    "logdir": "$out", "log_basename": "rt-app" } }
JSON

# Runs a program with its output in a log, which is shown where it fails.
logged() { # LOG COMMAND...
    log=$out/$1.log
    shift
    "$@" >"$log" 2>&1 || { echo "bench: $1 failed:" >&2; cat "$log" >&2; exit 1; }
}

# One column of a jobs.csv, or the difference of two, without the header.
column() { awk -F, -v a="$1" -v b="${2:-0}" 'NR > 1 { print b ? $a - $b : $a }'; }

round=0
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    echo "round $round of $rounds" >&2
    for work in paced fixed; do
        logged "rtload-$work" "$rtload" run --task 30ms/150ms --duration "${seconds}s" \
            --cpu "$cpu" --work $work --out "$out/jobs.csv"
        column 9 <"$out/jobs.csv" >>"$out/cpu-$work"
        column 7 6 <"$out/jobs.csv" >>"$out/wall-$work"
    done
    logged rt-app rt-app "$out/rt-app.json"
    awk '!/^#/ { print $3 * 1000 }' "$out"/rt-app-tau1-*.log >>"$out/wall-rt-app"
    rm -f "$out"/rt-app-tau1-*.log

    # Nobody is always first: the machine may drift within a round.
    order="rtload cyclictest"
    [ $((round % 2)) = 0 ] && order="cyclictest rtload"
    for who in $order; do latency_of_$who; done
done

execution_table && latency_table
verdicts
