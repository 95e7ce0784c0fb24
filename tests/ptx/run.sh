#!/usr/bin/env bash
# Runs every device test on the CPU from the PTX that nvcc made of the kernels: forward with copies that
# land at once and all cases of the kernels' and layers' tests; and in random order with late copies and
# late streams, where tests are as short as on the stand-in. Then the planted faults.
# Usage: tests/run.sh ptx [PRESET [-DNAME=VALUE...]]    PRESET: one for the CPU, whose build is shared
# Exits 77 where there is no nvcc.
set -euo pipefail
cd "$(dirname "$0")/../.."

preset=${1:-cpu}
shift || true
if ! command -v nvcc >/dev/null && [ ! -x /usr/local/cuda/bin/nvcc ]; then
  echo "ptx LEFT OUT: no nvcc on PATH or in /usr/local/cuda/bin"
  exit 77
fi
tests/build.sh "$preset" -DDFENGINE_PTX=ON "$@" ptx_kernels ptx_layers ptx_engine

results=build/$preset/ptx
rm -rf "$results"
mkdir -p "$results"
# FullGridIsExact fills a GPU, which takes minutes here. These are the stand-in's tests by name, and the
# one of CudaContext says that its build has no CUDA.
filter='*Device*:CheckFinite*:*NormOnLoad*-*FullGridIsExact:CudaContext*'
shards=$(nproc)

# One shard of a program's tests: "PROGRAM PASS SHARD". The pass says how warps, copies and streams run.
run_shard() {
  local program=$1 pass=$2 shard=$3 log status=0
  log=$results/$program.$pass.$shard
  case $pass in
    forward) export PTX_ORDER=forward PTX_COPIES=early PTX_STREAMS=early PTX_DEVICE=gpu ;;
    random) export PTX_ORDER=random PTX_COPIES=late PTX_STREAMS=late PTX_DEVICE=stand-in ;;
  esac
  # On a GPU plans are timed: networks would run each kernel dozens of times before the first step.
  if [ "$program" = engine ]; then export PTX_DEVICE=stand-in; fi
  GTEST_TOTAL_SHARDS=$shards GTEST_SHARD_INDEX=$shard PTX_LAUNCHES=$log.launches PTX_PARSE=all \
    "build/$preset/tests/ptx/ptx_$program" --gtest_filter="$filter" >"$log.log" 2>&1 || status=$?
  if [ "$status" -ne 0 ]; then
    echo "ptx: $program, $pass, shard $shard of $shards: exit status $status"
    grep -E -A 3 'FAULT|Failure|cannot go on|^\[  FAILED' "$log.log" | head -n 60
  fi
  return "$status"
}
export -f run_shard
export preset results filter shards

# The longest first.
status=0
for program in engine kernels layers; do
  for pass in forward random; do
    for ((shard = 0; shard < shards; ++shard)); do echo "$program $pass $shard"; done
  done
done | xargs -P "$shards" -L 1 bash -c 'run_shard "$@"' run_shard || status=1

count() { cat "$results"/*."$1".*.log | grep -c "$2" || true; }
for pass in forward random; do
  echo "ptx: $pass: $(count $pass '^\[       OK') tests passed, $(count $pass '^\[  FAILED  \].* ms)$') failed," \
    "$(count $pass '^\[  SKIPPED \].* ms)$') skipped, $(count $pass 'ptx: FAULT') faults"
done
# Fields: launches, warp instructions, threads, least and most bytes of shared memory, name.
cat "$results"/*.launches | awk '
  { launches[$6] += $1; instructions += $2 }
  END {
    for (kernel in launches) {
      all++; total += launches[kernel]
      if (launches[kernel] > 0) launched++; else print "ptx: no test launches " kernel | "sort | c++filt"
    }
    close("sort | c++filt")
    printf "ptx: %d of %d kernels launched %d times, %.1f G warp instructions\n", launched, all, total, instructions / 1e9
  }'
[ "$status" -eq 0 ] || exit 1
tests/ptx/faults.sh "build/$preset"
