#!/bin/sh
# Epilog of slurmd: after a job, whatever ended it, the host is as it was. Slurm has killed the job's
# processes by now. Where something cannot be undone the node is drained.
# Slurm gives it no search path. Of the tarball, add its folder: /opt/rt-vm-bench/bin:/usr/sbin:...
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
exec orchestrator restore
