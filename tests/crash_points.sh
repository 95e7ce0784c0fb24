#!/usr/bin/env bash
# Kills training and packing at every call by which they change files, and lets every such call fail; what
# goes on afterwards must end in the very bits of a run that nothing happened to, with nothing left over.
# Usage: tests/crash_points.sh DFENGINE [EVERY]    EVERY: only each so-many-th call, default 1 (all)
# Exit codes: 0 sound, 1 a fault, 77 there is no compiler.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
dfengine=$(realpath "${1:?usage: tests/crash_points.sh DFENGINE [EVERY]}") every=${2:-1}
# In memory where it can be: every file is synced, thousands of times.
folder=${TMPDIR:-/tmp}
if [ -w /dev/shm ]; then folder=/dev/shm; fi
work=$(mktemp -d -p "$folder")
trap 'rm -rf "$work"' EXIT
shim=$work/file_calls.so
${CXX:-c++} -std=c++20 -O1 -shared -fPIC -o "$shim" tests/crash/file_calls.cpp -ldl || {
  echo "skip: no compiler for tests/crash/file_calls.cpp"
  exit 77
}
cd "$work" || exit
"$dfengine" synth --output set --count 24 --size 96 --seed 1 >/dev/null || exit

how=(--data set --width 0.35 --img-size 96 --batch-size 8 --threads 1 --no-progress --seed 1)
first_train() { "$@" "$dfengine" train "${how[@]}" --epochs 2 --cache disk --output out; }
again_train() {
  if [ -e out/last.ckpt ]; then
    "$@" "$dfengine" train --resume --output out --no-progress
  else
    first_train "$@"
  fi
}
result_train() { sha256sum <out/best.safetensors; }
first_pack() { mkdir -p out && "$@" "$dfengine" pack set out/set.dfpack --img-size 96 --threads 1 --no-progress; }
again_pack() { first_pack "$@"; }
result_pack() { sha256sum <out/set.dfpack; }

kills=0 failures=0 faults=0
fault() {
  echo "crash points: $1"
  if [ -f said ]; then tail -n 3 said; fi
  faults=$((faults + 1))
}
for work_kind in train pack; do
  rm -rf out
  first_$work_kind env LD_PRELOAD="$shim" CALLS_FILE=calls >said 2>&1 || fault "$work_kind itself fails"
  expected=$(result_$work_kind) calls=$(cat calls)
  for ((n = 1; n <= calls; n += every)); do
    rm -rf out
    first_$work_kind env LD_PRELOAD="$shim" CALLS_KILL="$n" >said 2>&1
    kills=$((kills + 1))
    again_$work_kind env >said 2>&1 || fault "$work_kind killed at call $n does not go on"
    [ "$(result_$work_kind)" = "$expected" ] || fault "$work_kind killed at call $n ends in other bits"
    [ -z "$(find out -name '*.tmp-*')" ] || fault "$work_kind killed at call $n leaves $(find out -name '*.tmp-*')"
    # ENOSPC and EIO in turn.
    error=$((n % 2 == 0 ? 28 : 5)) status=0
    rm -rf out
    first_$work_kind env LD_PRELOAD="$shim" CALLS_FAIL="$n" CALLS_ERRNO=$error >said 2>&1 || status=$?
    failures=$((failures + 1))
    if [ $status -ne 0 ]; then
      { [ $status -eq 1 ] && grep -qE 'No space left|Input/output error' said; } ||
        fault "$work_kind whose call $n fails ends with $status, and no reason"
      again_$work_kind env >said 2>&1 || fault "$work_kind whose call $n failed does not go on"
    fi
    [ "$(result_$work_kind)" = "$expected" ] || fault "$work_kind whose call $n failed ends in other bits"
  done
  echo "crash points: $work_kind changes files by $calls calls"
done
if [ $faults -gt 0 ]; then exit 1; fi
echo "crash points: $kills kills and $failures failed calls, all of them survived"
