#!/usr/bin/env bash
# The accuracy ladder: trains each rung with each seed, measures it on the test pictures, and prints one line
# for each. Usage: bench/ladder.sh PROGRAM FACES WEIGHTS OUTPUT [RUNG...]
#   RUNG      resized native windows stem stem_windows best stem_best soup robust best_ensemble student
#             stem_student, in any order; default: all but stem_windows, stem_best and stem_student
#   SEEDS     "1 2 3"; EPOCHS: of every rung, else its own; THREADS: all that there are; PRECISION: fp32
# The same command goes on where it was stopped. Rungs are paired against resized (PROGRAM compare --paired).
set -euo pipefail
[ $# -ge 4 ] || { sed -n '2,7p' "$0" >&2; exit 2; }
program=$(realpath "$1") faces=$(realpath "$2") weights=$(realpath "$3") out=$4
shift 4
[ $# -gt 0 ] || set -- resized native windows stem best soup robust best_ensemble student
seeds=${SEEDS:-1 2 3}
common=(--threads "${THREADS:-0}" --precision "${PRECISION:-fp32}")
mkdir -p "$out"

turned=(--vflip --rot90 --patch-mask .5)
options_of() {  # RUNG: its options, one a line
  case $1 in
    resized) printf '%s\n' --img-size 224 ;;
    native) ;;
    windows) printf '%s\n' --crop random --img-size 224 --eval-size 256 ;;
    stem) printf '%s\n' --stem-stride 1 ;;
    stem_windows) printf '%s\n' --stem-stride 1 --crop random --img-size 128 --eval-size 256 ;;
    best) printf '%s\n' --recipe best ;;
    stem_best) printf '%s\n' --recipe best --stem-stride 1 ;;
    robust) printf '%s\n' --recipe robust ;;
    *) echo "ladder: no rung $1" >&2; exit 2 ;;
  esac
}

train() {  # NAME OPTION...: from the start, or on from where it stopped
  local run=$out/$1
  if [ -e "$run/report.html" ]; then return; fi
  if [ -e "$run/last.ckpt" ]; then
    "$program" train --resume --output "$run" --no-progress --threads "${THREADS:-0}" >>"$run.log" 2>&1
  else
    "$program" train --data "$faces" --output "$run" --no-progress "${common[@]}" "${@:2}" \
      ${EPOCHS:+--epochs "$EPOCHS"} >"$run.log" 2>&1
  fi
}

figure() {  # FOLDER KEY: "value [low, high]" of metrics.json
  python3 - "$1/metrics.json" "$2" <<'PY'
import json, sys
m = json.load(open(sys.argv[1]))
print("%.4f [%.4f, %.4f]" % (m[sys.argv[2]], *m["intervals"][sys.argv[2]]))
PY
}

measure() {  # NAME MODEL
  local name=$1 model=$2 at
  for tta in none flip; do
    at=$out/eval/$name-$tta
    [ -e "$at/metrics.json" ] || "$program" eval --model "$model" --data "$faces" --split test --tta $tta \
      --output "$at" --no-progress "${common[@]}" >"$out/eval-$name-$tta.log" 2>&1
    echo "$name, views $tta: AUC $(figure "$at" roc_auc), accuracy $(figure "$at" accuracy)," \
      "TPR at FPR .01 $(figure "$at" tpr_at_fpr_0.01)"
  done
  if [ -e "$out/$name/results.csv" ]; then
    awk -F, -v name="$name" 'NR > 1 { s += $10; n++ } END { printf "%s: %d epochs, %.1f minutes\n", name, n, s / 60 }' \
      "$out/$name/results.csv"
    grep -h 'peak memory' "$out/$name.log" | tail -n 1
  fi
  if [ -e "$out/resized-${name##*-}/best.safetensors" ] && [[ $name != resized-* ]]; then
    "$program" compare --paired "$out/resized-${name##*-}" "$model" --data "$faces" --split test \
      --threads "${THREADS:-0}" | grep -A1 ROC-AUC
  fi
}

for seed in $seeds; do
  for rung in "$@"; do
    case $rung in soup | best_ensemble | student | stem_student) continue ;; esac
    mapfile -t chosen < <(options_of "$rung")
    train "$rung-$seed" --weights "$weights" --seed "$seed" "${chosen[@]}"
    measure "$rung-$seed" "$out/$rung-$seed"
  done
done

# Three runs from one run's model, other orders and changes: the mean of their weights.
if [[ " $* " = *" soup "* ]]; then
  train start --weights "$weights" --seed 1 --epochs 2
  for seed in $seeds; do
    train "member-$seed" --weights "$out/start/best.safetensors" --seed "$seed" --head-epochs 0 "${turned[@]}"
  done
  members=()
  for seed in $seeds; do members+=("$out/member-$seed"); done
  "$program" average "${members[@]}" --output "$out/soup.safetensors" --threads "${THREADS:-0}"
  measure soup "$out/soup.safetensors"
  "$program" average "${members[@]}" --ensemble --output "$out/ensemble.safetensors" --threads "${THREADS:-0}"
  measure ensemble "$out/ensemble.safetensors"
fi

runs_of() {  # RUNG: those of all seeds, into `runs`
  runs=()
  for seed in $seeds; do
    if [ -e "$out/$1-$seed/best.safetensors" ]; then runs+=("$out/$1-$seed"); fi
  done
  [ ${#runs[@]} -gt 0 ] || { echo "ladder: the rung $1 must be run first" >&2; exit 2; }
}
if [[ " $* " = *" best_ensemble "* ]]; then
  runs_of best
  "$program" average "${runs[@]}" --ensemble --output "$out/best_ensemble.safetensors" --threads "${THREADS:-0}"
  measure best_ensemble "$out/best_ensemble.safetensors"
fi

# Students that learn from all seeds of a rung, by the recipe best: models as fast as its.
teach() {  # NAME, RUNG of the teachers
  runs_of "$2"
  for seed in $seeds; do
    train "$1-$seed" --weights "$weights" --seed "$seed" --recipe best --teacher "${runs[@]}"
    measure "$1-$seed" "$out/$1-$seed"
  done
}
if [[ " $* " = *" student "* ]]; then teach student best; fi
if [[ " $* " = *" stem_student "* ]]; then teach stem_student stem_best; fi
