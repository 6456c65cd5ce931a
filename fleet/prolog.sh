#!/bin/sh
# Prolog of slurmd: before a job, undo what a killed one left changed on this host. Where that is not
# possible the node is drained and the job goes back into the queue (that is what Slurm does with a
# Prolog that fails).
# Slurm gives it no search path. Of the tarball, add its folder: /opt/rt-vm-bench/bin:/usr/sbin:...
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
exec orchestrator restore
