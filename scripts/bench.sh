#!/bin/sh
# Ours against its peers, in turn and in one run each, on this machine. Medians and ratios.
# The parts can be run alone: scripts/bench.sh rtload webload cgi-rotate rtplan reports
set -eu
cd "$(dirname "$0")/.."
export PATH="$PWD/target/release:$PWD/target/tools/bin:$PATH"
for part in ${*:-rtload cgi-rotate webload rtplan reports}; do
    echo "== $part"
    "$part/bench.sh"
done
