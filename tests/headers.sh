#!/usr/bin/env bash
# Every header must compile alone: a file that needs one includes no other first. So must the fuzz
# targets, which no preset builds.
# Usage: tests/headers.sh [FILE...]    all of them when none is named
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -eq 0 ]; then
  # What lies in native/ needs CUDA's own headers; nvcc compiles it. The PTX interpreter's runtime does too.
  mapfile -t files < <(git ls-files '*.h' '*.cuh' 'tests/fuzz/*.cpp' ':!kernels/cuda/native/' ':!tests/ptx/runtime/')
  set -- "${files[@]}"
fi

compiler=${CXX:-g++}
flags=(-std=c++20 -fsyntax-only -I. -DDF_ISA=baseline -DDF_ISA_baseline=1)
for folder in /usr/include/eigen3 /usr/local/include/eigen3; do
  if [ -d "$folder" ]; then flags+=(-isystem "$folder"); fi
done

# One compiler a file, as many at once as there are processors. xargs fails when one of them does.
if ! printf '%s\0' "$@" |
  xargs -0 -P "$(nproc)" -I FILE "$compiler" "${flags[@]}" -include FILE -x c++ /dev/null; then
  echo "headers: not all compile alone: include what each uses" >&2
  exit 1
fi
echo "headers: $# files compile alone"
