#!/usr/bin/env bash
# dfengine beside its peers on this machine, one after the other in one run: MobileNetV2 1.0 at 224.
# On the CPU in float beside ONNX Runtime and PyTorch; on a GPU beside PyTorch's modes, with the project's
# bars. Prints both sides and their ratio.
# Usage: bench/compare.sh [--device cpu|cuda] [--precision fp16|bf16|fp32] [--program DFENGINE]
#                         [--onnx FOLDED_ONNX] [--json FOLDER]
#   --device     default cpu
#   --precision  with cuda, of both sides; default fp16
#   --program    a dfengine to measure; default: the one of preset cpu or cuda, built now
#   --onnx       CPU only; default weights/mobilenet_v2_100_folded.onnx under $DFENGINE_DATA or ../shared/data
#   --json       where ours.json and peers.jsonl stay; default: nowhere
#   PYTHON       an interpreter with bench/peers/requirements.txt installed, default python3
#   THREADS      for every side, default 2
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
if [ "$device" = cpu ] && [ -n "$precision" ]; then usage "--precision goes with --device cuda"; fi
precision=${precision:-fp16}
cd "$(dirname "$0")/.."

python=${PYTHON:-python3} threads=${THREADS:-2}
read -ra torch_options <<<"${TORCH:-}"
peers=torchvision
if [ "$device" = cpu ]; then
  peers=onnxruntime,torchvision
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
ours=(bench --device "$device" --threads "$threads" --rounds 7 --json "$results/ours.json")
torch=(bench/peers/torch_mobilenetv2.py --device "$device" --threads "$threads")
if [ "$device" = cuda ]; then
  ours+=(--precision "$precision")
  torch+=(--precision "$precision")
fi
echo "dfengine ..." >&2
"$program" "${ours[@]}" >&2
: >"$results/peers.jsonl"
if [ "$device" = cpu ]; then
  echo "ONNX Runtime ..." >&2
  "$python" bench/peers/onnxruntime_mobilenetv2.py "$onnx" --threads "$threads" >>"$results/peers.jsonl"
fi
echo "PyTorch ..." >&2
"$python" "${torch[@]}" "${torch_options[@]}" >>"$results/peers.jsonl"
"$python" bench/peers/table.py "$results/ours.json" "$results/peers.jsonl"
