#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test.
# Usage: tests/run.sh [PRESET [TARGET...]]    PRESET: one of CMakePresets.json (default cpu)
#   TARGET  test programs (test_engine, ...): only these are built and run
#        tests/run.sh ptx [PRESET]    device tests on the CPU, from the PTX that nvcc makes (tests/ptx)
#        tests/run.sh registers [--renew]    what ptxas makes of the kernels for each GPU, against the table
set -euo pipefail
cd "$(dirname "$0")/.."

preset=${1:-cpu}
shift || true
case $preset in
  ptx) exec tests/ptx/run.sh "$@" ;;
  registers) exec tests/ptx/registers.py "$@" ;;
esac
tests/build.sh "$preset" "$@"
# Of a test program that was not built, ctest knows one test of this name; others start the program.
left_out=()
if [ $# -gt 0 ]; then left_out=(-E '_NOT_BUILT' -LE '^program$'); fi

status=0
ctest --test-dir "build/$preset" --parallel "$(nproc)" --output-on-failure --no-tests=error "${left_out[@]}" || status=$?

# GoogleTest writes "FILE:LINE: Skipped" and the reason below it, a script "skip: REASON".
awk '
  skipped { reasons[$0]++; total++; skipped = 0 }
  /: Skipped$/ { skipped = 1 }
  sub(/^skip: /, "") { reasons[$0]++; total++ }
  END {
    printf "Skipped: %d\n", total
    for (reason in reasons) printf "  %d x %s\n", reasons[reason], reason
  }' "build/$preset/Testing/Temporary/LastTest.log"
exit "$status"
