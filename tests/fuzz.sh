#!/usr/bin/env bash
# Fuzzes readers with libFuzzer under the address and undefined-behaviour sanitizers.
# Usage: tests/fuzz.sh [SECONDS per reader, default 60] [FORMAT..., default all]
# Each tests/fuzz/fuzz_FORMAT.cpp is one target (preset fuzz); its seeds are the files of tests/golden and
# tests/fuzz/seeds with that ending. A crash, a leak, a single allocation over 80 MiB or an input slower
# than 5 s fails the run; libFuzzer leaves the input in build/fuzz. Prints for each target its executions.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
shift || true
formats=("$@")
if [ $# -eq 0 ]; then
  for target in tests/fuzz/fuzz_*.cpp; do
    target=${target##*/fuzz_}
    formats+=("${target%.cpp}")
  done
fi
mkdir -p build/fuzz
tests/install.sh clang-14 libclang-rt-14-dev
tests/build.sh fuzz "${formats[@]/#/fuzz_}" >build/fuzz/build.log || {
  tail build/fuzz/build.log
  exit 1
}

status=0
for format in "${formats[@]}"; do
  corpus=build/fuzz/corpus_$format
  mkdir -p "$corpus"
  find tests/golden tests/fuzz/seeds -iname "*.$format" -size -64k -exec cp -t "$corpus" {} +
  (cd build/fuzz && "tests/fuzz/fuzz_$format" -max_total_time="$seconds" -max_len=65536 -timeout=5 \
    -rss_limit_mb=1024 -malloc_limit_mb=80 -print_final_stats=1 "corpus_$format") \
    >"build/fuzz/$format.log" 2>&1 && result=sound || result=FAILED status=1
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "build/fuzz/$format.log")
  echo "fuzz: $format $result, ${executions:-no} executions in $seconds s"
  if [ $result = FAILED ]; then tail -n 40 "build/fuzz/$format.log"; fi
done
exit $status
