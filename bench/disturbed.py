"""How much of its rate dfengine keeps beside ONNX Runtime when one core is taken half of the time.

    python bench/disturbed.py DFENGINE FOLDED_ONNX [--threads 2] [--batch 1 32] [--rounds 5]

The other work is a process on the first core that computes for 5 ms and then sleeps for 5 ms. Calm and
disturbed measurements of both sides alternate; the table has the medians of the rounds.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

PERIOD = 0.005


def disturb():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    while True:
        end = time.perf_counter() + PERIOD
        while time.perf_counter() < end:
            pass
        time.sleep(PERIOD)


@contextlib.contextmanager
def other_work(wanted):
    process = subprocess.Popen([sys.executable, __file__, "--disturb"]) if wanted else None
    try:
        time.sleep(0.2)
        yield
    finally:
        if process:
            process.kill()
            process.wait()


def dfengine(args):
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        subprocess.run([args.program, "bench", "--device", "cpu", "--threads", str(args.threads),
                        "--batch-sizes", ",".join(map(str, args.batch)), "--rounds", "3", "--json", out.name],
                       check=True, stdout=subprocess.DEVNULL)
        rows = json.load(open(out.name))["network"]
    return {row["batch"]: row["images_per_second"] for row in rows if row["work"] == "infer"}


def onnxruntime(args):
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers", "onnxruntime_mobilenetv2.py")
    lines = subprocess.run([sys.executable, script, args.onnx, "--threads", str(args.threads), "--seconds", "2",
                            "--batch", *map(str, args.batch)], check=True, capture_output=True, text=True).stdout
    rows = [json.loads(line) for line in lines.splitlines()]
    return {row["batch"]: row["img_per_s"] for row in rows}


def main():
    if sys.argv[1:] == ["--disturb"]:
        disturb()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", help="the dfengine to measure")
    parser.add_argument("onnx", help="path of the folded .onnx file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()

    sides = {"dfengine": dfengine, "onnxruntime": onnxruntime}
    rates = {}
    for _ in range(args.rounds):
        for disturbed in (False, True):
            for side, measure in sides.items():
                with other_work(disturbed):
                    for batch, rate in measure(args).items():
                        rates.setdefault((side, batch, disturbed), []).append(rate)
    print(f"{'side':<13}{'batch':>6}{'calm img/s':>12}{'disturbed':>11}{'kept':>8}")
    for side in sides:
        for batch in args.batch:
            calm, disturbed = (statistics.median(rates[side, batch, d]) for d in (False, True))
            print(f"{side:<13}{batch:>6}{calm:>12.1f}{disturbed:>11.1f}{disturbed / calm:>8.1%}")


if __name__ == "__main__":
    main()
