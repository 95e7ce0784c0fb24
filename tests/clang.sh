#!/usr/bin/env bash
# clang reads the whole tree with warnings as errors, but makes no code: a third of a build's time.
# Usage: tests/clang.sh [PART...]    only files whose paths hold one of the parts
set -euo pipefail
cd "$(dirname "$0")/.."

tests/install.sh clang-14
cmake --preset clang >/dev/null
# The headers that protoc makes, and the texts that the service has inside.
cmake --build --preset clang --target dfengine_onnx_format >/dev/null
ninja -C build/clang generated/serve_texts.cpp >/dev/null

parts=$(IFS='|'; echo "$*")
mapfile -t commands < <(ninja -C build/clang -t commands all |
  sed -n 's|^\(.*\) -MD -MT .* -c \(.*\)$|\1 -fsyntax-only \2|p' | grep -E -- " [^ ]*($parts)[^ ]*$" | sort -u)
if [ "${#commands[@]}" -eq 0 ]; then
  echo "clang: no file matches" >&2
  exit 1
fi
printf '%s\n' "${commands[@]}" | xargs -d '\n' -n 1 -P "$(nproc)" sh -c
echo "clang: ${#commands[@]} files without a warning"
