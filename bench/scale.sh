#!/usr/bin/env bash
# As many pictures as people have, by links to a few: training on 140,000, killed once and resumed, and
# scoring of 1,000,000, killed once and continued. Prints wall times, memory over time, and how often each
# picture was answered. Usage: bench/scale.sh DFENGINE FACES FOLDER [train] [predict]
#   FACES   a folder with SPLIT/CLASS; FOLDER: takes the links and results, goes on where it was stopped
#   WEIGHTS for train: the published weights; PICTURES 140000, ENTRIES 1000000: fewer for a try; KILL 120: seconds
#   PRECISION fp32
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,8p' "$0" >&2; exit 2; }
dfengine=$(realpath "$1") faces=$(realpath "$2")
mkdir -p "$3"
folder=$(realpath "$3")
shift 3
[ $# -gt 0 ] || set -- train predict
precision=${PRECISION:-fp32}

links() {  # SPLIT CLASS COUNT: the pictures of that folder again and again under other names
  local to=$folder/set/$1/$2
  [ -e "$to.done" ] && return
  mkdir -p "$to"
  python3 - "$faces/$1/$2" "$to" "$3" <<'PY'
import os, sys
source, to, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
names = sorted(os.listdir(source))
for i in range(count):
    name = names[i % len(names)]
    link = os.path.join(to, f"{i:07d}_{name}")
    if not os.path.lexists(link):
        os.symlink(os.path.join(source, name), link)
PY
  touch "$to.done"
}

# Runs a command, and writes its and its children's resident kilobytes to FILE, a line a second. Kills it
# after KILL seconds where that is above 0.
watched() {  # FILE KILL COMMAND...
  local file=$1 kill_at=$2 seconds=0 pid
  shift 2
  "$@" &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    awk '/^VmRSS/ { print $2 }' "/proc/$pid/status" 2>/dev/null >>"$file" || true
    sleep 1
    seconds=$((seconds + 1))
    if [ "$kill_at" -gt 0 ] && [ "$seconds" -eq "$kill_at" ]; then kill -9 "$pid"; fi
  done
  wait "$pid" 2>/dev/null
}
memory() {  # FILE: means of its quarters, in MiB
  awk '{ v[NR] = $1 } END { for (q = 0; q < 4; q++) { s = n = 0
    for (i = int(NR * q / 4) + 1; i <= NR * (q + 1) / 4; i++) { s += v[i]; n++ }
    printf "%s%.0f", q ? ", " : "memory in quarters of the time: ", n ? s / n / 1024 : 0 } print " MiB" }' "$1"
}

train() {
  local each=$((${PICTURES:-140000} / 14)) run=$folder/run begin=$SECONDS
  for class in real fake; do links train $class $((5 * each)); links valid $class "$each"; links test $class "$each"; done
  echo "$((14 * each)) links: $((SECONDS - begin)) s"
  local how=(train --data "$folder/set" --recipe seed --weights "${WEIGHTS:?the published weights}" --output "$run" --no-progress --precision "$precision")
  rm -rf "$run" "$folder/memory.train"*
  begin=$SECONDS
  watched "$folder/memory.train.killed" "${KILL:-120}" "$dfengine" "${how[@]}" >"$folder/train.log" 2>&1 && { echo "done before it could be killed"; return; }
  echo "killed after $((SECONDS - begin)) s"
  begin=$SECONDS
  if [ -e "$run/last.ckpt" ]; then how=(train --resume --output "$run" --no-progress); else rm -rf "$run"; fi
  watched "$folder/memory.train" 0 "$dfengine" "${how[@]}" >>"$folder/train.log" 2>&1
  echo "train --recipe seed after that: $((SECONDS - begin)) s; $(memory "$folder/memory.train")"
  grep -hE '^epoch|features|waiting|peak' "$folder/train.log" | tail -n 14
}

predict() {
  local entries=${ENTRIES:-1000000} model=$folder/small begin
  [ -e "$model/best.safetensors" ] || "$dfengine" train --data "$faces" --output "$model" --width 0.35 --img-size 96 \
    --epochs 1 --no-progress >"$folder/small.log"
  find "$faces" -name '*.jpg' | sort >"$folder/pictures"
  awk -v n="$entries" '{ v[NR - 1] = $0 } END { for (i = 0; i < n; i++) print v[i % NR] }' "$folder/pictures" >"$folder/list"
  "$dfengine" bench --device cpu --width 0.35 --img-size 96 --batch-sizes 32 --data "$faces" --precision "$precision" \
    >"$folder/bench.log" 2>/dev/null
  local how=(predict --model "$model" --input "$folder/list" --output "$folder/answers" --no-progress --precision "$precision")
  rm -rf "$folder/answers" "$folder/memory.predict"*
  begin=$SECONDS
  watched "$folder/memory.predict.killed" "${KILL:-120}" "$dfengine" "${how[@]}" >"$folder/predict.log" 2>&1 && echo "done before it could be killed"
  local before=$((SECONDS - begin)) shards
  shards=$(find "$folder/answers" -name '*.csv' | wc -l)
  echo "killed after $before s with $shards shards of 10,000"
  begin=$SECONDS
  watched "$folder/memory.predict" 0 "$dfengine" "${how[@]}" --incremental >>"$folder/predict.log" 2>&1
  local after=$((SECONDS - begin))
  "$dfengine" predict --merge "$folder/answers" >>"$folder/predict.log" 2>&1
  # Column path of the merged answers beside the list: the same lines in the same order.
  tail -n +2 "$folder/answers/predictions.csv" | cut -d, -f1 | cmp - "$folder/list" && echo "each of $entries entries answered once, in order"
  echo "the rest: $((entries - 10000 * shards)) entries in $after s: $(((entries - 10000 * shards) / after)) a second; $(memory "$folder/memory.predict")"
  grep -E '^infer|prepare' "$folder/bench.log"
}

for part in "$@"; do "$part"; done
