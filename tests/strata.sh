#!/usr/bin/env bash
# House rules that no compiler checks: includes point one way only (CONTRIBUTING.md, "Rooms"), no
# source file passes 400 lines, no folder holds more than 32 files, no file includes itself by way
# of others, every script can be run, no tolerance is typed as a literal in a test.
# Usage: tests/strata.sh [ROOT]    prints every fault as file:line and exits 1 when there is one.
set -euo pipefail
cd "${1:-$(dirname "$0")/..}"

max_lines=400
max_files=32
faults=0
fault() {
  echo "$1"
  faults=$((faults + 1))
}

folders=()
for folder in kernels layers weights engine apps bench tests; do
  if [ -d "$folder" ]; then folders+=("$folder"); fi
done
mapfile -t sources < <(find "${folders[@]}" -type f \
  \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.py' -o -name '*.sh' \) | sort)
if [ "${#sources[@]}" -eq 0 ]; then
  echo "strata: no source files under $PWD" >&2
  exit 1
fi

# The rooms in the order in which they may use each other: each its own files and those of rooms
# before it, unless `only` says less.
rooms=(kernels/base kernels layers weights engine/plan engine/runtime engine/data engine/model
  engine/evaluate engine/train engine/report engine/synth engine/tables engine/bench engine/selftest
  engine/interface engine/serve apps tests bench)
declare -A only=(
  [kernels/base]='^kernels/base/'
  [layers]='^(kernels|layers)/'
  [weights]='^(weights|kernels/base)/'
  [engine/data]='^(engine/data|kernels)/'
  [engine/synth]='^(engine/(synth|data)|kernels)/'
)
ours='^(kernels|layers|weights|engine|apps|bench|tests)/'

room_of() {  # the longest room that a path begins with
  local path=$1
  while [[ $path == */* ]]; do
    path=${path%/*}
    if [[ " ${rooms[*]} " == *" $path "* ]]; then
      room=$path
      return
    fi
  done
  room=
}

declare -A floor
for i in "${!rooms[@]}"; do floor[${rooms[i]}]=$i; done

check_include() {  # file, line number, included path
  local file=$1 line=$2 path=$3 room from
  if [[ $path == ../* || $path == ./* || ( ! $path =~ $ours && -e ${file%/*}/$path ) ]]; then
    fault "$file:$line: includes $path: write the path from the repository's root"
  elif [[ $path =~ $ours ]]; then
    room_of "$file"
    from=$room
    room_of "$path"
    if [[ -z $from ]]; then
      fault "$file:$line: lies in no room; rooms: ${rooms[*]}"
    elif [[ -z $room || ${floor[$room]} -gt ${floor[$from]} || ! $path =~ ${only[$from]:-.} ]]; then
      fault "$file:$line: $from must not include $path"
    fi
  fi
  if [[ $path =~ ^(Eigen|unsupported/Eigen)/ && $file == *.cu* ]]; then
    fault "$file:$line: Eigen stays out of CUDA files"
  fi
}

include='^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]([^>"]+)[>"]'
while IFS=: read -r file line text; do
  [[ $text =~ $include ]]
  check_include "$file" "$line" "${BASH_REMATCH[1]}"
done < <(grep -nE --with-filename "$include" "${sources[@]}")

while read -r lines file; do
  if [ "$file" != total ] && [ "$lines" -gt "$max_lines" ]; then
    fault "$file:$lines: more than $max_lines lines: split it by meaning"
  fi
done < <(wc -l "${sources[@]}")

for file in "${sources[@]}"; do
  [[ $file == *.sh ]] || continue
  [ -x "$file" ] || fault "$file: cannot be run: chmod +x"
  bash -n "$file" 2>/dev/null || fault "$file: bash cannot parse it: bash -n $file"
done

# A stranger must see at a glance what a folder holds. Goldens come as many as their cases.
while read -r files folder; do
  if [ "$files" -gt "$max_files" ]; then
    fault "$folder: $files files, more than $max_files: group them by meaning"
  fi
done < <(find "${folders[@]}" -path tests/golden -prune -o -name __pycache__ -prune -o -type f -printf '%h\n' |
  sort | uniq -c)
while read -r file; do
  fault "$file: lies at the root of engine: it belongs to one of the rooms"
done < <(printf '%s\n' "${sources[@]}" | grep -E '^engine/[^/]+$')

# A header and the source file of its name are one unit; no unit may include itself by way of others.
# Reads lines "FILE INCLUDED" and prints a line for each circle.
circles() {
  perl -ne '
    my ($from, $to) = split;
    s/\.(?:h|cuh|cpp|cu)$// for $from, $to;
    $includes{$from}{$to} = 1 if $from ne $to;
    sub visit {
      my ($unit, @way) = @_;
      my $state = $state{$unit} // "new";
      if ($state eq "open") {
        shift @way while $way[0] ne $unit;
        print "$unit: includes itself: ", join(" -> ", @way, $unit), "\n";
      }
      return if $state ne "new";
      $state{$unit} = "open";
      visit($_, @way, $unit) for sort keys %{$includes{$unit}};
      $state{$unit} = "done";
    }
    END { visit($_) for sort keys %includes; }'
}
while IFS= read -r text; do fault "$text"; done < <(
  grep -nE --with-filename "$include" "${sources[@]}" |
    sed -nE 's/^([^:]*):[0-9]+:[^<"]*"([^"]+)".*/\1 \2/p' | circles)

# A literal as the last argument of a NEAR check (inside a call, such as tolerance(9, 1.0), literals
# are terms and magnitudes), a small literal as a bound, or a variable named tol... set to one.
tolerance_faults() {
  perl -0777 -ne '
    my $call = qr/\w+\s*(?:<[^<>;]*>)?\s*(\((?:[^()]++|(?-1))*\))/;
    my $number = qr/(?<![\w.])(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?[fF]?(?![\w.])/;
    my $say = sub { my ($at, $what) = @_;
      my $line = 1 + (substr($_, 0, $at) =~ tr/\n//);
      print "$ARGV:$line: $what: derive it with tests/support/tolerance.h\n"; };
    s{//[^\n]*}{ " " x length($&) }ge;
    while (/\b(?:EXPECT|ASSERT)_(?:FLOAT_|DOUBLE_)?(NEAR|LT|LE)\s*(\((?:[^()]++|(?-1))*\))/g) {
      my ($kind, $at, $args) = ($1, $-[0], substr($2, 1, -1));
      1 while $args =~ s/$call/CALL/g;
      my $last = (split /,/, $args)[-1] // "";
      $say->($at, "literal tolerance") if $kind eq "NEAR" && $last =~ $number;
      $say->($at, "literal bound") if $kind ne "NEAR" && $last =~ /^\s*[\d.]+e-\d+f?\s*$/i;
    }
    while (/\b\w*tol(?:erance)?\w*\s*(?:=\s*|\{\s*)($number)\s*[;}]/gi) {
      my ($at, $value) = ($-[0], $1);
      $say->($at, "literal tolerance") if $value =~ /[1-9]/;
    }' "$@"
}
mapfile -t tests < <(printf '%s\n' "${sources[@]}" |
  grep -E '^tests/.*\.(h|cpp|cuh?)$' | grep -v '^tests/support/tolerance\.h$')
if [ "${#tests[@]}" -gt 0 ]; then
  while IFS= read -r text; do fault "$text"; done < <(tolerance_faults "${tests[@]}")
fi

if [ "$faults" -gt 0 ]; then
  echo "strata: $faults faults in ${#sources[@]} files"
  exit 1
fi
echo "strata: ${#sources[@]} files keep the rules"
