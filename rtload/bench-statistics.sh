# Sourced by bench.sh: the single measurements, and tables of nearest-rank percentiles.

# Runs a program with its output in a log, which is shown where it fails.
logged() { # LOG COMMAND...
    log=$out/$1.log
    shift
    "$@" >"$log" 2>&1 || { echo "bench: $1 failed:" >&2; cat "$log" >&2; exit 1; }
}

# One column of a jobs.csv, or the difference of two, without the header.
column() { awk -F, -v a="$1" -v b="${2:-0}" 'NR > 1 { print b ? $a - $b : $a }' "$out/jobs.csv"; }

execution_of_rtload() { # WORK
    logged "rtload-$1" "$rtload" run --task 30ms/150ms --duration "${seconds}s" --cpu "$cpu" \
        --work "$1" --out "$out/jobs.csv"
    column 9 >>"$out/cpu-$1"
    column 7 6 >>"$out/wall-$1"
}

execution_of_rt_app() {
    logged rt-app rt-app "$out/rt-app.json"
    awk '!/^#/ { print $3 * 1000 }' "$out"/rt-app-tau1-*.log >>"$out/wall-rt-app"
    rm -f "$out"/rt-app-tau1-*.log
}

latency_of_rtload() {
    logged rtload-latency "$rtload" run --task 10us/1ms --duration "${latency_seconds}s" \
        --cpu "$cpu" --priority 90 --hold-awake --out "$out/jobs.csv"
    column 6 5 >>"$out/latency-rtload"
}

latency_of_cyclictest() {
    logged cyclictest cyclictest --quiet --mlockall --nsecs --priority=90 --affinity="$cpu" \
        --threads=1 --interval=1000 --loops=$((latency_seconds * 1000)) --histogram=400000
    # Lines "bucket count"; what lies beyond the last bucket is counted as its bound.
    awk '/^[0-9]+ [0-9]+$/ { for (i = 0; i < $2 + 0; i++) print $1 + 0 }
         /Overflows:/ { for (i = 0; i < $NF + 0; i++) print 400000 }' \
        "$out/cyclictest.log" >>"$out/latency-cyclictest"
}

# percentile FILE P: the nearest rank, as model::stats has it.
percentile() {
    sort -n "$1" | awk -v p="$2" '{ v[NR] = $1 }
        END { r = p / 100 * NR - 1e-9; k = int(r); if (k < r) k++; if (k < 1) k = 1; print v[k] }'
}

row() { # NAME FILE SCALE
    awk -v name="$1" -v scale="$3" -v n="$(wc -l <"$2")" \
        -v a="$(percentile "$2" 0)" -v b="$(percentile "$2" 50)" -v c="$(percentile "$2" 90)" \
        -v d="$(percentile "$2" 99)" -v e="$(percentile "$2" 100)" 'BEGIN {
            printf "%-34s %6d %9.3f %9.3f %9.3f %9.3f %9.3f\n", \
                name, n, a / scale, b / scale, c / scale, d / scale, e / scale }'
}

heading() { printf '%-34s %6s %9s %9s %9s %9s %9s\n' "$1" jobs min p50 p90 p99 max; }

execution_table() {
    heading "execution time, ms (30 asked)"
    row "rtload, paced work: CPU time" "$out/cpu-paced" 1e6
    row "rtload, paced work: start to end" "$out/wall-paced" 1e6
    row "rtload, fixed work: CPU time" "$out/cpu-fixed" 1e6
    row "rtload, fixed work: start to end" "$out/wall-fixed" 1e6
    row "rt-app: start to end" "$out/wall-rt-app" 1e6
}

latency_table() {
    heading "wake-up latency, us (every 1 ms)"
    row "rtload" "$out/latency-rtload" 1e3
    row "cyclictest" "$out/latency-cyclictest" 1e3
}

# verdict TEXT VALUE LIMIT: holds where the value is at most the limit.
verdict() {
    awk -v text="$1" -v value="$2" -v limit="$3" 'BEGIN {
        holds = value <= limit
        printf "%-62s %9.4f <= %9.4f  %s\n", text, value, limit, holds ? "holds" : "DOES NOT HOLD"
        exit !holds }' || failed=1
}

# The error of the median against the 30 ms asked, in percent.
error_of() {
    awk -v p50="$(percentile "$1" 50)" 'BEGIN { e = (p50 / 30e6 - 1) * 100; print e < 0 ? -e : e }'
}

verdicts() {
    failed=0
    ours=$(error_of "$out/cpu-paced") ours_wall=$(error_of "$out/wall-paced")
    theirs=$(error_of "$out/wall-rt-app")
    tenth=$(awk -v e="$theirs" 'BEGIN { print e / 10 }')
    verdict "execution time: median error of the CPU time, %, at most 0.5" "$ours" 0.5
    verdict "  and a tenth of rt-app's" "$ours" "$tenth"
    verdict "  the same for the time from start to end" "$ours_wall" "$tenth"
    limit=$(awk -v p50="$(percentile "$out/latency-cyclictest" 50)" 'BEGIN { print p50 * 1.1 / 1e3 }')
    median=$(awk -v p50="$(percentile "$out/latency-rtload" 50)" 'BEGIN { print p50 / 1e3 }')
    verdict "wake-up latency: median, us, at most 1.1 times cyclictest's" "$median" "$limit"
    [ "$failed" = 0 ] || exit 4
}
