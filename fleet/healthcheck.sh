#!/bin/sh
# HealthCheckProgram of slurmd: drains a node that can no longer make reservations. `check` tries
# what it tells, so that it must not run beside a job: HealthCheckNodeState=IDLE.
node=${SLURMD_NODENAME:-$(hostname -s)}
said=$(orchestrator check --summary json 2>&1)
code=$?
[ "$code" -eq 3 ] || [ "$code" -eq 1 ] || exit 0
reason=$(printf '%s' "$said" | tail -n 1 | cut -c 1-120)
scontrol update "nodename=$node" state=drain "reason=orchestrator check: exit code $code: $reason"
