#!/usr/bin/env bash
# dfengine beside ONNX Runtime and PyTorch on this machine, one after the other in one run:
# MobileNetV2 1.0 at 224, float, on the CPU. Prints both sides and their ratio.
# Usage: bench/compare.sh [FOLDED_ONNX]
#   FOLDED_ONNX  default: weights/mobilenet_v2_100_folded.onnx under $DFENGINE_DATA or ../shared/data
#   PYTHON       an interpreter with bench/peers/requirements.txt installed, default python3
#   THREADS      for every side, default 2
# The program names its cases network/infer/BATCH and network/train/BATCH and reports images as
# Google Benchmark's items_per_second.
set -euo pipefail
cd "$(dirname "$0")/.."

onnx=${1:-${DFENGINE_DATA:-../shared/data}/weights/mobilenet_v2_100_folded.onnx}
python=${PYTHON:-python3}
export DFENGINE_THREADS=${THREADS:-2}
if [ ! -f "$onnx" ]; then
  echo "compare: $onnx: no such file; give the path of the folded .onnx" >&2
  exit 2
fi
"$python" -c 'import onnxruntime, torchvision' || {
  echo "compare: $python lacks the peers: $python -m pip install -r bench/peers/requirements.txt" >&2
  exit 2
}

tests/build.sh cpu dfengine_bench >&2
echo "load average (other work falsifies the ratios; calm is near 0): $(cut -d' ' -f1-3 /proc/loadavg)" >&2
results=$(mktemp -d)
trap 'rm -r "$results"' EXIT
echo "dfengine ..." >&2
build/cpu/bench/dfengine_bench --benchmark_filter=network --benchmark_format=json \
  --benchmark_repetitions=7 >"$results/ours.json"
echo "ONNX Runtime ..." >&2
"$python" bench/peers/onnxruntime_mobilenetv2.py "$onnx" --threads "$DFENGINE_THREADS" \
  >"$results/peers.jsonl"
echo "PyTorch ..." >&2
"$python" bench/peers/torch_mobilenetv2.py --threads "$DFENGINE_THREADS" >>"$results/peers.jsonl"
"$python" bench/peers/table.py "$results/ours.json" "$results/peers.jsonl"
