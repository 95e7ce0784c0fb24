#!/usr/bin/env bash
# The Python wheel: built from an installed prefix, installed into a fresh environment with NumPy and Pillow, and
# compared with `dfengine predict`. It asks the Python package index for the backend and those two.
# Usage: tests/wheel.sh PREFIX    a prefix with the shared library and the program (tests/package.sh BUILD FOLDER
#                                 leaves FOLDER/shared)
# Exit codes: 0 sound, 1 a fault, 77 no package index can be reached.
set -euo pipefail
source=$(realpath "$(dirname "$0")/..")
prefix=$(realpath "${1:?usage: tests/wheel.sh PREFIX}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/build" "$work/fresh"
if ! "$work/build/bin/pip" -q install hatchling 2>"$work/log"; then
  if grep -qiE 'no matching distribution|connection|resolve' "$work/log"; then
    echo "skip: no package index here, or no hatchling on it"
    exit 77
  fi
  cat "$work/log" >&2
  exit 1
fi
cp -r "$source/apps/python" "$work/package"
cp "$source/LICENSE" "$source/THIRD_PARTY.md" "$work/package"
DFENGINE_PREFIX=$prefix "$work/build/bin/pip" -q wheel --no-deps --no-build-isolation -w "$work" "$work/package"
"$work/fresh/bin/pip" -q install numpy pillow "$work"/dfengine-*.whl

program=$work/fresh/bin/dfengine
cd "$work"
"$program" synth --output set --count 40 --seed 5 >/dev/null
"$program" train --data set --output run --width 0.1 --img-size 96 --epochs 1 --batch-size 16 --threads 1 --no-progress >/dev/null
mapfile -t pictures < <(find set/test -name '*.jpg' | sort)
"$program" predict --model run/best.safetensors --format json "${pictures[@]}" >expected.json
"$work/fresh/bin/python" - <<'PYTHON'
import json
import os
import signal
import threading

import numpy as np
from PIL import Image

import dfengine

with open("expected.json", encoding="utf-8") as stream:
    expected = json.load(stream)
paths = [r["path"] for r in expected["results"]]
probs = [r["prob_fake"] for r in expected["results"]]
model = dfengine.Model("run/best.safetensors")
assert model.threshold == expected["threshold"]
for path, row in zip(paths, expected["results"]):
    answer = model.classify(path)
    assert (answer.probability, answer.verdict) == (row["prob_fake"], row["verdict"]), (answer, row)

images = [Image.open(p) for p in paths]
arrays = [np.asarray(i.convert("RGB")) for i in images]
for pictures in (paths, [open(p, "rb").read() for p in paths], [bytearray(open(p, "rb").read()) for p in paths],
                 [np.fromfile(p, np.uint8) for p in paths], images, arrays,
                 [np.ascontiguousarray(a[::-1])[::-1] for a in arrays]):
    assert [a.probability for a in model.classify(pictures)] == probs, type(pictures[0])
with open("run/best.safetensors", "rb") as stream:
    file = stream.read()
for source in (file, memoryview(file)):
    assert dfengine.Model(source).classify(paths[0]).probability == probs[0]

answer = model.classify(paths[0], features=True, heat_map=True)
assert np.asarray(answer.heat_map).shape == (3, 3) and np.asarray(answer.features).ndim == 1
mixed = model.classify([paths[0], b"no picture", "missing.jpg"])
assert mixed[0].error == "" and mixed[1].error and "missing.jpg" in mixed[2].error
for wrong in (lambda: model.classify("missing.jpg"), lambda: dfengine.Model("missing.safetensors"),
              lambda: model.session(threads=-1), lambda: model.session(threads=2**32 + 1),
              lambda: model.session(batch=2**32 + 3), lambda: model.session(max_pixels=2**64 + 1)):
    try:
        wrong()
        raise AssertionError("no error")
    except dfengine.Error as error:
        assert str(error)

def refused(kind, words, call):
    try:
        call()
    except kind as error:
        assert words in str(error), error
    else:
        raise AssertionError("no error")
refused(TypeError, "bytes of a file", lambda: model.classify(np.zeros((4, 4))))
refused(TypeError, "bytes of a file", lambda: model.classify(np.zeros(4)))
refused(ValueError, "cpu, cuda, auto", lambda: model.session(device="gpu"))
refused(ValueError, "fp16, bf16, fp32", lambda: model.session(precision="float"))
refused(ValueError, "null byte", lambda: model.classify(paths[0] + "\0.png"))
refused(ValueError, "null byte", lambda: dfengine.Model("run/best.safetensors\0.x"))

found = []
def work():
    session = model.session(threads=1)
    found.append([a.probability for a in session.classify(paths)])
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads:
    t.start()
for t in threads:
    t.join()
assert found == [probs] * 4
model.session().selftest()

# A child of fork() answers, and ends; one that waits for its parent's threads gets the alarm.
held, shared = model.session(threads=3), dfengine.Model("run/best.safetensors")
shared.classify(paths[0])
child = os.fork()
if child == 0:
    signal.alarm(60)
    ways = [held, shared, shared.session(threads=3)]
    right = all([a.probability for a in way.classify(paths)] == probs for way in ways)
    del held, shared, ways
    os._exit(0 if right else 1)
assert os.waitpid(child, 0)[1] == 0, "fork"
assert [a.probability for a in held.classify(paths)] == probs
PYTHON
test "$("$program" --version)" = "$("$work/fresh/bin/python" -c 'import dfengine; print(dfengine.version())')"
echo "wheel: $(basename "$work"/dfengine-*.whl), $(stat -c %s "$work"/dfengine-*.whl) bytes, answers as dfengine predict does"
