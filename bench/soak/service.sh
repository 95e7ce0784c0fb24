#!/usr/bin/env bash
# dfengine serve under load, beside `dfengine predict` in the same run, and beside PyTorch behind FastAPI where PYTHON
# has both. Every answer is compared with predict's.
# Usage: bench/soak/service.sh BUILD_FOLDER MODEL FOLDER_OF_JPEGS
#   SECONDS_EACH  of each load, default 20        CLIENTS  default 32; the overload has four times as many
#   KILLS         SIGTERMs under load, default 100        BODIES   hostile ones, default 10000
#   THREADS       for every side, default 2        PYTHON  with bench/peers/requirements.txt, default: no peer
set -euo pipefail
build=$(realpath "${1:?usage: bench/soak/service.sh BUILD_FOLDER MODEL FOLDER_OF_JPEGS}")
model=$(realpath "$2")
folder=$(realpath "$3")
here=$(realpath "$(dirname "$0")")
seconds=${SECONDS_EACH:-20} clients=${CLIENTS:-32} kills=${KILLS:-100} bodies=${BODIES:-10000} threads=${THREADS:-2}
program=$build/dfengine load=$build/bench/service_load
work=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
server=
mapfile -t files < <(find "$folder" -iname '*.jp*g' | sort | head -n 400)
[ "${#files[@]}" -gt 0 ] || { echo "service: no JPEG in $folder" >&2; exit 2; }

start() {  # options
  : >"$work/out"  # what the one before has said must not be taken for this one's
  "$program" serve --model "best=$model" --port 0 --threads "$threads" --no-log "$@" >"$work/out" 2>"$work/err" &
  server=$!
  until grep -q listening "$work/out"; do kill -0 "$server"; sleep 0.05; done
  port=$(grep -oE '[0-9]+$' "$work/out")
}
stop() {
  kill -TERM "$server"
  wait "$server"
}
resident() { awk '/VmRSS/ {print $2}' "/proc/$server/status"; }
predict_rate() {
  local begin end
  begin=$(date +%s.%N)
  "$program" predict --model "$model" --threads "$threads" --format json "${files[@]}" >"$work/expected.json"
  end=$(date +%s.%N)
  awk "BEGIN {printf \"%.1f\", ${#files[@]} / ($end - $begin)}"
}

echo "${#files[@]} pictures, $threads threads, $(nproc) processors, load average $(cut -d' ' -f1 /proc/loadavg)"
echo "predict: $(predict_rate) pictures a second"
start
echo "$clients clients: $("$load" "$port" "$clients" "$seconds" "$work/expected.json" "${files[@]}"), resident $(resident) KiB"
stop
echo "predict again: $(predict_rate) pictures a second"

start --max-queue 64
"$load" "$port" "$clients" 5 "$work/expected.json" "${files[@]}" >/dev/null
few=$(resident)
"$load" "$port" $((4 * clients)) 5 "$work/expected.json" "${files[@]}" >/dev/null
before=$(resident)
echo "$((4 * clients)) clients, --max-queue 64: $("$load" "$port" $((4 * clients)) "$seconds" "$work/expected.json" "${files[@]}")," \
  "resident $few KiB after $clients, then from $before to $(resident) KiB"
stop

start
"$here/hostile_bodies.py" "$port" 500 "$work/expected.json" "${files[@]}" >/dev/null
before=$(resident)
echo "hostile bodies: $("$here/hostile_bodies.py" "$port" "$bodies" "$work/expected.json" "${files[@]}"), resident from $before to $(resident) KiB"
stop

lost=0 answered=0
for ((i = 0; i < kills; ++i)); do
  start
  "$load" "$port" 8 20 "$work/expected.json" "${files[@]}" >"$work/load" &
  loader=$!
  sleep "0.$((RANDOM % 9 + 1))"
  stop
  wait "$loader"
  lost=$((lost + $(grep -oE '"lost":[0-9]+' "$work/load" | cut -d: -f2)))
  answered=$((answered + $(grep -oE '"answered":[0-9]+' "$work/load" | cut -d: -f2)))
done
echo "$kills times SIGTERM under load: $answered answered, $lost accepted and not answered"

if [ -n "${PYTHON:-}" ]; then
  : >"$work/out"
  "$PYTHON" "$here/../peers/fastapi_mobilenetv2.py" --port 0 --threads "$threads" >"$work/out" 2>"$work/err" &
  server=$!
  until grep -q listening "$work/out"; do kill -0 "$server"; sleep 0.1; done
  port=$(grep -oE '[0-9]+$' "$work/out")
  echo "PyTorch behind FastAPI, $clients clients: $("$load" "$port" "$clients" "$seconds" - "${files[@]}"), resident $(resident) KiB"
  kill -TERM "$server"
  wait "$server" || true
fi
