#!/bin/sh
# HealthCheckProgram of slurmd: drains a node that can no longer make reservations. `check` tries
# what it tells, so that it must not run beside a job: HealthCheckNodeState=IDLE.
# Slurm gives it no search path. Of the tarball, add its folder: /opt/rt-vm-bench/bin:/usr/sbin:...
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
node=${SLURMD_NODENAME:-$(hostname -s)}
said=$(orchestrator check 2>&1)
code=$?
# 130: interrupted, which says nothing of the host. Without the program (127) no job can run here.
case $code in 0 | 130) exit 0 ;; esac
reason=$(printf '%s\n' "$said" | sed -n 's/ *  MISSING  /: /p' | paste -s -d ';' -)
[ -n "$reason" ] || reason=$(printf '%s\n' "$said" | tail -n 1)
reason=$(printf '%s' "orchestrator check: exit code $code: $reason" | cut -c 1-200)
scontrol update "nodename=$node" state=drain "reason=$reason"
