#!/bin/sh
# The main job: sets up, builds, runs a suite, renders its report, prints the scorecard and where
# everything is. An ordinary user is asked once for sudo, with which only the host is changed.
#
#   scripts/suite.sh SUITE         on this host
#   scripts/suite.sh SUITE lab     in a lab host, where KVM works; needs no root
set -eu
suite=${1:-experiments/quick.toml}
bin=target/release
out=${OUT:-results}
reason="Running the experiments"
[ "${2:-}" != lab ] || reason=
. scripts/root.sh

scripts/setup.sh
# shellcheck disable=SC2086
{
    $as_user cargo build --release --workspace --quiet
    $as_user scripts/static.sh cgi-rotate
    $as_user mkdir -p "$out"
    $as_root "$bin/orchestrator" fetch-kernel
}

status=0
if [ "${2:-}" = lab ]; then
    # The working folder there has the suite; the printed path is below /out, whose contents come
    # back into $out.
    folder=$("$bin/orchestrator" lab --out "$out" --with "$suite" -- \
        sh -c 'exec orchestrator run "$1" --out "$OUT"' sh "$suite") || status=$?
    [ -z "$folder" ] || folder=$out/${folder#/out/}
else
    folder=$($as_root "$bin/orchestrator" run "$suite" --out "$out") || status=$?
fi
# What root measured belongs to whoever asked for it; what root renders of it, too.
give_back() {
    if [ -d "$folder" ] && [ "$owner" != 0:0 ]; then $as_root chown -R "$owner" "$folder"; fi
}
trap give_back EXIT
give_back
[ -n "$folder" ] && [ -f "$folder/manifest.json" ] || exit "$status"

# The same suite simulated under the conditions just measured, on the same page, and often enough
# that what differs is not the simulation's own chance. Without periodic
# tasks there is nothing to simulate; that is no failure of the measurement.
simulated=$("$bin/rtplan" simulate --suite "$suite" --calibrate "$folder" --repetitions 20 \
    --out "$folder/simulated") ||
    simulated=
if [ -z "$simulated" ] || ! "$bin/reports" render "$folder" --simulated "$simulated"; then
    echo "suite: nothing simulated; the report shows measurement and analysis alone" >&2
    "$bin/reports" render "$folder"
fi
"$bin/reports" table "$folder"
if [ -d "$folder/table1-host" ] || [ -d "$folder/table1-guest" ]; then
    echo
    "$bin/reports" table "$folder" --like table1 --paper
fi
[ ! -f "$folder/report/sweep.csv" ] || "$bin/reports" sweep "$folder"
claims=0
"$bin/reports" claims "$folder" || claims=$?
echo "Results: $folder"
echo "Report:  $folder/report/index.html"
[ "$status" = 0 ] || exit "$status"
exit "$claims"
