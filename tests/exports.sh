#!/usr/bin/env bash
# What the static library defines for whoever links it: df_* and what lies in namespace dfengine. Another name
# would meet the same one of the program's, or of a library beside ours, and one of the two would get the other's
# code. Weak names, which are templates and inline functions, may stand in any number of libraries.
# Usage: tests/exports.sh LIBRARY    such as build/cpu/libdfengine.a
set -euo pipefail
library=${1:?usage: tests/exports.sh LIBRARY}

# Names with two underscores are the compiler's own.
mapfile -t names < <(nm -g --defined-only "$library" 2>/dev/null | awk 'NF == 3 && $2 !~ /[uVvWw]/ {print $3}')
if [ "${#names[@]}" -eq 0 ]; then
  echo "exports: $library defines nothing, or is no library" >&2
  exit 1
fi
others=$(printf '%s\n' "${names[@]}" | grep -vE '^df_|^_Z.*8dfengine|^__' | sort | c++filt || true)
if [ -n "$others" ]; then
  echo "exports: $library defines names outside of namespace dfengine; make them static, or give them the namespace:"
  printf '%s\n' "$others"
  exit 1
fi
echo "exports: ${#names[@]} names of $library are df_* or in namespace dfengine"
