#!/usr/bin/env bash
#SBATCH --job-name=joulemark
#SBATCH --nodes=3
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=08:00:00
#
# A plan on all nodes of a Slurm job: `sbatch slurm-ray.sh PLAN.toml RUN`, and the same line again goes on with it.
# --exclusive, since meters of a machine see all that runs on it. Put what makes Joulemark available (module load, a
# virtual environment that all nodes see) below, where HERE stands. RUN has to lie where this job's first node can write.
set -euo pipefail

plan=${1:?the plan file, such as joulemark.toml}
run=${2:?the run directory}
port=${RAY_PORT:-6379}

# HERE: source /shared/venv/bin/activate

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')

# Ray's processes live as long as the step that started them; all end with this script.
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" \
  ray start --head --node-ip-address="$address" --port="$port" --disable-usage-stats --include-dashboard=false --block &
for node in "${nodes[@]:1}"; do
  srun --overlap --nodes=1 --ntasks=1 --nodelist="$node" \
    ray start --address="$address:$port" --disable-usage-stats --block &
done

# Until all nodes have joined; 3 minutes at most.
for _ in $(seq 36); do
  joined=$(ray status --address="$address:$port" 2>/dev/null | grep -c '^ [0-9]* node_' || true)
  if [ "$joined" -ge "${#nodes[@]}" ]; then break; fi
  sleep 5
done
if [ "$joined" -lt "${#nodes[@]}" ]; then
  echo "Only $joined of ${#nodes[@]} nodes joined; look at the job's output for what Ray says." >&2
  exit 1
fi

# The run remembers no address, so that it may go on in another job.
export RAY_ADDRESS="$address:$port"
if [ -e "$run/run.json" ]; then
  joulemark run --resume "$run"
else
  joulemark run "$plan" --executor ray --out "$run"
fi
