#!/usr/bin/env bash
# What several processes cost: training steps of 2 ranks of one thread, 1 rank of two threads with
# the same slices, and 1 rank of two threads with whole batches, in rounds that alternate.
# Usage: bench/ranks.sh [DFENGINE [ROUNDS]]    prints seconds of an epoch, medians, and the ratios
set -euo pipefail
cd "$(dirname "$0")/.."
dfengine=$(realpath "${1:-build/cpu/dfengine}")
rounds=${2:-5}
size=${SIZE:-224}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
"$dfengine" synth --output "$work/set" --count "${COUNT:-320}" --size "$size" --seed 1 >/dev/null
how=(train --data "$work/set" --img-size "$size" --batch-size 32 --epochs 2 --seed 1 --no-progress)

# Seconds of the second epoch: pictures are in memory, plans are made.
epoch() {  # name, command
  local name=$1
  shift
  "$@" --output "$work/run" >/dev/null 2>"$work/errors" || { cat "$work/errors" >&2; exit 1; }
  tail -n 1 "$work/run/results.csv" | cut -d, -f10 >>"$work/$name"
  rm -rf "$work/run"
}
for ((round = 0; round < rounds; ++round)); do
  epoch ranks2 mpirun --bind-to none -n 2 "$dfengine" "${how[@]}" --threads 1
  epoch slices8 "$dfengine" "${how[@]}" --threads 2 --slices 8
  epoch whole "$dfengine" "${how[@]}" --threads 2
done
median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
for name in ranks2 slices8 whole; do echo "$name: median $(median "$work/$name") s of $(tr '\n' ' ' <"$work/$name")"; done
awk -v r="$(median "$work/ranks2")" -v s="$(median "$work/slices8")" -v w="$(median "$work/whole")" \
  'BEGIN { printf "efficiency of 2 ranks x 1 thread beside 1 x 2: %.3f with slices, %.3f beside whole batches\n", s / r, w / r }'
