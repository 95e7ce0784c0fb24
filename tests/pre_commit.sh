#!/usr/bin/env bash
# Before a commit: format and strata of what is staged, in seconds. To have git run it:
#   ln -s ../../tests/pre_commit.sh .git/hooks/pre-commit
set -euo pipefail
cd "$(git rev-parse --show-toplevel)"

mapfile -d '' -t changed < <(git diff --cached --name-only -z --diff-filter=d)
if [ "${#changed[@]}" -eq 0 ]; then exit 0; fi

# What is committed is the index, which may differ from the files in the folder.
staged=$(mktemp -d)
trap 'rm -r "$staged"' EXIT
git ls-files -z '*.h' '*.cpp' '*.cu' '*.cuh' '*.py' '*.sh' .clang-format |
  git checkout-index -z --stdin --prefix="$staged/"
cd "$staged"

mapfile -t sources < <(printf '%s\n' "${changed[@]}" | grep -E '\.(h|cpp|cuh?)$')
if [ "${#sources[@]}" -gt 0 ]; then tests/format.sh "${sources[@]}"; fi
tests/strata.sh
