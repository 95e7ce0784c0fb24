#!/usr/bin/env bash
# Packs what tests/gpu.sh needs on a machine without a compiler or the network: the programs, built for
# its GPU and stripped, and pictures to train on. About 50 MB with the data, 10 without.
# Usage: tests/gpu_pack.sh FOLDER [ARCHITECTURE]    default 90
#   DFENGINE_DATA  a folder with faces140k/ and weights/ to take along; without it gpu.sh draws faces
# There, in the root of a checkout: xz -dc FOLDER/programs.tar.xz | tar -x -C /tmp, then
# DFENGINE_DATA=FOLDER/data tests/gpu.sh --build /tmp/programs --out RESULTS
set -euo pipefail
folder=$(realpath -m "$1") architecture=${2:-90}
cd "$(dirname "$0")/.."

programs=(dfengine tests/test_kernels tests/test_layers tests/test_engine)
tests/install.sh
export CMAKE_CUDA_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache
cmake --preset cuda -B build/gpu_pack -DDFENGINE_PORTABLE=ON -DCMAKE_CUDA_ARCHITECTURES="$architecture"
cmake --build build/gpu_pack --parallel "$(nproc)" --target "${programs[@]##*/}"

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
mkdir -p "$work/programs/tests" "$folder"
for program in "${programs[@]}"; do strip -o "$work/programs/$program" "build/gpu_pack/$program"; done
# The programs hold the same kernels, which a large dictionary finds again.
tar -cf - -C "$work" programs | xz --lzma2=preset=3,dict=64MiB >"$folder/programs.tar.xz"
if [ -d "${DFENGINE_DATA:-}/faces140k" ]; then
  mkdir -p "$folder/data/weights"
  cp -r "$DFENGINE_DATA/faces140k" "$folder/data/"
  cp "$DFENGINE_DATA/weights/mobilenet_v2-b0353104.pth" "$folder/data/weights/"
  chmod -R u+w "$folder/data"
fi
du -sh "$folder"
