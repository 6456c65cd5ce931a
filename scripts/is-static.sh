#!/bin/sh
# Fails, and names them, where one of these programs needs a loader or a shared library.
status=0
for program; do
    if readelf --program-headers --dynamic "$program" 2>/dev/null | grep -Eq 'INTERP|NEEDED' ||
        ! readelf --file-header "$program" >/dev/null 2>&1; then
        echo "is-static.sh: $program needs a loader or shared libraries" >&2
        status=1
    fi
done
exit $status
