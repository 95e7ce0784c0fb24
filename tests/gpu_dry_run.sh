#!/usr/bin/env bash
# tests/gpu.sh without a GPU, in seconds: its driver and programs are stand-ins that ask the real
# programs of a build for the CPU whether they take the arguments and have the tests, then pass, hang or crash.
# Usage: tests/gpu_dry_run.sh [BUILD]    default build/cpu
# Exit codes: 0 sound, 1 a fault.
set -euo pipefail
cd "$(dirname "$0")/.."
real=$(realpath "${1:-build/cpu}")
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
mkdir -p "$work/bin" "$work/build/tests"

# FAULT is hang or crash, for command lines that match the pattern FAULTY.
cat >"$work/bin/stand_in" <<'END'
#!/usr/bin/env bash
set -uo pipefail
name=$(basename "$0")
pretend() {  # wrong arguments or a crash of the real program are faults; that it finds no GPU is none
  local status=0
  "$@" >"$WORK/real.$$" 2>&1 || status=$?
  if [ "$status" -eq 2 ] || [ "$status" -ge 128 ]; then cat "$WORK/real.$$"; exit 99; fi
}
if [[ "$name $*" =~ ^(${FAULTY:-nothing})$ ]]; then
  echo "stand-in: begun before the $FAULT"
  if [ "$FAULT" = crash ]; then kill -SEGV $$; fi
  trap '' TERM
  echo $$ >>"$WORK/hanging"
  # The leader is timeout, which takes the signal for its own alarm: no test waits until time is over.
  while kill -ALRM "$(ps -o pgid= $$ | tr -d ' ')"; do sleep 0.2; done
fi
value() {  # the word after the option
  local option=$1
  shift
  while [ $# -gt 1 ]; do
    if [ "$1" = "$option" ]; then echo "$2"; return; fi
    shift
  done
}
case "$name ${1:-}" in
  test_*)
    tests=$("$REAL/tests/$name" --gtest_list_tests "$@" | grep '^  ') || { echo "no such tests: $*"; exit 99; }
    while read -r test _; do echo "[       OK] $test (1 ms)"; done <<<"$tests" ;;
  "dfengine --version") "$REAL/dfengine" --version ;;
  "dfengine synth") "$REAL/dfengine" "${@/600/20}" ;;
  dfengine*)
    pretend "$REAL/dfengine" "$@"
    output=$(value --output "$@") json=$(value --json "$@")
    if [ -n "$output" ]; then
      mkdir -p "$output"
      echo "epoch" >"$output/results.csv"
      printf 'path,prob_fake\na.jpg,0.5\n' >"$output/predictions.csv"
    fi
    if [ -n "$json" ]; then echo '{}' >"$json"; fi ;;
  compute-sanitizer*) shift 4; "$@" ;;
  "python3 bench/peers/"*) [ -f "$1" ] && echo '{"peer": "stand-in"}' ;;
  python3*) exec "$PYTHON" "$@" ;;
  nvidia-smi*) echo "a stand-in for a GPU" ;;
esac
END
chmod +x "$work/bin/stand_in"
for name in bin/{nvidia-smi,python3,compute-sanitizer} build/dfengine build/tests/test_{kernels,layers,engine}; do
  ln -s "$work/bin/stand_in" "$work/$name"
done
# Nor does a real program of a build for GPUs find one, where there is one.
PYTHON=$(command -v python3) WORK=$work REAL=$real CUDA_VISIBLE_DEVICES=''
export PYTHON WORK REAL CUDA_VISIBLE_DEVICES

gpu() {  # EXIT CODE, then gpu.sh's arguments
  local expected=$1 status=0
  shift
  rm -rf "$work/out"
  PATH=$work/bin:$PATH DFENGINE_DATA='' tests/gpu.sh --build "$work/build" --out "$work/out" "$@" \
    >"$work/said" 2>&1 || status=$?
  if [ "$status" -ne "$expected" ]; then fault "exit code $status, not $expected"; fi
}
fault() {
  echo "gpu_dry_run: $1; gpu.sh said:"
  sed 's/^/  | /' "$work/said"
  exit 1
}
says() { grep -qE -- "$1" "$work/said" || fault "no line like '$1'"; }
says_not() { ! grep -qE -- "$1" "$work/said" || fault "a line like '$1'"; }
left_behind() { grep -qE -- "$2" "$work/out/$1" || fault "nothing like '$2' in $1"; }

mapfile -t stages < <(sed -nE 's/.*then stages=\((.*)\); fi$/\1/p' tests/gpu.sh | tr ' ' '\n')

gpu 0
for stage in "${stages[@]}"; do
  says "^gpu: $stage: passed"
  left_behind log.txt "^==== $stage$"
done
says "^gpu: 0 of ${#stages[@]} stages failed"
for stage in mma kernels layers engine; do says "^gpu: $stage: .* tests passed [1-9]"; done
for file in plans.txt bench.json bench_rule.json peers.jsonl; do left_behind "$file" .; done
gpu 0 --stage sanitizer
says "^gpu: sanitizer: passed"

# One stage of tests and one of the program hang or crash, and every other one passes.
for FAULT in hang crash; do
  export FAULT FAULTY='test_layers .*|dfengine bench .*--deterministic.*'
  gpu 1
  for stage in "${stages[@]}"; do
    case $stage in
      layers | rule)
        if [ $FAULT = hang ]; then says "^gpu: $stage: FAILED \(killed: no end after [0-9]+ s"; fi
        if [ $FAULT = crash ]; then says "^gpu: $stage: FAILED \(exit code [0-9]+\)"; fi ;;
      *) says "^gpu: $stage: passed" ;;
    esac
  done
  says "^gpu: 2 of ${#stages[@]} stages failed"
  for stage in layers rule; do
    sed -n "/^==== $stage$/,/^gpu: $stage/p" "$work/out/log.txt" | grep -q "begun before the $FAULT" ||
      fault "what $stage wrote before the $FAULT is not in log.txt"
  done
done
while read -r process; do
  # One that was killed may wait to be collected.
  state=$(ps -o state= -p "$process" || true)
  if [ -n "$state" ] && [ "$state" != Z ]; then fault "process $process still hangs"; fi
done <"$work/hanging"

# Nothing can be measured where nothing starts.
FAULT=crash FAULTY='dfengine --version' gpu 1
says "^gpu: start: FAILED"
says "nothing starts"
says_not "^gpu: mma"
FAULT=crash FAULTY='test_kernels .*' gpu 1
says "^gpu: mma: FAILED"
says "nothing starts"
says_not "^gpu: kernels"
FAULT=crash FAULTY='nvidia-smi -L' gpu 77
says "no NVIDIA GPU"
gpu 1 --seconds 9 --stage kernels
says "^gpu: kernels: LEFT OUT, no time is left"
gpu 2 --stage nonsense
says "no stage nonsense"

echo "gpu_dry_run: ${#stages[@]} stages start, and survive one that hangs or crashes"
