#!/usr/bin/env bash
# The CUDA side on a machine with a GPU, in stages: what it starts with, every device test, a run on
# pictures, the plans, their times, PyTorch beside them. A stage that hangs or crashes costs no other;
# only when nothing starts does it stop. Works with a build carried here (configure with
# -DDFENGINE_PORTABLE=ON, then strip; dfengine, tests/test_kernels, test_layers, test_engine), or builds one.
# Usage: tests/gpu.sh [--build FOLDER] [--out FOLDER] [--seconds N] [--stage NAME]...
#   --build    default build/cuda
#   --out      where log.txt and the figures go as they come; default build/gpu
#   --seconds  for all stages together, default 540
#   --stage    only these: start mma kernels layers engine selftest train plan bench rule peers
#              sanitizer
#              (default all but sanitizer, which runs compute-sanitizer over the kernels that share memory)
#   DFENGINE_DATA  a folder with faces140k/ and weights/, for train; without it drawn faces
# Prints a line a stage; exits 1 when one failed, 77 where there is no GPU.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

build=build/cuda out=build/gpu seconds=540 stages=()
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || { echo "gpu: $1 wants a value" >&2; exit 2; }
  case $1 in
    --build) build=$2 ;;
    --out) out=$2 ;;
    --seconds) seconds=$2 ;;
    --stage) stages+=("$2") ;;
    *) echo "gpu: unknown option $1" >&2; exit 2 ;;
  esac
  shift 2
