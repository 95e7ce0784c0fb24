#!/usr/bin/env bash
# Installs dfengine into an empty prefix, static, shared and minimal, and builds the examples against it
# outside of the tree: C and C++ by find_package and by pkg-config, Python by ctypes. Their answers must
# be those of `dfengine predict`. The build folder is used again, so that little is compiled, and left
# as it was.
# Usage: tests/package.sh BUILD_FOLDER [FOLDER]    BUILD_FOLDER: built, for example build/cpu
#   FOLDER  where the prefixes stay; default: nowhere
set -euo pipefail
source=$(realpath "$(dirname "$0")/..")
build=$(realpath "${1:?usage: tests/package.sh BUILD_FOLDER [FOLDER]}")
folder=${2:-}

fail() {
  echo "package: $1" >&2
  exit 1
}
work=$(mktemp -d)
configure() { cmake "$build" -DBUILD_SHARED_LIBS="$1" -DDFENGINE_MINIMAL="$2" >/dev/null; }
trap 'rm -rf "$work"; configure OFF OFF' EXIT
if [ -n "$folder" ]; then mkdir -p "$folder" && prefixes=$(realpath "$folder"); else prefixes=$work; fi

# A model and pictures, and what the program says of them.
"$build/dfengine" synth --output "$work/set" --count 40 --seed 5 >/dev/null
"$build/dfengine" train --data "$work/set" --output "$work/run" --width 0.1 --img-size 96 --epochs 1 \
  --batch-size 16 --threads 1 --no-progress >/dev/null
model=$work/run/best.safetensors
mapfile -t pictures < <(find "$work/set/test" -name '*.jpg' | sort)
"$build/dfengine" predict --model "$model" --format json "${pictures[@]}" |
  python3 -c 'import json, sys
for r in json.load(sys.stdin)["results"]: print("%.17g" % r["prob_fake"], r["verdict"], r["path"])' >"$work/expected"
[ -s "$work/expected" ] || fail "no answers to compare with"

same_answers() {  # command
  "$@" "$model" "${pictures[@]}" >"$work/answers" || fail "$* failed"
  cmp "$work/expected" "$work/answers" || fail "$*: other answers than dfengine predict"
}

consume() {  # prefix
  local prefix=$1 libs out
  out=$work/consumer-$(basename "$prefix")
  libs=$(dirname "$(find "$prefix" -name 'libdfengine.*' | head -n 1)")
  export LD_LIBRARY_PATH=$libs
  cp -r "$source/apps/embed_example" "$out"
  cmake -S "$out" -B "$out/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release >/dev/null
  cmake --build "$out/build" >/dev/null
  same_answers "$out/build/classify_c"
  same_answers "$out/build/classify_cpp"
  local flags
  flags=$(PKG_CONFIG_PATH=$libs/pkgconfig pkg-config --cflags --libs dfengine)
  # shellcheck disable=SC2086
  cc -std=c99 -pedantic -Wall -Wextra -Werror "$out/classify.c" -o "$out/with_pkg_config" $flags
  same_answers "$out/with_pkg_config"
  for file in include/dfengine.h include/dfengine.hpp share/doc/dfengine/LICENSE \
    share/doc/dfengine/THIRD_PARTY.md; do
    [ -s "$prefix/$file" ] || fail "$prefix/$file is missing"
  done
}

targets() {
  cmake --build "$build" --target "$@" >"$work/log" || { tail -n 40 "$work/log" && return 1; }
}

configure OFF OFF
targets dfengine dfengine_lib embed_example
cmake --install "$build" --prefix "$prefixes/static" >/dev/null
"$source/tests/exports.sh" "$(find "$prefixes/static" -name libdfengine.a)"
consume "$prefixes/static"
same_answers "$build/embed_example"

configure ON OFF
targets dfengine_shared
cmake --install "$build" --prefix "$prefixes/shared" >/dev/null
consume "$prefixes/shared"
library=$(find "$prefixes/shared" -name 'libdfengine.so')
same_answers python3 "$source/apps/embed_example/classify.py" "$library"
others=$(nm -D --defined-only "$library" | awk '{print $3}' | grep -v '^df_' || true)
[ -z "$others" ] || fail "the shared library exports more than df_*: $others"
missing=$(grep -oE '^DF_API [^(]*df_[a-z_]+\(' "$source/engine/interface/dfengine.h" | grep -oE 'df_[a-z_]+\(' | tr -d '(' |
  sort | comm -23 - <(nm -D --defined-only "$library" | awk '{print $3}' | sort))
[ -z "$missing" ] || fail "the shared library lacks $missing"
readelf -d "$library" | grep -q 'SONAME.*libdfengine\.so\.[0-9]' || fail "the shared library has no soname"

configure OFF ON
targets dfengine_lib
cmake --install "$build" --prefix "$prefixes/minimal" >/dev/null
consume "$prefixes/minimal"
example=$work/consumer-minimal/build/classify_c
strip "$example"
bytes=$(stat -c %s "$example")
[ "$bytes" -lt $((4 << 20)) ] || fail "the minimal example has $bytes bytes, over 4 MiB"
if ldd "$example" | grep -E 'curl|zip|archive|protobuf|webp'; then fail "the minimal example needs these libraries"; fi

echo "package: static, shared and minimal installs classify as dfengine predict does, in C, C++ and Python;" \
  "minimal example $bytes bytes, shared library $(stat -L -c %s "$library") bytes"
