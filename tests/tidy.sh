#!/usr/bin/env bash
# clang-tidy with the checks of .clang-tidy.
# Usage: tests/tidy.sh [REVISION]    files that differ from REVISION (default: where main was left;
#                                    on main itself, what its last commit or merge brought)
#        tests/tidy.sh --all         every source: a quarter of an hour on two cores
set -euo pipefail
cd "$(dirname "$0")/.."

kinds=('*.h' '*.cpp' '*.cu' '*.cuh' ':!kernels/cuda/native/' ':!tests/fuzz/' ':!tests/ptx/')
if [ "${1:-}" = --all ]; then
  mapfile -t files < <(git ls-files "${kinds[@]}" | grep -v '\.c\?u\?h$')
else
  since=${1:-$(git merge-base HEAD origin/main 2>/dev/null || git merge-base HEAD main 2>/dev/null || true)}
  if [ -z "$since" ] || [ "$since" = "$(git rev-parse HEAD)" ]; then since=HEAD^; fi
  if ! git rev-parse --verify --quiet "$since^{commit}" >/dev/null; then
    echo "tidy LEFT OUT: $since is not in this clone, so nobody knows what changed"
    exit $(($# > 0))
  fi
  mapfile -t files < <(git diff --name-only --diff-filter=d "$since" -- "${kinds[@]}")
fi
if [ "${#files[@]}" -eq 0 ]; then
  echo "tidy: no source changed"
  exit 0
fi

tests/install.sh clang-14 clang-tidy-14
cmake --preset clang >/dev/null
# The headers that protoc makes.
cmake --build --preset clang --target dfengine_onnx_format >/dev/null
# It counts on standard error what it found in other people's headers and does not show.
printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$(nproc)" clang-tidy-14 -p build/clang --quiet \
  2> >(grep -v 'warnings\? generated\.$' >&2)
echo "tidy: ${#files[@]} files without a fault"