done
if [ ${#stages[@]} -eq 0 ]; then stages=(start mma kernels layers engine selftest train plan bench rule peers); fi
if ! nvidia-smi -L >/dev/null 2>&1; then
  echo "gpu: no NVIDIA GPU or driver here (nvidia-smi -L fails)"
  exit 77
fi
for program in dfengine tests/test_kernels tests/test_layers tests/test_engine; do
  if [ -x "$build/$program" ]; then continue; fi
  tests/build.sh cuda dfengine test_kernels test_layers test_engine || exit 1
  break
done
mkdir -p "$out"
log=$out/log.txt work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
# What earlier runs left out, or a stage that is stopped, must not change what the next one measures.
export XDG_CACHE_HOME=$work/cache
dfengine=$build/dfengine imagenet=${DFENGINE_DATA:-}/weights/mobilenet_v2-b0353104.pth
device_tests='*Device*:CheckFinite*:CudaContext*:*NormOnLoad*-CudaContext.WithoutADevice*'

# cuBLASLt and cuDNN as toolkits and Python packages install them.
for folder in $(python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' 2>/dev/null)/nvidia/*/lib \
  /usr/local/cuda*/lib64 /usr/local/cuda*/targets/x86_64-linux/lib; do
  if [ -d "$folder" ]; then LD_LIBRARY_PATH=$folder:${LD_LIBRARY_PATH:-}; fi
done
export LD_LIBRARY_PATH

start() {
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.max.sm --format=csv,noheader
  if ldd "$dfengine" | grep 'not found'; then return 1; fi
  "$dfengine" --version
}
# tests PROGRAM FILTER: in four parts side by side, for most of a test's time is its oracle's.
tests() {
  local part parts=4 code status=0 pids=()
  for ((part = 0; part < parts; ++part)); do
    GTEST_TOTAL_SHARDS=$parts GTEST_SHARD_INDEX=$part "$build/tests/$1" --gtest_filter="$2" \
      >"$work/log.part$part" 2>&1 &
    pids+=($!)
  done
  for part in "${!pids[@]}"; do
    wait "${pids[$part]}"
    code=$?
    if [ $code -ne 0 ]; then status=1; echo "part $part: exit code $code"; fi
  done
  return $status
}
mma() { tests test_kernels 'MmaDevice*:ClusterDevice*:TunerDevice*'; }
kernels() { tests test_kernels "$device_tests"; }
layers() { tests test_layers "$device_tests"; }
engine() { tests test_engine "$device_tests"; }
selftest() { "$dfengine" selftest --device cuda --json "$out/selftest.json"; }
# A run on pictures; then its model's answers by the GPU and by the CPU.
train() {
  local data=${DFENGINE_DATA:-}/faces140k weights=() kind
  if [ -f "$imagenet" ]; then weights=(--weights "$imagenet"); fi
  if [ ! -d "$data" ]; then
    data=$work/drawn
    "$dfengine" synth --output "$data" --count 600 --size 224 || return 1
  fi
  "$dfengine" train --data "$data" "${weights[@]}" --epochs 4 --batch-size 32 --device cuda \
    --output "$work/run" --no-progress || return 1
  cat "$work/run/results.csv"
  for kind in cuda cpu; do
    "$dfengine" eval --model "$work/run/best.safetensors" --data "$data" --device "$kind" \
      --output "$work/$kind" --no-progress || return 1
  done
  python3 - "$work"/{cuda,cpu}/predictions.csv <<'END'
import csv, sys
cuda, cpu = ({row["path"]: float(row["prob_fake"]) for row in csv.DictReader(open(name))} for name in sys.argv[1:])
differences = sorted(abs(cuda[path] - cpu[path]) for path in cpu)
print(f"probabilities by cuda and cpu, {len(cpu)} pictures: differ by {differences[-1]:.2e} at most, "
      f"{differences[len(cpu) // 2]:.2e} in the middle")
sys.exit(differences[-1] > 0.02)
END
}
plan() {
  local phase how model=$imagenet
  if [ ! -f "$model" ]; then model=$work/run/best.safetensors; fi
  for phase in infer train; do
    for how in '' --deterministic; do
      echo "plan: $phase $how"
      # shellcheck disable=SC2086
      time "$dfengine" info "$model" --plan --phase "$phase" --batch-size 256 --device cuda $how
    done
  done >"$out/plans.txt" 2>&1
}
bench() { "$dfengine" bench --device cuda --layers --rounds 5 --json "$out/bench.json"; }
rule() { "$dfengine" bench --device cuda --layers --rounds 3 --deterministic --json "$out/bench_rule.json"; }
peers() {
  python3 bench/peers/torch_mobilenetv2.py --device cuda --precision fp16 --rounds 5 \
    --modes graph compile-graph --works train infer --batch 256 1 --train-batch 256 | tee "$out/peers.jsonl"
}
sanitizer() {
  local tool sanitizer
  sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
  for tool in memcheck racecheck; do
    "$sanitizer" --tool "$tool" --error-exitcode 9 "$build/tests/test_kernels" \
      --gtest_filter='PointwiseConvDevice.*:NormOnLoadDevice.*:*BatchNorm*Device*' || return 1
  done
}
declare -A limit=([start]=30 [mma]=60 [kernels]=120 [layers]=60 [engine]=150 [selftest]=60 [train]=90 [plan]=90
  [bench]=120 [rule]=90 [peers]=240 [sanitizer]=300)

failed=0
: >"$log"
for stage in "${stages[@]}"; do
  left=$((seconds - SECONDS))
  if [ "$left" -lt 10 ]; then
    echo "gpu: $stage: LEFT OUT, no time is left" | tee -a "$log"
    failed=$((failed + 1))
    continue
  fi
  most=${limit[$stage]:-0}
  if [ "$most" -eq 0 ]; then echo "gpu: no stage $stage" >&2; exit 2; fi
  most=$((most < left ? most : left)) begun=$SECONDS
  # A stage is a process of its own, so that time runs out for all that it started, whatever that ignores.
  export build out work dfengine imagenet device_tests
  timeout --signal=KILL "$most" \
    bash -c "set -uo pipefail; $(declare -f); $stage" >"$work/log" 2>&1
  status=$?
  # What the parts wrote counts where time ran out for them, too.
  for part in "$work"/log.part*; do
    if [ -f "$part" ]; then cat "$part" >>"$work/log"; rm "$part"; fi
  done
  { echo "==== $stage"; cat "$work/log"; } >>"$log"
  ok=$(grep -c '^\[       OK' "$work/log")
  bad=$(grep -c '^\[  FAILED  \].* ms)$' "$work/log")
  skipped=$(grep -c '^\[  SKIPPED \].* ms)$' "$work/log")
  verdict=passed
  # Tests are skipped where no GPU answers, and here is one.
  if [ "$skipped" -gt 0 ]; then status=1; fi
  if [ "$status" -ne 0 ]; then verdict="FAILED (exit code $status)" failed=$((failed + 1)); fi
  if [ "$status" -eq 137 ]; then verdict="FAILED (killed: no end after $most s, or no memory)"; fi
  echo "gpu: $stage: $verdict, $((SECONDS - begun)) s; tests passed $ok, failed $bad, skipped $skipped" | tee -a "$log"
  if [ "$status" -ne 0 ]; then tail -n 30 "$work/log"; fi
  if [ "$status" -ne 0 ] && [[ $stage == start || $stage == mma && $ok -eq 0 ]]; then
    echo "gpu: nothing starts, so the other stages are left out"
    break
  fi
done
echo "gpu: $failed of ${#stages[@]} stages failed; all output in $log"
[ "$failed" -eq 0 ]
