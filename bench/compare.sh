#!/usr/bin/env bash
# dfengine beside its peers on this machine, one after the other in one run: MobileNetV2 1.0 at 224.
# On the CPU beside OpenVINO and, in fp32, ONNX Runtime and PyTorch, in rounds that alternate; on a GPU
# beside PyTorch's modes, with the project's bars. Prints both sides and their ratio.
# Usage: bench/compare.sh [--device cpu|cuda] [--precision fp16|bf16|fp32] [--program DFENGINE]
#                         [--onnx FOLDED_ONNX] [--json FOLDER]
#   --device     default cpu
#   --precision  of both sides; default fp16 with cuda, fp32 on the CPU, which has bf16 too
#   --program    a dfengine to measure; default: the one of preset cpu or cuda, built now
#   --onnx       CPU only; default weights/mobilenet_v2_100_folded.onnx under $DFENGINE_DATA or ../shared/data
#   --json       where ours.json and peers.jsonl stay; default: nowhere
#   PYTHON       an interpreter with bench/peers/requirements.txt installed, default python3
#   THREADS      for every side, default 2
#   ROUNDS       on the CPU, default 3
#   TORCH        more options for bench/peers/torch_mobilenetv2.py, such as "--modes eager graph"
set -euo pipefail
usage() {
  echo "compare: $1" >&2
  exit 2
}
device=cpu precision='' program='' onnx='' results=''
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || usage "$1 wants a value"
  case $1 in
    --device) device=$2 ;;
    --precision) precision=$2 ;;
    --program) program=$(realpath "$2") ;;
    --onnx) onnx=$(realpath "$2") ;;
    --json) mkdir -p "$2" && results=$(realpath "$2") ;;
    *) usage "unknown option $1" ;;
  esac
  shift 2
done
case $device in cpu | cuda) ;; *) usage "--device is cpu or cuda" ;; esac
if [ "$device" = cpu ]; then precision=${precision:-fp32}; else precision=${precision:-fp16}; fi
if [ "$device $precision" = "cpu fp16" ]; then usage "the CPU computes in fp32 or bf16"; fi
cd "$(dirname "$0")/.."

python=${PYTHON:-python3} threads=${THREADS:-2}
read -ra torch_options <<<"${TORCH:-}"
peers=torchvision
if [ "$device" = cpu ]; then
  peers=onnxruntime,openvino,torchvision
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
ours=(bench --device "$device" --threads "$threads" --precision "$precision")
torch=(bench/peers/torch_mobilenetv2.py --device "$device" --threads "$threads")
if [ "$device" = cuda ]; then torch+=(--precision "$precision"); fi
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
    peer OpenVINO bench/peers/openvino_mobilenetv2.py "$onnx" --threads "$threads" --precision "$precision"
  fi
  if [ "$device $precision" = "cpu fp32" ]; then
    peer "ONNX Runtime" bench/peers/onnxruntime_mobilenetv2.py "$onnx" --threads "$threads"
  fi
  # PyTorch on a CPU is measured in fp32 alone.
  if [ "$device $precision" != "cpu bf16" ]; then peer PyTorch "${torch[@]}" "${torch_options[@]}"; fi
done
"$python" bench/peers/table.py "$results"/ours.*.json "$results/peers.jsonl"
