#!/usr/bin/env bash
# The report pages in a real browser: draws a small set, trains, evaluates, compares, and opens each
# page in headless Chromium at 1280 and 390 pixels, light and dark. Fails on console messages, on
# anything wider than the window, on text that overlaps or is cut, and on pictures that do not load.
# Usage: tests/report_screenshots.sh PROGRAM [FOLDER [PAGE.html...]]
#   PROGRAM  the dfengine to test
#   FOLDER   where the screenshots stay (PAGE-WIDTH-THEME.png); default: nowhere
#   PAGE     pages to look at in place of those of a fresh run
# Exit codes: 0 sound, 1 a fault, 77 Chromium is missing (Debian package chromium).
set -euo pipefail
checks=$(realpath "$(dirname "$0")/report_checks.js")
program=$(realpath "${1:?usage: tests/report_screenshots.sh PROGRAM [FOLDER [PAGE.html...]]}")
folder=${2:-}
shift $(($# < 2 ? $# : 2))
pages=("$@")

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$browser" ]; then
  echo "skip: no Chromium here (on Debian: apt-get install chromium)"
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -n "$folder" ]; then mkdir -p "$folder" && folder=$(realpath "$folder"); fi
for i in "${!pages[@]}"; do pages[i]=$(realpath "${pages[i]}"); done

if [ ${#pages[@]} -eq 0 ]; then
  cd "$work"
  "$program" synth --output set --count 200 --seed 3 >/dev/null
  for lr in 1e-3 3e-4; do
    "$program" train --data set --output "run-$lr" --width 0.1 --img-size 96 --epochs 2 \
      --batch-size 16 --lr "$lr" --threads 1 --no-progress >/dev/null
  done
  "$program" eval --model run-1e-3/best.safetensors --data set --output eval --threads 1 >/dev/null
  "$program" compare run-1e-3 run-3e-4 --output compare >/dev/null
  pages=("$work"/{run-1e-3/report,eval/report,compare/compare}.html)
fi

faults=0
look() {  # page width theme name
  local page=$1 width=$2 theme=$3 name=$4 scheme=1 height answer
  if [ "$theme" = dark ]; then scheme=0; fi
  # A copy whose last script writes what it finds into the page.
  { cat "$page"; echo "<script>"; cat "$checks"; echo "</script>"; } >"$work/copy.html"
  local flags=(--headless=new --no-sandbox --disable-gpu --hide-scrollbars --enable-logging=stderr
    "--user-data-dir=$work/profile" "--blink-settings=preferredColorScheme=$scheme")
  "$browser" "${flags[@]}" --window-size="$width",900 --virtual-time-budget=3000 --dump-dom \
    "file://$work/copy.html" >"$work/dom" 2>"$work/log"
  answer=$(sed -n '/<pre id="checks"/,/<\/pre>/p' "$work/dom" | sed 's/<[^>]*>//g')
  if [ -n "$folder" ]; then
    height=$(grep -o 'data-height="[0-9]*"' "$work/dom" | grep -o '[0-9]*' | head -1)
    "$browser" "${flags[@]}" --window-size="$width","${height:-900}" \
      --screenshot="$folder/$name-$width-$theme.png" "file://$page" >/dev/null 2>>"$work/log"
  fi
  if [ "$answer" != sound ]; then
    echo "$page at $width, $theme: ${answer:-the checks did not run}"
    faults=$((faults + 1))
  fi
  if grep ':CONSOLE' "$work/log" >&2; then faults=$((faults + 1)); fi
}

for page in "${pages[@]}"; do
  name=$(basename "$(dirname "$page")")
  for width in 1280 390; do
    for theme in light dark; do look "$page" "$width" "$theme" "$name"; done
  done
done
# The charts' own files, all in one page.
mkdir "$work/charts"
{
  echo '<!DOCTYPE html><meta charset="utf-8"><body>'
  for page in "${pages[@]}"; do
    find "$(dirname "$page")/charts" -name '*.svg' -exec sed '/^<?xml/d' {} +
  done
} >"$work/charts/charts.html"
look "$work/charts/charts.html" 1280 light charts
if [ "$faults" -gt 0 ]; then
  echo "report screenshots: $faults faults"
  exit 1
fi
echo "report screenshots: ${#pages[@]} pages sound at 1280 and 390 pixels, light and dark"
