#!/usr/bin/env python3
"""Runs the Python text of weights/README.md, "Back to Python", against dfengine predict. Not in CI:
needs torch, torchvision, safetensors, Pillow.

Usage: tests/python_roundtrip.py DFENGINE MODEL PICTURE_OR_FOLDER...
DFENGINE is the program, MODEL a detector. Prints the greatest difference of prob_fake and fails above
1e-4. Pictures should be PNG: JPEG decoders differ by a level here and there.
"""

import importlib.util
import json
import pathlib
import re
import subprocess
import sys

LIMIT = 1e-4


def pictures(paths):
    for path in map(pathlib.Path, paths):
        yield from sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def predict(program, model, files):
    out = subprocess.run([program, "predict", "--model", model, "--format", "json", *files],
                         check=True, capture_output=True, text=True).stdout
    return [row["prob_fake"] for row in json.loads(out)["results"]]


def detector_class():
    readme = pathlib.Path(__file__).resolve().parent.parent / "weights" / "README.md"
    text = readme.read_text().split("## Back to Python")[1]
    names = {}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], names)
    return names["Detector"]


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    packages = {"torch": "torch", "torchvision": "torchvision", "safetensors": "safetensors", "PIL": "Pillow"}
    missing = [package for module, package in packages.items() if importlib.util.find_spec(module) is None]
    if missing:
        sys.exit(f"not run: this Python lacks {', '.join(missing)}")
    import torch
    from PIL import Image

    program, model, *paths = sys.argv[1:]
    files = [str(p) for p in pictures(paths)]
    detector = detector_class()(model)
    with torch.no_grad():
        got = [detector(detector.pixels(Image.open(f).convert("RGB"))[None]).item() for f in files]
    expected = predict(program, model, files)
    worst = max(abs(a - b) for a, b in zip(got, expected, strict=True))
    print(f"PyTorch {torch.__version__}: max |dp| {worst:.3g} over {len(files)} pictures, "
          f"p from {min(expected):.4f} to {max(expected):.4f}")
    sys.exit(0 if worst < LIMIT else f"difference above {LIMIT}")


main()
