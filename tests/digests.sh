#!/usr/bin/env bash
# Digests of what a program computes: run before and after a change that must keep every bit, and compare.
# Usage: tests/digests.sh PROGRAM WORKFOLDER > digests.txt    lines "NAME sha256"; under 2 minutes on 2 cores
#   WORKFOLDER    new or empty. What was digested stays in WORKFOLDER/plain/NAME, to diff where digests differ
#   DFENGINE_DATA folder with faces140k/ and weights/, default ../shared/data
# Left out: version, machine, seconds, folders' names. Digests hold for one kind of machine: the instruction
# set that is chosen rounds in its own way. Also checked: one or two threads, interrupted or not, cached on
# disk or in memory, and with or without --check-finite the bits are the same.
set -euo pipefail
export LC_ALL=C
trap 'echo "digests: failed in line $LINENO" >&2' ERR
fail() {
  echo "digests: $1" >&2
  exit 1
}
[ $# -eq 2 ] || fail "usage: tests/digests.sh PROGRAM WORKFOLDER"
program=$(realpath "$1")
data=$(realpath "${DFENGINE_DATA:-$(dirname "$0")/../../shared/data}")
[ -x "$program" ] || fail "$1: no such program"
[ -d "$data/faces140k" ] || fail "$data: no faces140k/ in it; set DFENGINE_DATA"
mkdir -p "$2"
[ -z "$(ls -A "$2")" ] || fail "$2 is not empty"

# All runs see the same relative paths, wherever the work folder is.
cd "$2"
ln -s "$program" dfengine
ln -s "$data" data
mkdir plain runs logs out tables
version=$(./dfengine --version | sed 's/\./\\./g')

# Tensors and metadata of safetensors files, or JSON, in an order of its own and without what varies.
cat >plain.py <<'PY'
import hashlib, json, struct, sys

# The file's own digest is of these too.
VARIES = {"engine_version", "source_file", "seconds", "waited", "output", "threads", "cache", "places", "dfengine_digest"}

def kept(value):
    if isinstance(value, dict):
        return {k: kept(v) for k, v in value.items() if k not in VARIES}
    return [kept(v) for v in value] if isinstance(value, list) else value

with open(sys.argv[1], "rb") as file:
    whole = file.read()
if sys.argv[1].endswith(".json"):
    print(json.dumps(kept(json.loads(whole)), sort_keys=True, indent=1))
    sys.exit()
begin = 8 + struct.unpack("<Q", whole[:8])[0]
header = json.loads(whole[8:begin])
metadata = kept(header.pop("__metadata__", {}))
for name, t in sorted(header.items()):
    first, end = t["data_offsets"]
    print("tensor", name, t["dtype"], t["shape"], hashlib.sha256(whole[begin + first:begin + end]).hexdigest())
for key, value in sorted(metadata.items()):
    if key in ("train_args", "run_options", "train_state"):
        value = kept(json.loads(value))
        for row in value.get("rows", []):
            del row[-2:]  # seconds, share of waiting
    print("metadata", key, json.dumps(value, sort_keys=True))
PY

keep() {  # NAME: stdin without version, machine and times is kept, and its digest printed
  mkdir -p "$(dirname "plain/$1")"
  sed -E -e "s/$version/VERSION/g" -e 's,(<dt>processor</dt><dd>)[^<]*,\1,' \
    -e '/milliseconds/d' >"plain/$1"
  echo "$1 $(sha256sum <"plain/$1" | cut -d' ' -f1)"
}
plain() { python3 plain.py "$1"; }
# files FOLDER: name and digest of every file in it
files() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum); }
# says NAME COMMAND...: what the program prints
says() { ./dfengine "${@:2}" 2>"logs/${1//\//_}" | keep "$1"; }
quietly() { ./dfengine "$@" >>logs/quiet 2>&1 || fail "$*: $(tail -n 3 logs/quiet)"; }

