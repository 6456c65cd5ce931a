#!/bin/sh
# rtload against its peers, in turn and in one run: execution time against rt-app, wake-up latency
# against cyclictest.
#
#   rtload/bench.sh [PATH-OF-RTLOAD]
#
# Needs root, an otherwise quiet machine with two CPUs, and the peers. Environment: ROUNDS (3) of
# SECONDS_EACH (10) for the execution time, TURNS (20) of 1 s for the latency, which differs by a
# quarter from one start of the same program to the next; CPU (the last one). Raw data stay in OUT
# (target/bench/rtload).
# Exit codes as everywhere: 0 all hold, 3 something is missing, 4 a comparison does not hold.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
rtload=${1:-$here/../target/release/rtload}
rounds=${ROUNDS:-3}
turns=${TURNS:-20}
seconds=${SECONDS_EACH:-10}
cpu=${CPU:-$(($(nproc --all) - 1))}
out=${OUT:-$here/../target/bench/rtload}
latency_seconds=1
. "$here/bench-statistics.sh"

missing=0
need() { # PROGRAM WHAT-TO-DO
    command -v "$1" >/dev/null 2>&1 || { echo "bench: $1 is missing: $2" >&2; missing=1; }
}
need "$rtload" "cargo build --release --workspace"
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
  "global": { "duration": $seconds, "calibration": "CPU$cpu", "lock_pages": true,
    "logdir": "$out", "log_basename": "rt-app" } }
JSON

echo "bench: about $((rounds * (3 * seconds + 5) + turns * 3)) s" >&2
round=0
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    echo "execution time: round $round of $rounds" >&2
    execution_of_rtload paced
    execution_of_rtload fixed
    execution_of_rt_app
done

turn=0
while [ "$turn" -lt "$turns" ]; do
    turn=$((turn + 1))
    echo "wake-up latency: turn $turn of $turns" >&2
    # Nobody is always first: the machine drifts within a turn, too.
    order="rtload cyclictest"
    [ $((turn % 2)) = 0 ] && order="cyclictest rtload"
    for who in $order; do latency_of_$who; done
done

execution_table
latency_table
verdicts
