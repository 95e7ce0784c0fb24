#!/usr/bin/env bash
# Installs what building dfengine needs and this machine lacks (Debian 12, Ubuntu 24.04, and later).
# Looks first and touches nothing when everything is there.
# Usage: tests/install.sh [TOOL...]    TOOL: a program to have as well, whose package has its name, or a package
set -euo pipefail

fail() {
  echo "install: $1" >&2
  exit 1
}

compiler=${CXX:-c++}
headers=(libeigen3-dev libstb-dev libjpeg-dev libpng-dev libwebp-dev libgtest-dev libbenchmark-dev libcli11-dev
  nlohmann-json3-dev libfmt-dev zlib1g-dev libcurl4-openssl-dev libzip-dev libprotobuf-dev libcpp-httplib-dev
  libarchive-dev)

# The package of every tool or header that is not there, whoever installed the others.
missing_packages() {
  local tool
  for tool; do command -v "$tool" >/dev/null || dpkg -s "$tool" >/dev/null 2>&1 || echo "$tool"; done
  command -v cmake >/dev/null || echo cmake
  command -v ninja >/dev/null || echo ninja-build
  command -v protoc >/dev/null || echo protobuf-compiler
  command -v pkg-config >/dev/null || echo pkg-config
  command -v mpicc >/dev/null || echo libopenmpi-dev
  command -v mpirun >/dev/null || echo openmpi-bin
  if ! command -v "$compiler" >/dev/null; then
    printf '%s\n' g++ "${headers[@]}"  # without a compiler nobody can say which headers are there
    return
  fi
  "$compiler" -x c++ -std=c++20 -E -P - <<'HEADERS' | sed -n 's/^missing //p'
#if !__has_include(<eigen3/Eigen/Core>) && !__has_include(<Eigen/Core>)
missing libeigen3-dev
#endif
#if !__has_include(<stb/stb_image.h>) && !__has_include(<stb_image.h>)
missing libstb-dev
#endif
#if !__has_include(<jpeglib.h>)
missing libjpeg-dev
#endif
#if !__has_include(<png.h>)
missing libpng-dev
#endif
#if !__has_include(<webp/decode.h>)
missing libwebp-dev
#endif
#if !__has_include(<gtest/gtest.h>)
missing libgtest-dev
#endif
#if !__has_include(<benchmark/benchmark.h>)
missing libbenchmark-dev
#endif
#if !__has_include(<CLI/CLI.hpp>)
missing libcli11-dev
#endif
#if !__has_include(<nlohmann/json.hpp>)
missing nlohmann-json3-dev
#endif
#if !__has_include(<fmt/core.h>)
missing libfmt-dev
#endif
#if !__has_include(<zlib.h>)
missing zlib1g-dev
#endif
#if !__has_include(<curl/curl.h>)
missing libcurl4-openssl-dev
#endif
#if !__has_include(<zip.h>)
missing libzip-dev
#endif
#if !__has_include(<google/protobuf/message_lite.h>)
missing libprotobuf-dev
#endif
#if !__has_include(<archive.h>)
missing libarchive-dev
#endif
#if !__has_include(<httplib.h>)
missing libcpp-httplib-dev
#endif
HEADERS
}

# check_version NAME LEAST FOUND ADVICE
check_version() {
  if [ "$(printf '%s\n%s\n' "$2" "$3" | sort -V | head -n 1)" != "$2" ]; then
    fail "$1 $3 is too old, $2 or newer is needed: $4"
  fi
}

mapfile -t packages < <(missing_packages "$@")
if [ "${#packages[@]}" -gt 0 ]; then
  echo "install: missing: ${packages[*]}"
  command -v apt-get >/dev/null ||
    fail "no apt-get here: install these packages' counterparts with your package manager, then run again"
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
      fail "not root and no sudo: as root, run: apt-get install ${packages[*]}"
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi

check_version cmake 3.25 "$(cmake --version | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')" \
  "python3 -m pip install --user cmake (and put ~/.local/bin on PATH), or use a newer release"
if [[ $(echo 'gcc __GNUC__ __clang__' | "$compiler" -x c++ -E -P -) =~ gcc\ ([0-9]+)\ __clang__ ]]; then
  check_version g++ 11 "${BASH_REMATCH[1]}" "install g++-12 and set CXX=g++-12"
fi