digest_run() {  # NAME: all files of a run folder
  local run=runs/$1 file
  for file in best.safetensors last.ckpt args.json; do plain "$run/$file" | keep "$1/$file"; done
  cut -d, -f1-9 "$run/results.csv" | keep "$1/results.csv"
  keep "$1/report.html" <"$run/report.html"
  files "$run/charts" | keep "$1/charts"
  if [ -e "$run/bad_files.csv" ]; then keep "$1/bad_files.csv" <"$run/bad_files.csv"; fi
}
# train NAME OPTION...: with $threads threads; what it says of phases (planned memory) and epochs is kept as well
threads=2
train() {
  local name=$1
  ./dfengine train --output "runs/$name" --threads "$threads" --no-progress "${@:2}" >"logs/$name" 2>&1 ||
    fail "train $name: $(tail -n 3 "logs/$name")"
  grep -E '^(training|epoch|  t|  v|stopped|best)' "logs/$name" |
    sed -E 's/ \| [0-9:]+ \([0-9]+ % waiting for data\)//' | keep "$name/log"
  digest_run "$name"
}
interrupted() {  # NAME PATTERN OPTION...: Ctrl-C as soon as the log has the pattern, then on to the end
  local name=$1 code=0 pid
  ./dfengine train --output "runs/$name" --threads 2 "${@:3}" >"logs/$name" 2>&1 &
  pid=$!
  until grep -q "$2" "logs/$name" || ! kill -0 "$pid" 2>/dev/null; do sleep .02; done
  kill -INT "$pid" 2>/dev/null || true
  wait "$pid" || code=$?
  [ "$code" -eq 130 ] || fail "train $name: exit code $code instead of 130: $(tail -n 3 "logs/$name")"
  quietly train --output "runs/$name" --resume --threads 2
  digest_run "$name"
}
same() {  # NAME OTHER...: runs that must not differ from the first
  local first=$1 name
  shift
  for name in "${@/%//best.safetensors}" "${@/%//last.ckpt}" "${@/%//results.csv}"; do
    cmp -s "plain/$name" "plain/$first/${name#*/}" || fail "$name differs from that of $first"
  done
}
evaluate() {  # NAME OPTION...
  local out=out/$1
  says "$1/stdout" eval --output "$out" --threads 2 --no-progress "${@:2}"
  plain "$out/metrics.json" | keep "$1/metrics.json"
  keep "$1/predictions.csv" <"$out/predictions.csv"
  keep "$1/report.html" <"$out/report.html"
  files "$out/charts" | keep "$1/charts"
}

# ---- Sets: drawn ones, links to the first faces, tables with columns that say a little
weights=data/weights keras=data/weights/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5
torchvision=$weights/mobilenet_v2_100_torchvision.safetensors onnx=$weights/mobilenet_v2_100_folded.onnx
quietly synth --output synth --count 200 --size 96 --seed 3
find synth -exec touch -d @1600000000 {} +  # packed files hold the pictures' times
files synth | keep synth
cp -r synth broken
truncate -s 900 broken/train/fake/00001.jpg
for split in train:64 valid:32 test:32; do
  for class in real fake; do
    from=data/faces140k/${split%:*}/$class to=faces/${split%:*}/$class
    mkdir -p "$to"
    find "$from/" -name '*.jpg' | sort | sed "${split#*:}q" |
      while read -r face; do ln -s "$(realpath "$face")" "$to/"; done
  done
  name=${split%:*}
  awk -F, -v OFS=, '{ sub(/\r$/, "") } NR == 1 { print $0, "age", "camera"; next }
    NR < 100 { print $0, 20 + NR * 7919 % 41 + 21 * $4, "c" (NR * 31 + (NR % 3) * $4) % 4 }' \
    "data/faces140k/$name.csv" >"tables/$name.csv"
done

# ---- Training
small=(--width 0.35 --img-size 96 --batch-size 16 --lr 2e-3 --epochs 4)
train default --data synth "${small[@]}"
threads=1 train one_thread --data synth "${small[@]}"
interrupted interrupted '^epoch 2/4' --data synth "${small[@]}"
train disk --data synth "${small[@]}" --cache disk
train finite --data synth "${small[@]}" --check-finite
same default one_thread interrupted disk finite
DFENGINE_ISA=avx2 train avx2 --data synth "${small[@]}"
DFENGINE_ISA=baseline train baseline --data synth "${small[@]}"
train adamw --data synth "${small[@]}" --optimizer adamw --weight-decay .05 --schedule plateau --seed 5
augmented=(--scale '.6,1' --ratio '.8,1.25' --color-jitter '.4,.3,.2,.1' --downscale-prob .5 --downscale '.4,.9'
  --blur-prob .5 --blur-sig '.1,2' --jpg-prob .5 --jpg-qual '40,90' --reprob .5)
train augmented --data synth "${small[@]}" "${augmented[@]}"
interrupted augmented_interrupted '^epoch 3/4' --data synth "${small[@]}" "${augmented[@]}"
same augmented augmented_interrupted
train settings --data synth "${small[@]}" --no-hflip --resize bicubic --crop center --schedule constant --warmup 0 \
  --patience 1 --threshold-metric fpr@0.1
train broken --data broken "${small[@]}" --resize nearest --threshold-metric f1
train divided --data synth/train "${small[@]}" --fractions .7,.2,.1 --threshold-metric eer
quietly pack --data synth packed.dfpack --img-size 96
sha256sum packed.dfpack | keep packed.dfpack
train packed --data packed.dfpack "${small[@]}"
train seed_recipe --data faces --recipe seed --weights "$torchvision" --epochs 2 --img-size 128
train finetune --data faces --weights "$torchvision" --epochs 2 --head-epochs 1
unfreeze=(--data faces --weights "$keras" --freeze 10 --unfreeze-at-epoch 3 --epochs 3 --img-size 128)
train unfreeze "${unfreeze[@]}"
interrupted unfreeze_interrupted '^epoch 2/3' "${unfreeze[@]}"
same unfreeze unfreeze_interrupted
train keras --data data/faces140k --csv tables/train.csv --valid-csv tables/valid.csv --weights "$keras" --epochs 2
train onnx --data faces --weights "$onnx" --epochs 2 --img-size 128
train onnx_frozen --data faces --weights "$onnx" --epochs 2 --img-size 128 --freeze all

