#!/usr/bin/env bash
# Every command over a folder of hostile files: damaged pictures and weights, odd names and kinds of files.
# No command may crash, hang or end in anything but one of its exit codes with a word of why.
# Usage: tests/hostile.sh DFENGINE [COPIES]    COPIES: damaged ones of each file, default 3
# Under the sanitizers: tests/build.sh asan dfengine && tests/hostile.sh build/asan/dfengine 20
# Exit codes: 0 sound, 1 a fault, 77 Python is missing.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
dfengine=$(realpath "${1:?usage: tests/hostile.sh DFENGINE [COPIES]}") copies=${2:-3}
command -v python3 >/dev/null || { echo "skip: no python3 here"; exit 77; }
work=$(mktemp -d)
trap 'chmod -R u+rwX "$work"; rm -rf "$work"' EXIT
python3 tests/hostile_files.py tests/golden "$work" "$copies" || exit
cd "$work" || exit
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1

runs=0 faults=0
run() {  # the program's arguments; what it prints lies in said
  local status=0
  timeout 120 "$dfengine" "$@" >out 2>said </dev/null || status=$?
  runs=$((runs + 1))
  if [ $status -gt 5 ] || grep -qE 'Sanitizer|runtime error' said || { [ $status -ne 0 ] && ! [ -s said ]; }; then
    echo "hostile: exit code $status: dfengine $*" | cat -v
    cat -v said | head -n 20
    faults=$((faults + 1))
  fi
}

how=(--img-size 96 --batch-size 8 --threads 2 --no-progress)
"$dfengine" synth --output sound --count 40 --size 96 --seed 1 >/dev/null || exit
run train --data sound --width 0.1 "${how[@]}" --epochs 1 --output run
model=run/best.safetensors
for set in set sound; do run audit --data $set; done
run train --data set --split .8,.1,.1 --width 0.1 "${how[@]}" --epochs 1 --output on_set
run train --data set --split .8,.1,.1 --width 0.1 "${how[@]}" --epochs 1 --cache disk --output cached
run pack set set.dfpack --img-size 96 --no-progress
run eval --model $model --data set --output eval --no-progress
run augment --data set --preview sheet.png --img-size 96
for format in table csv json; do run predict --model $model --format $format set; done
run embed --model $model --output e.safetensors set
run explain --model $model --output maps set
for table in tables/*; do
  run eval --model $model --csv "$table" --label-positive fake --data set --output "eval_$((runs))" --no-progress
  run metadata train --csv "$table" --test-csv apart.csv --label-positive fake --output "metadata_$runs"
done
for file in weights/* set/real/* tables/* run/* / /dev/null .; do
  run info "$file"
done
for file in weights/*; do
  run convert "$file" converted.safetensors
  run predict --model "$file" sound/test/real
done
for file in packs/*.dfpack; do
  run eval --model $model --data "$file" --output "eval_$runs" --no-progress
done
if [ $faults -gt 0 ]; then exit 1; fi
echo "hostile: $runs commands over $(find . -type f | wc -l) files, every one ended as it should"
