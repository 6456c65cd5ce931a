#!/usr/bin/env bash
# rtplan's simulator against SimSo, in turn and in one run, rate monotonic on one CPU; then the
# paper's figure 4 (which SimSo has no servers for), and a grid of 10,000 least budgets. Prints
# medians over the rounds; exit code 4 where a goal is missed.
#
#   rtplan/bench.sh [ROUNDS]
#
# SimSo comes from the Python package index into a virtual environment of its own under the target
# folder. Where that cannot be had, it is said and left out.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${1:-5}
target=${CARGO_TARGET_DIR:-target}
rtplan=$target/release/rtplan
venv=$target/bench/simso
tasks=(30/150 50/200 20/80)
jobs_goal=5000000
grid_goal=10

[ -x "$rtplan" ] || cargo build --release --quiet --workspace
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

simso=
if [ -x "$venv/bin/python" ] || python3 -m venv "$venv" >"$scratch/venv" 2>&1; then
    if "$venv/bin/python" -c 'import simso' 2>/dev/null ||
        "$venv/bin/pip" install --quiet simso >"$scratch/pip" 2>&1; then
        simso=$venv/bin/python
    fi
fi
[ -n "$simso" ] || echo "SimSo cannot be installed here (python3-venv, package index): left out" >&2

median() { sort -g | awk '{v[NR]=$1} END {if (NR) print v[int((NR+1)/2)]; else print "-"}'; }
now() { date +%s%N; }

# Jobs a second of `rtplan simulate ARGUMENTS`, its start and its output included.
ours() { # NAME ARGUMENTS
    local name=$1 start end
    shift
    start=$(now)
    "$rtplan" simulate "$@" --summary json >"$scratch/out"
    end=$(now)
    grep -o '"jobs":[0-9]*' "$scratch/out" | cut -d: -f2 |
        awk -v ns=$((end - start)) '{jobs += $1} END {printf "%.0f\n", jobs / ns * 1e9}' \
            >>"$scratch/$name"
}

set_of=()
for task in "${tasks[@]}"; do set_of+=(--task "${task%/*}ms/${task#*/}ms"); done
figure4=(--task 30ms/150ms --task 50ms/200ms --reservation 28ms/50ms --load 50ms/120ms --load 20ms/80ms)

for round in $(seq "$rounds"); do
    echo "round $round of $rounds" >&2
    if [ -n "$simso" ]; then
        "$simso" rtplan/bench-simso.py 100 "${tasks[@]}" |
            awk '{printf "%.0f\n", $1 / $2}' >>"$scratch/simso"
    fi
    ours set "${set_of[@]}" --server fifo --duration 300000s
    ours figure4 "${figure4[@]}" --duration 200000s
    ours figure4-tick "${figure4[@]}" --duration 200000s --tick 4ms
    start=$(now)
    "$rtplan" budget --task 30ms/150ms --task 50ms/200ms --grid --cells 10000 --supply two-gap \
        --summary json >"$scratch/out"
    echo $((($(now) - start) / 1000)) >>"$scratch/grid"
done

row() { printf '%-52s %14s\n' "$1" "$2"; }
row "jobs simulated a second, medians of $rounds" ""
theirs=-
if [ -n "$simso" ]; then
    theirs=$(median <"$scratch/simso")
    row "  SimSo, rate monotonic, 3 tasks" "$theirs"
fi
set_rate=$(median <"$scratch/set")
rate=$(median <"$scratch/figure4")
row "  rtplan, the same" "$set_rate"
if [ -n "$simso" ]; then
    row "    ratio" "$(awk -v a="$set_rate" -v b="$theirs" 'BEGIN {printf "%.0f", a / b}')"
fi
row "  rtplan, figure 4 of the paper, loaded" "$rate"
row "  rtplan, the same, budgets enforced at a 4 ms tick" "$(median <"$scratch/figure4-tick")"
grid=$(median <"$scratch/grid")
row "seconds for 10,000 least budgets" "$(awk -v us="$grid" 'BEGIN {printf "%.3f", us / 1e6}')"

missed=0
goal() { # WORDS CONDITION
    if awk "BEGIN {exit !($2)}"; then echo "holds: $1"; else echo "MISSED: $1"; missed=4; fi
}
goal "at least 5 million jobs a second for figure 4" "$rate >= $jobs_goal"
goal "10,000 least budgets in under 10 s" "$grid / 1e6 < $grid_goal"
if [ -n "$simso" ]; then goal "faster than SimSo" "$set_rate > $theirs"; fi
exit $missed
