#!/usr/bin/env bash
# webload against wrk and oha (and reqwest, on which it could have been built), in turn and in one
# run, on the same local server (examples/bench_server.rs): the rate of a closed loop, response times
# from a server with a known delay, the floor (what a client adds to an answer that takes next to
# nothing), and the open loop's rate up to where the client is full. Prints medians over the rounds;
# exit code 4 where a goal is missed.
#
#   webload/bench.sh [ROUNDS]
#
# `scripts/setup.sh bench` installs wrk and oha; OHA may name one that is not in PATH. What is
# missing is said and left out.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${1:-5}
seconds=2
connections=10
rates="10000 20000 40000 60000 80000 120000"
port=${PORT:-18473}
server_cpu=0
client_cpu=$(($(nproc) > 1 ? 1 : 0))
oha=${OHA:-$(PATH=$PATH:target/tools/bin command -v oha || true)}
wrk=$(command -v wrk || true)
target=${CARGO_TARGET_DIR:-target}/release
url=http://127.0.0.1:$port/1k

scratch=$(mktemp -d)
server=
stop_server() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        server=
    fi
}
trap 'stop_server; rm -rf "$scratch"' EXIT

cargo build --release --quiet --workspace --bins --examples

start_server() {
    taskset -c $server_cpu "$target/examples/bench_server" "127.0.0.1:$port" "$1" &
    server=$!
}

await_server() {
    for _ in $(seq 100); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return; fi
        sleep 0.05
    done
    echo "the server does not answer on port $port" >&2
    exit 1
}

# The first number behind a JSON key on standard input; nothing where there is none (no client was
# ever free: `late_start_ns` is null).
number() { { grep -o "\"$1\": *[0-9.eE+-]*" || true; } | head -1 | sed 's/.*: *//'; }

median() { sort -g | awk '{v[NR]=$1} END {if (NR) print v[int((NR+1)/2)]; else print "-"}'; }

# Runs a client on its core; its standard output to $scratch/out, its CPU seconds to $scratch/cpu.
client() {
    local TIMEFORMAT='%U %S'
    { time taskset -c $client_cpu "$@" >"$scratch/out" 2>/dev/null; } 2>"$scratch/time"
    awk '{print $1 + $2}' "$scratch/time" >"$scratch/cpu"
}

# One line a run in $scratch/NAME.rate: requests/s, and requests per CPU second of the client.
note() {
    printf '%.0f\n' "$2" >>"$scratch/$1.rate"
    awk -v total="$3" '{if ($1 > 0) printf "%.0f\n", total / $1}' "$scratch/cpu" >>"$scratch/$1.percpu"
}

closed_loop() {
    local each=$((seconds * 7000)) total
    if [ -n "$wrk" ]; then
        client "$wrk" -t1 -c$connections -d${seconds}s "$url"
        total=$(awk '/requests in/ {print $1}' "$scratch/out")
        note wrk "$(awk '/Requests\/sec/ {print $2}' "$scratch/out")" "$total"
    fi
    if [ -n "$oha" ]; then
        client "$oha" --no-tui --output-format json -c $connections -n $((each * connections)) "$url"
        note oha "$(number requestsPerSec <"$scratch/out")" $((each * connections))
    fi
    client "$target/webload" --url "$url" --clients $connections --requests $each --keep-alive \
        --summary json
    note webload "$(number good_per_s <"$scratch/out")" $((each * connections))
    client "$target/examples/reqwest_loop" "$url" $connections $each
    note reqwest "$(cat "$scratch/out")" $((each * connections))
}

# A duration as wrk prints it (`5.06ms`, `980.00us`), in milliseconds.
wrk_ms() { awk '/50%/ {v=$2; if (v ~ /us$/) v/=1000; else if (v ~ /ms$/) v+=0; else v*=1000; print v}'; }

delayed() {
    if [ -n "$wrk" ]; then
        client "$wrk" -t1 -c$connections -d${seconds}s --latency "$url"
        wrk_ms <"$scratch/out" >>"$scratch/wrk.ms"
    fi
    if [ -n "$oha" ]; then
        client "$oha" --no-tui --output-format json -c $connections -z ${seconds}s "$url"
        # Its first p50 is in milliseconds, the second one in seconds.
        number p50 <"$scratch/out" >>"$scratch/oha.ms"
    fi
    client "$target/webload" --url "$url" --clients $connections --requests $((seconds * 190)) \
        --keep-alive --summary json
    sed 's/.*"response_ns"://' "$scratch/out" | number p50 | awk '{print $1 / 1e6}' \
        >>"$scratch/webload.ms"
}

# A percentile p50 of one of webload's summaries, in milliseconds.
p50_of() { sed "s/.*\"$1\"://" "$scratch/out" | number p50 | awk '{print $1 / 1e6}'; }

# One connection: what the client adds to an answer that takes next to nothing.
floor() {
    if [ -n "$wrk" ]; then
        client "$wrk" -t1 -c1 -d${seconds}s --latency "$url"
        wrk_ms <"$scratch/out" >>"$scratch/floor-wrk"
    fi
    if [ -n "$oha" ]; then
        client "$oha" --no-tui --output-format json -c 1 -z ${seconds}s "$url"
        number p50 <"$scratch/out" >>"$scratch/floor-oha"
    fi
    client "$target/webload" --url "$url" --clients 1 --requests $((seconds * 8000)) --keep-alive \
        --summary json
    p50_of response_ns >>"$scratch/floor-webload"
}

