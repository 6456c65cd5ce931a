#!/bin/sh
# Prolog of slurmd: before a job, undo what a killed one left changed on this host. Where that is not
# possible the node is drained and the job goes back into the queue (that is what Slurm does with a
# Prolog that fails).
exec orchestrator restore
