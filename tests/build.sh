#!/usr/bin/env bash
# Installs what is missing, configures a preset and builds it, with ccache where there is one.
# Usage: tests/build.sh PRESET [-DNAME=VALUE...] [TARGET...]    everything when no target is named
set -euo pipefail
cd "$(dirname "$0")/.."

preset=$1
shift
tests/install.sh
if command -v ccache >/dev/null; then
  export CMAKE_CXX_COMPILER_LAUNCHER=ccache CMAKE_CUDA_COMPILER_LAUNCHER=ccache
fi
options=()
while [[ ${1:-} == -D* ]]; do
  options+=("$1")
  shift
done
cmake --preset "$preset" "${options[@]}"
targets=()
if [ $# -gt 0 ]; then targets=(--target "$@"); fi
cmake --build --preset "$preset" --parallel "$(nproc)" "${targets[@]}"