# An open loop at one rate, with 50 connections: requests/s, median response time, and what webload
# says of itself.
open_loop() { # RATE
    if [ -n "$oha" ]; then
        client "$oha" --no-tui --output-format json -c 50 -q "$1" --latency-correction \
            -z ${seconds}s "$url"
        number requestsPerSec <"$scratch/out" >>"$scratch/open-oha-$1.rate"
        number p50 <"$scratch/out" >>"$scratch/open-oha-$1.ms"
    fi
    client "$target/webload" --url "$url" --clients 50 --requests $((seconds * $1 / 50)) \
        --rate "$1/s" --keep-alive --summary json
    number good_per_s <"$scratch/out" >>"$scratch/open-webload-$1.rate"
    p50_of response_ns >>"$scratch/open-webload-$1.ms"
    p50_of late_start_ns >>"$scratch/open-webload-$1.late"
    number own_cpu_share <"$scratch/out" >>"$scratch/open-webload-$1.share"
    if grep -q '"warnings":\[\]' "$scratch/out"; then echo 0; else echo 1; fi \
        >>"$scratch/open-webload-$1.warns"
}

of() { if [ -s "$scratch/$1" ]; then median <"$scratch/$1"; else echo -; fi; }

# A number to some decimals; a dash stays one.
round() { awk -v digits="$1" '{ if ($1 == "-") print; else printf "%.*f\n", digits, $1 }'; }

# The median over the rounds of file A by file B: the machine drifts, but less within a round.
ratio() { paste "$scratch/$1" "$scratch/$2" | awk '{printf "%.4f\n", $1 / $2}' | median; }

missed=0
verdict() { # TEXT CONDITION(awk)
    if awk "BEGIN {exit !($2)}"; then echo "  holds: $1"; else echo "  MISSED: $1"; missed=1; fi
}

[ -n "$wrk" ] || echo "wrk: not installed, left out"
[ -n "$oha" ] || echo "oha: not installed, left out (scripts/setup.sh bench)"

start_server 0
await_server
for _ in $(seq "$rounds"); do
    closed_loop
    floor
    for rate in $rates; do open_loop "$rate"; done
done
stop_server
echo "GET of 1 kB from a server on CPU $server_cpu, $connections kept connections, client on CPU" \
    "$client_cpu, median of $rounds rounds in turn"
printf '  %-8s %14s %26s\n' "" requests/s "per CPU second of client"
for who in wrk oha webload reqwest; do
    printf '  %-8s %14s %26s\n' $who "$(of $who.rate)" "$(of $who.percpu)"
done
if [ -n "$wrk" ]; then
    percpu=$(ratio webload.percpu wrk.percpu)
    verdict "at least wrk's requests per CPU second ($percpu times)" "$percpu >= 1"
fi
if [ -n "$oha" ]; then
    rate=$(ratio webload.rate oha.rate)
    verdict "at least oha's requests per second ($rate times)" "$rate >= 1"
    percpu=$(ratio webload.percpu oha.percpu)
    verdict "at least oha's requests per CPU second ($percpu times)" "$percpu >= 1"
fi

echo "the floor: median response time on one kept connection, in ms"
for who in wrk oha webload; do printf '  %-8s %14s\n' $who "$(of floor-$who)"; done

echo "open loop, 50 kept connections: requests/s and median response time (ms) from the due instant"
printf '  %-8s %12s %9s  %12s %9s %11s %8s %s\n' asked oha ms webload ms "late start" "own CPU" ""
saturates=
for rate in $rates; do
    own=open-webload-$rate warns=
    [ "$(of "$own.warns")" = 0 ] || warns="says it is the bottleneck"
    # It saturates where it falls 2 % short of what was asked.
    if [ -z "$saturates" ] && awk "BEGIN {exit !($(of "$own.rate") < 0.98 * $rate)}"; then
        saturates=$rate
    fi
    printf '  %-8s %12s %9s  %12s %9s %11s %8s %s\n' "$rate" \
        "$(of "open-oha-$rate.rate" | round 0)" "$(of "open-oha-$rate.ms" | round 3)" \
        "$(of "$own.rate" | round 0)" "$(of "$own.ms" | round 3)" "$(of "$own.late" | round 3)" \
        "$(of "$own.share" | round 2)" "$warns"
done
echo "webload saturates at: ${saturates:-no rate tried} requests/s"

start_server 5ms
await_server
for _ in $(seq "$rounds"); do delayed; done
stop_server
echo "median response time from a server with a fixed delay of 5 ms, in ms (median of rounds)"
for who in wrk oha webload; do printf '  %-8s %14s\n' $who "$(of $who.ms)"; done
if [ -n "$wrk" ]; then
    delay=$(ratio webload.ms wrk.ms)
    verdict "within 1 % of wrk's ($delay times)" "$delay >= 0.99 && $delay <= 1.01"
fi
exit $((missed * 4))
