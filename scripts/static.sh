#!/bin/sh
# Builds programs once more without shared libraries, as target/release/NAME-static. cgi-rotate:
# under emulation the start of a program is most of a small request, and loading libraries most of
# that. guest-agent and rtload: they enter distributions that have other libraries, or none.
#
#   scripts/static.sh [PROGRAM …]      all three where none is named
set -eu
cd "$(dirname "$0")/.."
into=${CARGO_TARGET_DIR:-target}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
[ $# -gt 0 ] || set -- cgi-rotate guest-agent rtload
for program; do
    if cargo rustc --release --quiet -p $program --bin $program --target-dir "$into/static" -- \
        -C target-feature=+crt-static -C relocation-model=static 2>"$log"; then
        cp -u "$into/static/release/$program" "$into/release/$program-static"
    else
        echo "static.sh: no static C library here; there is no $program for any distribution:" >&2
        tail -3 "$log" >&2
        break
    fi
done
