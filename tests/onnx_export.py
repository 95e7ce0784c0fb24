#!/usr/bin/env python3
"""Compares dfengine's ONNX export with dfengine itself, through ONNX Runtime. Not in CI: needs numpy,
onnx, onnxruntime, Pillow.

Usage: tests/onnx_export.py DFENGINE MODEL PICTURE_OR_FOLDER...
DFENGINE is the program, MODEL a detector. Pictures must have the model's input size, so that no
resize stands between the two. Checks both --normalize modes, several batch sizes and the reading
back; prints the greatest difference of prob_fake and fails above 1e-4.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from PIL import Image

LIMIT = 1e-4


def pictures(paths):
    for path in map(pathlib.Path, paths):
        yield from sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def predict(program, model, files):
    out = subprocess.run(
        [program, "predict", "--model", model, "--format", "json", *files],
        check=True, capture_output=True, text=True,
    ).stdout
    return np.array([row["prob_fake"] for row in json.loads(out)["results"]])


def run_onnx(path, pixels):
    """pixels: [N, 3, H, W] floats 0 to 255."""
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    meta = session.get_modelmeta().custom_metadata_map
    if meta["normalization"] == "outside":
        mean, std = (np.array(list(map(float, meta[k].split(","))), np.float32) for k in ("mean", "std"))
        pixels = (pixels / 255 - mean[:, None, None]) / std[:, None, None]
    out, at = [], 0
    for batch in [1, 3] + [16] * len(pixels):  # the batch is free
        if at >= len(pixels):
            break
        out.append(session.run(["prob_fake"], {"images": pixels[at : at + batch].astype(np.float32)})[0])
        at += batch
    return np.concatenate(out)[:, 0]


def main():
    program, model, *paths = sys.argv[1:]
    files = [str(p) for p in pictures(paths)]
    pixels = np.stack([np.asarray(Image.open(f).convert("RGB")).transpose(2, 0, 1) for f in files])
    expected = predict(program, model, files)
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for mode in ("inside", "outside"):
            path = pathlib.Path(folder) / f"{mode}.onnx"
            subprocess.run([program, "convert", model, path, "--normalize", mode], check=True)
            results = {"ONNX Runtime": run_onnx(path, pixels.astype(np.float32)),
                       "read back": predict(program, path, files)}
            for who, got in results.items():
                difference = np.abs(got - expected).max()
                worst = max(worst, difference)
                print(f"normalize {mode}, {who}: max |dp| {difference:.3g} over {len(files)} pictures, "
                      f"p from {expected.min():.4f} to {expected.max():.4f}")
    sys.exit(0 if worst < LIMIT else f"difference above {LIMIT}")


main()
