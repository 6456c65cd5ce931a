#!/bin/sh
# Builds cgi-rotate once more without shared libraries, as target/release/cgi-rotate-static: under
# emulation the start of a program is most of a small request, and loading libraries most of that.
set -eu
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if cargo rustc --release --quiet -p cgi-rotate --bin cgi-rotate --target-dir target/static -- \
    -C target-feature=+crt-static -C relocation-model=static 2>"$log"; then
    cp -u target/static/release/cgi-rotate target/release/cgi-rotate-static
else
    echo "static.sh: no static C library here; guests get cgi-rotate with its libraries:" >&2
    tail -3 "$log" >&2
fi
