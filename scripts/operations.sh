#!/bin/sh
# Counts the operations of a program's run, as `rtplan predict --operations` takes them; what it
# prints is explained in docs/predict.md. Needs valgrind. The program's output goes nowhere.
#
#   scripts/operations.sh PROGRAM [ARGUMENT …]
set -eu
command -v valgrind >/dev/null || { echo "operations.sh: valgrind is not installed" >&2; exit 3; }
[ $# -gt 0 ] || { echo "operations.sh: no program is named: operations.sh PROGRAM …" >&2; exit 2; }
counts=$(mktemp)
trap 'rm -f "$counts"' EXIT

# Minor page faults of the children that this shell has waited for.
children_faults() {
    read -r stat <"/proc/$$/stat"
    # shellcheck disable=SC2086 # the fields
    set -- $stat
    faults=${11}
}

"$@" >/dev/null # its files are in memory from now on
children_faults
before=$faults
"$@" >/dev/null
children_faults
valgrind --tool=lackey --basic-counts=yes --detailed-counts=yes --log-file="$counts" "$@" >/dev/null
awk -v faults=$((faults - before)) '
    { gsub(",", "") }
    $2 == "total:" { branches = $3 }
    $2 == "guest" && $3 == "instrs:" { instructions = $4 }
    $2 ~ /^[IFD](8|16|32|64|128)$/ { loads += $3; stores += $4 }
    $2 ~ /^V(128|256)$/ { vectors += $5 * substr($2, 2) / 128; around += $3 + $4 + $5 }
    END {
        # A comparison goes with each branch. The rest are steps of integer arithmetic: an operation
        # of integer_throughput is nine instructions.
        rest = instructions - loads - stores - 2 * branches - around
        printf "process_start=1,page_fault=%.0f,load_throughput=%.0f", faults, loads
        printf ",store_throughput=%.0f,branch_throughput=%.0f", stores, branches
        if (vectors >= 1) printf ",vector=%.0f", vectors
        if (rest >= 9) printf ",integer_throughput=%.0f", rest / 9
        printf "\n"
    }' "$counts"
