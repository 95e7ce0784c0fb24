#!/usr/bin/env bash
# From nothing to figures: installs what is missing, builds, trains, evaluates. Without options it
# draws a synthetic set and trains a small network from scratch: about 15 minutes on 2 cores, most of them for the build.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: apps/quickstart.sh [--data DIR] [--weights FILE|imagenet]
  --data DIR      your own set instead of the synthetic one: DIR/{train,valid,test}/{real,fake}/
  --weights FILE  fine-tune MobileNetV2 from these weights instead of training a small network from
                  scratch: a file in any form that dfengine train takes, or the word imagenet, which
                  downloads torchvision's own
Writes into runs/quickstart/, which is replaced by each run.
TEXT
}

fail() {
  echo "quickstart: $1" >&2
  exit 2
}

data=""
weights=""
while [ $# -gt 0 ]; do
  case $1 in
    --data | --weights)
      [ $# -ge 2 ] || fail "$1 needs a value"
      if [ "$1 $2" = "--weights imagenet" ]; then weights=imagenet # no file, so no path to resolve
      elif [ "$1" = --data ]; then data=$(realpath "$2")
      else weights=$(realpath "$2"); fi
      shift 2
      ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && fail "unknown option $1" ;;
  esac
done
[ -z "$data" ] || [ -d "$data" ] || fail "--data $data: no such folder"
[ -z "$weights" ] || [ "$weights" = imagenet ] || [ -f "$weights" ] || fail "--weights $weights: no such file"

cd "$(dirname "$0")/.."
out=runs/quickstart
replaced=$(realpath -m "$out")
for kept in "$data" "$weights"; do
  case $kept/ in
    "$replaced"/*) fail "$kept lies in $replaced, which this run replaces: move it elsewhere first" ;;
  esac
done
tests/build.sh cpu dfengine
dfengine=build/cpu/dfengine
rm -rf "$out"
mkdir -p "$out"

if [ -z "$data" ]; then
  data=$out/data
  "$dfengine" synth --output "$data" --count 2000 --seed 1
fi

if [ -n "$weights" ]; then
  network=(--weights "$weights")
else
  network=(--width 0.35 --img-size 96 --epochs 20 --batch-size 32 --lr 2e-3)
fi
"$dfengine" train --data "$data" --output "$out/train" --seed 1 "${network[@]}"
"$dfengine" eval --model "$out/train/best.safetensors" --data "$data" --split test \
  --output "$out/eval"

echo
echo "Done in $((SECONDS / 60)) min $((SECONDS % 60)) s. Figures: $out/eval/metrics.json"
echo "Try a picture: $dfengine predict --model $out/train/best.safetensors PICTURE"
