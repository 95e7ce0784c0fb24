#!/bin/sh
# Fuzzes readers with libFuzzer under the address and undefined-behaviour sanitizers.
# Usage: tests/fuzz.sh [SECONDS per reader, default 60] [FORMAT..., default all]
# Needs clang with its compiler-rt, pkg-config, zlib, libzip, protoc and libprotobuf. Each
# tests/fuzz/fuzz_FORMAT.cpp is one target; its seeds are tests/golden/weights_*.FORMAT. A crash, a
# leak, a single allocation over 64 MiB or an input slower than 5 s fails the run; libFuzzer leaves
# the input in build/fuzz.
set -eu

seconds=${1:-60}
if [ $# -gt 0 ]; then shift; fi
wanted=" $* "
root=$(cd "$(dirname "$0")/.." && pwd)
work="$root/build/fuzz"
mkdir -p "$work"
cd "$work"
compiler=${CXX:-clang++}
flags="-std=c++20 -g -O1 -fno-sanitize-recover=all -fsanitize=fuzzer-no-link,address,undefined"
flags="$flags -I$root -I$work -DDFENGINE_ZIP=1 -DDFENGINE_ONNX=1 $(pkg-config --cflags zlib libzip)"
libraries="-lfmt -lprotobuf-lite $(pkg-config --libs zlib libzip)"

protoc --proto_path="$root" --cpp_out="$work" "$root/weights/onnx/onnx.proto"
rm -rf objects
mkdir objects
{ find "$root/weights" "$root/kernels/base" -name "*.cpp"; echo weights/onnx/onnx.pb.cc; } |
  xargs -P "$(nproc)" -I FILE sh -c "$compiler $flags -c FILE -o objects/\$(basename FILE).o"

for target in "$root"/tests/fuzz/fuzz_*.cpp; do
  name=$(basename "$target" .cpp)
  format=${name#fuzz_}
  if [ $# -gt 0 ] && [ "${wanted#* "$format" }" = "$wanted" ]; then continue; fi
  # shellcheck disable=SC2086
  "$compiler" $flags -fsanitize=fuzzer "$target" objects/*.o $libraries -o "$name"
  mkdir -p "corpus_$format"
  for seed in "$root"/tests/golden/weights_*."$format"; do
    if [ -f "$seed" ]; then cp "$seed" "corpus_$format/"; fi
  done
  echo "== $name, $seconds s"
  "./$name" -max_total_time="$seconds" -max_len=65536 -timeout=5 -rss_limit_mb=1024 \
    -malloc_limit_mb=64 -print_final_stats=1 "corpus_$format"
done
