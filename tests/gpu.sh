#!/usr/bin/env bash
# Every test of the CUDA side, on a machine with a GPU: kernels, layers, plans and whole networks, then
# the same under compute-sanitizer. Works with a build tree carried here (BUILD/tests/test_kernels,
# test_layers and test_engine; to carry it, configure with -DDFENGINE_PORTABLE=ON) or builds one.
# Usage: tests/gpu.sh [BUILD]    default build/cuda
#   SANITIZE=0  leaves compute-sanitizer out
# Prints passed, failed and skipped; exits 1 when anything failed, 77 where there is no GPU.
set -uo pipefail
cd "$(dirname "$0")/.."

build=${1:-build/cuda}
if ! nvidia-smi -L >/dev/null 2>&1; then
  echo "gpu: no NVIDIA GPU or driver here (nvidia-smi -L fails)"
  exit 77
fi
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
for program in test_kernels test_layers test_engine; do
  if [ -x "$build/tests/$program" ]; then continue; fi
  tests/build.sh cuda test_kernels test_layers test_engine || exit 1
  break
done

filter='*Device*:CheckFinite*:CudaContext*'
passed=0 failed=0 skipped=0
results=$(mktemp -d)
trap 'rm -r "$results"' EXIT

# run NAME COMMAND...: counts GoogleTest's own verdicts, and any other failure as one.
run() {
  local name=$1 log=$results/log
  shift
  echo "== $name"
  if "$@" >"$log" 2>&1; then status=0; else status=$?; fi
  local ok bad left
  ok=$(grep -c '^\[       OK' "$log")
  bad=$(grep -c '^\[  FAILED  \].* ms)$' "$log")
  left=$(grep -c '^\[  SKIPPED \].* ms)$' "$log")
  if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
  if [ "$bad" -gt 0 ]; then tail -n 60 "$log"; fi
  echo "   $ok passed, $bad failed, $left skipped"
  passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + left))
}

run kernels "$build/tests/test_kernels" --gtest_filter="$filter"
run layers "$build/tests/test_layers" --gtest_filter="$filter"
run networks "$build/tests/test_engine" --gtest_filter="$filter"

if [ "${SANITIZE:-1}" = 1 ]; then
  sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
  if [ -x "$sanitizer" ]; then
    for tool in memcheck racecheck initcheck; do
      run "$tool over kernels" "$sanitizer" --tool "$tool" --error-exitcode 9 \
        "$build/tests/test_kernels" --gtest_filter="$filter"
      run "$tool over a training run" "$sanitizer" --tool "$tool" --error-exitcode 9 \
        "$build/tests/test_engine" --gtest_filter="$filter"
    done
  else
    echo "gpu: compute-sanitizer is not here: LEFT OUT"
    skipped=$((skipped + 1))
  fi
fi

echo "gpu: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
