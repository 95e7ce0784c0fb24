#!/usr/bin/env bash
# Every C++ and CUDA file must look as clang-format 14 leaves it.
# Usage: tests/format.sh [FILE...]    all files when none is named
set -euo pipefail

formatter=clang-format-14
command -v "$formatter" >/dev/null || formatter=clang-format
if ! "$formatter" --version | grep -q 'version 14\.'; then
  echo "format: clang-format 14 is needed: apt-get install clang-format-14" >&2
  exit 1
fi
if [ $# -eq 0 ]; then
  cd "$(dirname "$0")/.."
  mapfile -d '' -t files < <(git ls-files -z '*.h' '*.cpp' '*.cu' '*.cuh')
  set -- "${files[@]}"
fi
"$formatter" --dry-run --Werror "$@"
