#!/usr/bin/env bash
# dfengine beside its peers on this machine, one after the other in one run: MobileNetV2 1.0 at 224.
# On the CPU beside OpenVINO, ONNX Runtime, ncnn and PyTorch, as far as each has the precision, in rounds that
# alternate; on a GPU beside PyTorch's modes. Prints both sides, their ratio, and the project's bars.
# Usage: bench/compare.sh [--device cpu|cuda] [--precision fp16|bf16|fp32|int8] [--program DFENGINE]
#                         [--onnx FOLDED_ONNX] [--pictures FOLDER] [--json FOLDER]
#   --device     default cpu
#   --precision  of both sides; default fp16 with cuda, fp32 on the CPU, which has bf16 and int8 too; for
#                int8 the peers' files are made by bench/peers/quantize_mobilenetv2.py
#   --program    a dfengine to measure; default: the one of preset cpu or cuda, built now
#   --pictures   int8 only: a folder to calibrate the peers by; default imagenet200 beside the weights
#   --onnx       CPU only; default weights/mobilenet_v2_100_folded.onnx under $DFENGINE_DATA or ../shared/data
#   --json       where ours.ROUND.json and peers.jsonl stay; default: nowhere
#   PYTHON       an interpreter with bench/peers/requirements.txt installed, default python3
#   THREADS      for every side, default 2
#   ROUNDS       on the CPU, default 3
#   TORCH        more options for bench/peers/torch_mobilenetv2.py, such as "--modes eager graph"
set -euo pipefail
usage() {
  echo "compare: $1" >&2
  exit 2
}
device=cpu precision='' program='' onnx='' pictures='' results=''
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || usage "$1 wants a value"
  case $1 in
    --device) device=$2 ;;
    --precision) precision=$2 ;;
    --program) program=$(realpath "$2") ;;
    --onnx) onnx=$(realpath "$2") ;;
    --pictures) pictures=$(realpath "$2") ;;
    --json) mkdir -p "$2" && results=$(realpath "$2") ;;
    *) usage "unknown option $1" ;;
  esac
  shift 2
done
case $device in cpu | cuda) ;; *) usage "--device is cpu or cuda" ;; esac
if [ "$device" = cpu ]; then precision=${precision:-fp32}; else precision=${precision:-fp16}; fi
case "$device $precision" in
  "cpu fp16") usage "the CPU computes in fp32, bf16 or int8" ;;
  "cuda int8") usage "int8 is for the CPU" ;;
esac
cd "$(dirname "$0")/.."

python=${PYTHON:-python3} threads=${THREADS:-2}
read -ra torch_options <<<"${TORCH:-}"
peers=torchvision
if [ "$device" = cpu ]; then
  peers=onnxruntime,openvino,ncnn,pnnx,torchvision
  onnx=${onnx:-${DFENGINE_DATA:-../shared/data}/weights/mobilenet_v2_100_folded.onnx}
  [ -f "$onnx" ] || usage "$onnx: no such file; give the path of the folded .onnx"
fi
"$python" -c "import $peers" ||
  usage "$python lacks the peers: $python -m pip install -r bench/peers/requirements.txt"
if [ -z "$program" ]; then
  tests/build.sh "$device" dfengine >&2
  program=build/$device/dfengine
fi
if [ -z "$results" ]; then
  results=$(mktemp -d)
  trap 'rm -r "$results"' EXIT
fi

echo "load average (other work falsifies the ratios; calm is near 0): $(cut -d' ' -f1-3 /proc/loadavg)" >&2
ours=(bench --device "$device" --threads "$threads")
if [ "$precision" = int8 ]; then ours+=(--quantized); else ours+=(--precision "$precision"); fi
openvino=$onnx
if [ "$precision" = int8 ]; then
  "$python" bench/peers/quantize_mobilenetv2.py "$onnx" \
    "${pictures:-${DFENGINE_DATA:-../shared/data}/imagenet200}" "$results/int8" >&2
  onnx=$results/int8/onnxruntime.onnx openvino=$results/int8/openvino.xml
fi
torch=(bench/peers/torch_mobilenetv2.py --device "$device" --threads "$threads")
if [ "$precision" != int8 ]; then torch+=(--precision "$precision"); fi
if [ "$device" = cpu ]; then torch+=(--modes eager compile); fi
: >"$results/peers.jsonl"
peer() { # name, script and its arguments
  echo "$1 ..." >&2
  "$python" "${@:2}" >>"$results/peers.jsonl"
}
rounds=1
if [ "$device" = cpu ]; then rounds=${ROUNDS:-3}; fi
for round in $(seq "$rounds"); do
  echo "round $round of $rounds: dfengine ..." >&2
  "$program" "${ours[@]}" --rounds 7 --json "$results/ours.$round.json" >&2
  if [ "$device" = cpu ]; then
    peer OpenVINO bench/peers/openvino_mobilenetv2.py "$openvino" --threads "$threads" --precision "$precision"
  fi
  case "$device $precision" in "cpu fp32" | "cpu int8")
    peer "ONNX Runtime" bench/peers/onnxruntime_mobilenetv2.py "$onnx" --threads "$threads" --mode "$precision"
    ;;
  esac
  if [ "$precision" = int8 ]; then continue; fi
  if [ "$device" = cpu ]; then
    peer ncnn bench/peers/ncnn_mobilenetv2.py "$onnx" --threads "$threads" --precision "$precision"
  fi
  peer PyTorch "${torch[@]}" "${torch_options[@]}"
done
"$python" bench/peers/table.py "$results"/ours.*.json "$results/peers.jsonl"
