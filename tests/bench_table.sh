#!/usr/bin/env bash
# bench/peers/table.py on figures made up for it: ratios, bars met and missed, what nobody measured.
# Exit codes: 0 sound, 1 a fault, 77 Python is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v python3 >/dev/null || {
  echo "skip: no python3 here"
  exit 77
}
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

report() {  # DEVICE PRECISION ROW,...
  cat <<JSON
{"engine_version": "1.2.3", "device": "$1", "device_name": "a machine", "precision": "$2", "threads": 2,
 "isa": "avx2", "width": 1.0, "img_size": 224, "copy_gigabytes_per_second": 2000.0, "network": [$3]}
JSON
}
ours() {  # WORK BATCH IMAGES_PER_SECOND PLANNED_BYTES
  printf '{"work": "%s", "batch": %s, "images_per_second": %s, "ms": %s, "planned_bytes": %s}' \
    "$1" "$2" "$3" "$(python3 -c "print($2 * 1e3 / $3)")" "$4"
}
theirs() {  # PEER MODE WORK BATCH IMAGES_PER_SECOND PEAK_BYTES
  printf '{"peer": "%s", "version": "9", "mode": "%s", "work": "%s", "batch": %s, "img_per_s": %s, "median_ms": %s, "peak_bytes": %s}\n' \
    "$1" "$2" "$3" "$4" "$5" "$(python3 -c "print($4 * 1e3 / $5)")" "$6"
}
faults=0
expect() {  # PATTERN: a line that must be there
  grep -qE -- "$1" "$work/out" || {
    echo "no line like: $1"
    faults=$((faults + 1))
  }
}

report cuda fp16 "$(ours infer 1 4000 1), $(ours infer 256 60000 1), $(ours train 256 10000 7e9), $(ours head 256 600000 1)" \
  >"$work/ours.json"
{
  theirs torch eager infer 1 200 5
  theirs torch graph infer 1 2000 5
  theirs torch compile infer 256 40000 5
  theirs torch eager train 256 8000 10e9
  theirs torch compile train 256 7000 5e9
} >"$work/peers.jsonl"
python3 bench/peers/table.py "$work/ours.json" "$work/peers.jsonl" >"$work/out"
expect '^dfengine 1\.2\.3, a machine, fp16, 2 threads, avx2; MobileNetV2 1 at 224; a copy moves 2000\.0 GB/s'
expect '^infer batch 1 +4000\.0 +4000\.0  torch 9 graph +2000\.0 +2000\.0 +2\.00x +2\.00x$'
expect '^infer batch 256 +60000\.0 +60000\.0  torch 9 compile +40000\.0 +40000\.0 +1\.50x +1\.50x$'
expect '^infer batch 256, img/s +60000\.0 +40000\.0 \(torch 9 compile\) +1\.50x +>= 1\.2x  met$'
expect '^infer batch 1, ms +0\.250 ms +0\.500 ms \(torch 9 graph\) +0\.50x +<= 0\.6x  met$'
expect '^train batch 256, img/s +10000\.0 +8000\.0 \(torch 9 eager\) +1\.25x +>= 1\.5x  MISSED$'
expect '^train batch 256, memory +7\.00 GB +10\.00 GB \(torch 9 eager\) +0\.70x +<= 0\.6x  MISSED$'
expect '^head batch 256, img/s +600000\.0 +- +- +>= 500000  met$'
expect '^frozen batch 256, img/s +not measured$'

# On the CPU a bar is against the best peer's median of the rounds, and what dfengine lacks is an error.
report cpu fp32 "$(ours infer 32 300 1)" >"$work/ours.json"
report cpu fp32 "$(ours infer 32 240 1)" >"$work/again.json"
{
  theirs onnxruntime '' infer 32 200 null
  theirs onnxruntime '' infer 32 260 null
  theirs ncnn fp32 infer 32 190 null
  theirs torch eager train 32 20 null
} >"$work/peers.jsonl"
if python3 bench/peers/table.py "$work/ours.json" "$work/again.json" "$work/peers.jsonl" >"$work/out" 2>&1; then
  echo "a peer's work that dfengine lacks went unnoticed"
  faults=$((faults + 1))
fi
expect '^infer batch 32 +270\.0 +300\.0  onnxruntime 9 +230\.0 +260\.0 +1\.17x +1\.15x$'
expect '^infer batch 32, img/s +270\.0 +230\.0 \(onnxruntime 9\) +1\.17x +>= 1\.25x  MISSED$'
expect '^infer batch 1, img/s +not measured$'
expect 'did not measure: train batch 32$'

if [ "$faults" -gt 0 ]; then
  cat "$work/out"
  exit 1
fi
echo "the table says what its figures say"
