
# Runs suite $index on this host. Results lie on the host's own disk while it measures, so that no
# network file system disturbs it, and are copied into the fleet's folder afterwards.
set -u
host=${SLURMD_NODENAME:-$(hostname)}
index=${SLURM_ARRAY_TASK_ID:-${2:-}}
suite=$fleet/suites/$index.toml
# With the host's name: several hosts of a cluster can be one machine.
out=$scratch/$host/$index
base=${scratch%/*}
base=${base:-/}
into=$fleet/results/$host/$index
export RTVM_HOST_NAME="$host"

note() {
    printf '%s %s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "${SLURM_ARRAY_JOB_ID:-0}" "$*" \
        >> "$fleet/state/$host-$index"
}

# Makes the folder in which every fleet has its own. Who can write there, or made it first, could lay
# links out that root follows.
base_is_ours() {
    mkdir -p -m 700 "$base"
    if [ ! -d "$base" ] || [ -L "$base" ] || [ ! -O "$base" ]; then
        echo "job.sh: $base on host $host is not a folder of user $(id -un): remove it, or choose another folder with --scratch" >&2
        return 1
    fi
    if [ -n "$(find "$base" -maxdepth 0 -perm -0002)" ]; then
        echo "job.sh: $base on host $host can be written by all users: choose a folder of user $(id -un) with --scratch" >&2
        return 1
    fi
}

# How the last job on this host ended; nothing where one has begun since.
last_end() {
    awk '$3 == "started" || $3 == "ended" { last = $4 } END { print last }' \
        "$fleet/state/$host-$index" 2> /dev/null
}

# Copies what was measured; a folder appears whole or not at all.
deliver() {
    mkdir -p "$into" || return 1
    for own in "$out"/*/; do
        [ -d "$own" ] || continue
        name=$(basename "$own")
        rm -rf "$into/.$name"
        cp -a "$own" "$into/.$name" && rm -rf "${into:?}/$name" && mv "$into/.$name" "$into/$name" ||
            return 1
    done
}

# The folder that an earlier job began on this host.
begun() {
    found=
    for own in "$out"/*/; do
        [ -f "$own/suite.toml" ] && found=${own%/}
    done
    printf '%s' "$found"
}

# Waits until the run has ended, also when a signal interrupts the wait.
run_suite() {
    ended=130
    # The signal came while the host was restored.
    [ -z "$stopped" ] || return
    earlier=$(begun)
    if [ -n "$earlier" ]; then
        "$orchestrator" run "$suite" --resume "$earlier" --after-reboot < /dev/null &
    else
        "$orchestrator" run "$suite" --out "$out" < /dev/null &
    fi
    run=$!
    # The signal came before there was a run to end.
    [ -z "$stopped" ] || kill -TERM "$run" 2> /dev/null
    while kill -0 "$run" 2> /dev/null; do
        wait "$run"
        ended=$?
    done
}

# What is over and came back need not stay on the host; what was killed is gone on with.
clear_if_done() {
    case $1 in 0 | 4) rm -rf "${out:?}" ;; esac
}

if [ "${1:-}" = deliver ]; then
    base_is_ours || exit 3
    deliver || exit 1
    clear_if_done "$(last_end)"
    exit 0
fi
if [ ! -r "$suite" ]; then
    echo "job.sh: $suite: cannot be read on host $host: the fleet's folder must be on a file system that every host sees" >&2
    exit 3
fi
# A cluster that requeues jobs by their exit code (RequeueExit) would ask the same host again.
if tail -n 2 "$fleet/state/$host-$index" 2> /dev/null | grep -q " ${SLURM_ARRAY_JOB_ID:-0} ended 3\$"; then
    exit 0
fi
run=
stopped=
exec >> "$fleet/log/$host-$index.log" 2>&1
if ! base_is_ours || ! mkdir -p "$out"; then
    note "ended 3"
    exit 3
fi
trap 'stopped=1; [ -z "$run" ] || kill -TERM "$run" 2> /dev/null' TERM INT HUP
note started
# What a job that was killed here left changed.
"$orchestrator" restore
run_suite
# Killed, and nobody asked this job to end: go on where it was.
again=0
while [ "$ended" -eq 137 ] && [ -z "$stopped" ] && [ "$again" -lt 2 ]; do
    again=$((again + 1))
    echo "job.sh: the run was killed; resumed ($again of 2)" >&2
    "$orchestrator" restore
    run_suite
done
"$orchestrator" restore
note "ended $ended"
if deliver; then
    note delivered
    clear_if_done "$ended"
fi
exit "$ended"
