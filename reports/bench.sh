#!/bin/sh
# `reports render` of ten million jobs: two tasks, two repetitions. Seconds and peak memory; at most
# 5 s and 512 MiB are promised.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/suite.toml" <<'SUITE'
name = "millions"
[[experiment]]
name = "millions"
where = "host"
tasks = ["100us/1ms", "200us/1ms"]
duration = "2500s"
repetitions = 2
SUITE
result=$(rtplan simulate --suite "$folder/suite.toml" --out "$folder" | tail -n 1)
[ -d "$result" ] || result=$(find "$folder" -name manifest.json -exec dirname {} \;)
rows=$(cat "$result"/millions/rep-*/jobs.csv | wc -l)
echo "$((rows - 2)) jobs, $(du -sh "$result" | cut -f1)"
start=$(date +%s%N)
reports render "$result" >"$folder/said" &
render=$!
peak=0
while kill -0 "$render" 2>/dev/null; do
    now=$(awk '/VmHWM/ { print $2 }' "/proc/$render/status" 2>/dev/null || true)
    [ "${now:-0}" -gt "$peak" ] && peak=$now
    sleep 0.02
done
wait "$render"
end=$(date +%s%N)
awk -v ns="$((end - start))" -v kib="$peak" 'BEGIN {
    printf "reports render: %.1f s (at most 5), %.0f MiB (at most 512)\n", ns / 1e9, kib / 1024
    exit !(ns <= 5e9 && kib <= 512 * 1024) }'
