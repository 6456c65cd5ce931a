#!/bin/sh
# Epilog of slurmd: after a job, whatever ended it, the host is as it was. Slurm has killed the job's
# processes by now. Where something cannot be undone the node is drained.
exec orchestrator restore
