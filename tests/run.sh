#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test.
# Usage: tests/run.sh [PRESET]    cpu (default), asan, tsan or cuda
set -euo pipefail
cd "$(dirname "$0")/.."

preset=${1:-cpu}
tests/build.sh "$preset"

status=0
ctest --test-dir "build/$preset" --parallel "$(nproc)" --output-on-failure --no-tests=error || status=$?

# GoogleTest writes "FILE:LINE: Skipped" and the reason below it.
awk '
  skipped { reasons[$0]++; total++; skipped = 0 }
  /: Skipped$/ { skipped = 1 }
  END {
    printf "Skipped: %d\n", total
    for (reason in reasons) printf "  %d x %s\n", reasons[reason], reason
  }' "build/$preset/Testing/Temporary/LastTest.log"
exit "$status"
