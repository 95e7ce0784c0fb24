"""Pictures a second of OpenCV on one thread: imdecode, resize to a square, both.

    python bench/peers/opencv_decode.py DIR [--size 224] [--count 800] [--rounds 5]

The same work as `dfengine bench --data DIR`: files are read once before the clock runs, every
picture is decoded and resized, and the best of the rounds counts. Prints one JSON object.
"""
import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np


def best(rounds, count, work):
    """Pictures a second of the fastest round."""
    fastest = float("inf")
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        fastest = min(fastest, time.perf_counter() - begin)
    return round(count / fastest, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--count", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    paths = sorted(p for p in args.data.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    files = [np.fromfile(p, np.uint8) for p in paths[: args.count]]
    pictures = [cv2.imdecode(f, cv2.IMREAD_COLOR) for f in files]
    square = (args.size, args.size)

    def decode():
        for f in files:
            cv2.imdecode(f, cv2.IMREAD_COLOR)

    def resize(rule):
        for p in pictures:
            cv2.resize(p, square, interpolation=rule)

    def both(rule):
        for f in files:
            cv2.resize(cv2.imdecode(f, cv2.IMREAD_COLOR), square, interpolation=rule)

    rules = {"linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA}
    n = len(files)
    result = {"opencv": cv2.__version__, "pictures": n, "size": args.size,
              "decode": best(args.rounds, n, decode)}
    for name, rule in rules.items():
        result[f"resize_{name}"] = best(args.rounds, n, lambda: resize(rule))
        result[f"decode_resize_{name}"] = best(args.rounds, n, lambda: both(rule))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