# ---- Figures, predictions, pictures
best=runs/finetune/best.safetensors faces=(faces/test/real/00*.jpg)
evaluate eval --model "$best" --data faces
evaluate eval_crops --model "$best" --data faces --tta crops
evaluate eval_perturb --model runs/keras/best.safetensors --data faces --perturb --tta flip
evaluate eval_packed --model runs/packed/best.safetensors --data packed.dfpack --threshold .4
for format in csv json table; do
  says "predict_$format" predict --model "$best" --format "$format" "${faces[@]::4}"
done
for layer in pooled logits; do
  for model in "$best" "$torchvision" "$keras" "$onnx"; do
    [ "$layer $model" = "logits $keras" ] && continue  # a base alone has none
    quietly embed --model "$model" --layer "$layer" --output out/embedded.safetensors "${faces[@]::8}"
    plain out/embedded.safetensors | keep "embed/$layer/$(basename "$model")"
  done
done
for class in called fake; do
  quietly explain --model "$best" --class "$class" --output "out/explain_$class" "${faces[@]::4}" faces/test/fake
  files "out/explain_$class" | keep "explain_$class"
done
quietly augment --preview out/augment.png --data faces/train "${augmented[@]}"
keep augment.png <out/augment.png

# ---- Files and plans
converted() {  # NAME.EXTENSION IN OPTION...
  quietly convert "$2" "out/$1" "${@:3}"
  if [[ $1 == *.onnx ]]; then keep "convert/$1" <"out/$1"; else plain "out/$1" | keep "convert/$1"; fi
}
converted finetune.onnx "$best"
converted finetune_outside.onnx "$best" --normalize outside
converted keras.onnx runs/keras/best.safetensors
converted unfolded.safetensors "$onnx" --unfold-bn --calibrate faces/train --threads 2
for file in "$best" "$weights"/*; do
  says "info/$(basename "$file")" info "$file"
  converted "$(basename "$file").safetensors" "$file"
done
plan() {  # NAME OPTION...
  says "plan/$1/steps" info "$torchvision" --plan --deterministic "${@:2}"
  grep ' arena ' "plain/plan/$1/steps" | keep "plan/$1/totals"
}
for batch in 1 32; do plan "cpu_infer_$batch" --batch-size "$batch"; done
for freeze in none 10 all; do plan "cpu_train_$freeze" --phase train --batch-size 32 --freeze "$freeze"; done
for precision in fp16 bf16 fp32; do
  plan "cuda_infer_$precision" --device cuda --batch-size 32 --precision "$precision"
  plan "cuda_train_$precision" --device cuda --batch-size 256 --phase train --precision "$precision"
done
plan cuda_train_10 --device cuda --batch-size 256 --phase train --freeze 10
says plan/dot info "$keras" --plan --phase train --format dot

# ---- Tables, audits, several runs together
tables=(--data data/faces140k --test-csv tables/test.csv)
says metadata/stdout metadata train --csv tables/train.csv --valid-csv tables/valid.csv "${tables[@]}" --keep-leaks \
  --file-properties --image-model runs/keras/best.safetensors --output out/metadata
files out/metadata | keep metadata/files
says metadata/eval metadata eval --model out/metadata/metadata.json --csv tables/test.csv "${tables[@]::2}"
says hybrid/stdout hybrid train --model runs/keras/best.safetensors --csv tables/valid.csv "${tables[@]}" \
  --output out/hybrid.safetensors
says cascade/stdout cascade --model out/hybrid.safetensors --metadata out/metadata/metadata.json \
  --csv tables/valid.csv "${tables[@]}" --max-error .25 --output out/cascade.safetensors
for name in hybrid cascade; do
  plain "out/$name.safetensors" | keep "$name/model"
  says "$name/predict" predict --model "out/$name.safetensors" --csv tables/test.csv "${tables[@]::2}" --format csv
done
says audit/stdout audit --csv data/faces140k/train.csv --valid-csv data/faces140k/valid.csv \
  --test-csv data/faces140k/test.csv --data data/faces140k --output out/audit
files out/audit | keep audit/files
quietly ablate --data faces --weights "$keras" --output out/ablate --seeds 1 --epochs 2 --threads 2
for run in all last normal scratch seed; do
  plain "out/ablate/$run-0/best.safetensors" | keep "ablate/$run-0"
done
cut -d, -f1-9 out/ablate/ablation.csv | keep ablate/csv
plain out/ablate/ablation.json | keep ablate/json
sed 's/| [0-9.]* |$/|/' out/ablate/ablation.md | keep ablate/md
keep ablate/svg <out/ablate/ablation.svg
quietly compare runs/default runs/adamw runs/unfreeze --output out/compare
sed -E 's,<td>[0-9.]+</td></tr>,</tr>,' out/compare/compare.html | keep compare/html  # minutes stand last
files out/compare/charts | keep compare/charts
