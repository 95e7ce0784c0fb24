#!/usr/bin/env python3
"""Where the time of a network goes beside what the machine could do, one row for each kind of operation.

    dfengine bench --layers --threads 1 --batch-sizes 1 --json FILE
    bench/limits.py FILE --peak GFLOPS [--depthwise-peak GFLOPS]      prints a table for each plan of FILE

An operation's limit is the longer of its operations at --peak and its bytes at the rate of a copy, which FILE
says. Peaks are of all threads together, of multiplications and additions out of registers.
"""

import argparse
import json
from collections import defaultdict


def kind_of(step):
    """pointwise, depthwise, stem, batch_norm or what else it is, and for training which pass."""
    name = step["kind"].removeprefix("int8 ").split("+")[0]
    return name if name in ("pointwise", "depthwise", "stem", "batch_norm") else "the rest"


def table(plan, peaks, copy):
    rows = defaultdict(lambda: [0.0, 0.0, 0.0, 0.0])
    for step in plan["steps"]:
        kind = kind_of(step)
        compute = step["flops"] / peaks.get(kind, peaks["pointwise"]) / 1e6
        memory = step["bytes"] / copy / 1e6
        passed = f" {step['pass']}" if plan["work"] != "infer" else ""
        for row in (rows[kind + passed], rows["all"]):
            for i, value in enumerate((step["ms"], step["flops"] / 1e6, compute, max(compute, memory))):
                row[i] += value
    total = rows["all"][0]
    print(f"{plan['work']}, batch {plan['batch']}: {total:.2f} ms")
    print(f"{'operations':22} {'ms':>8} {'of all':>7} {'GFLOP/s':>8} {'of peak':>8} {'limit, ms':>10} {'of limit':>9}")
    for kind, (ms, mflop, compute, limit) in sorted(rows.items(), key=lambda row: -row[1][0]):
        print(
            f"{kind:22} {ms:8.3f} {ms / total:7.1%} {mflop / ms:8.1f} {compute / ms:8.1%} {limit:10.3f} {limit / ms:9.1%}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="what dfengine bench --layers --json wrote")
    parser.add_argument("--peak", type=float, required=True, help="GFLOP/s of products")
    parser.add_argument("--depthwise-peak", type=float, help="GFLOP/s of depthwise convolutions; default: --peak")
    given = parser.parse_args()
    with open(given.file, encoding="utf-8") as file:
        measured = json.load(file)
    peaks = {"pointwise": given.peak, "depthwise": given.depthwise_peak or given.peak}
    for plan in measured["layers"]:
        table(plan, peaks, measured["copy_gigabytes_per_second"])


if __name__ == "__main__":
    main()
