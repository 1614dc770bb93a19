#!/bin/bash
# Cotune on a Slurm allocation: starts Ray on its nodes, runs the search on it, stops Ray.
#     sbatch examples/slurm.sh fashion-mnist --timeout 30m
# What follows the script's name goes to `cotune run`. A job that is preempted and requeued resumes.
#SBATCH --job-name=cotune
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=01:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@60

set -euo pipefail

run="runs/slurm-${SLURM_JOB_ID}"
port=$((20000 + SLURM_JOB_ID % 20000))
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address="$head:$port"

# Open Ray ports execute whatever is sent to them. With a token, they ask for it.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python3 -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN
export RAY_USAGE_STATS_ENABLED=0

srun --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --node-ip-address="$head" --port="$port" --include-dashboard=false \
    --num-cpus="$SLURM_CPUS_PER_TASK" --block &
sleep 10
if [ "$SLURM_NNODES" -gt 1 ]; then
    srun --nodes=$((SLURM_NNODES - 1)) --ntasks=$((SLURM_NNODES - 1)) --exclude="$head" \
        ray start --address="$address" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
fi

# TERM comes a minute before the job ends: the trials in training are saved.
if [ -f "$run/config.yaml" ]; then
    cotune resume "$run" --address "$address" &
else
    cotune run "$@" --executor ray --address "$address" --out "$run" &
fi
driver=$!
trap 'kill -TERM "$driver"' TERM
status=0
wait "$driver" || status=$?
if kill -0 "$driver" 2>/dev/null; then # the wait was interrupted; the run is being saved
    status=0
    wait "$driver" || status=$?
fi
exit "$status"
