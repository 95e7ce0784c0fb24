#!/usr/bin/env python3
"""The least time of a GPU's step on paper, from its plan, beside what was measured where there is a measurement.

    dfengine info MODEL --plan --device cuda --deterministic --batch-size 256 [--phase train] --format json >PLAN
    bench/step_model.py PLAN [--measured BENCH] [--like BENCH] [--CONSTANT VALUE]...

PLAN says what each step must move and compute at least. A step takes the longer of its bytes at a share of the copy
rate and its products at a share of the peak, and a launch. It counts no instructions and everything once: a kernel
that instructions hold up, or that reads twice, takes longer. BENCH is what dfengine bench --device cuda --layers
--json wrote. With --like, what such a bench of the same phase at another batch or size took of each kind of
operation, against its least, says what to expect of this plan.
"""

import argparse
import json
from collections import defaultdict

# One NVIDIA H100 SXM; each is an option of the command line.
CONSTANTS = {
    # TB/s of a copy, and what of it kernels reach: bench/NOTES.md, "inverted residual blocks as one kernel".
    "copy": 2.98,
    "copy_share": 0.88,
    # TFLOP/s of dense products in 16 bits, by its data sheet, and what of it kernels of this size reach, assumed.
    "products": 989.0,
    "products_share": 0.5,
    # Microseconds from one kernel of a captured step to the next, launched early: dfengine info --plan measures it.
    "launch": 0.93,
}


def kind_of(step):
    return f"{step['kind'].split()[0].split('+')[0]} {step['pass']}"


def least_us(step, c):
    memory = step["bytes"] / (c["copy"] * c["copy_share"] * 1e6)
    products = step["flops"] / (c["products"] * c["products_share"] * 1e6)
    return max(memory, products) + c["launch"]


def bench_table(file, phase, batch=None):
    """The bench's table of this work, at this batch if one is given."""
    with open(file, encoding="utf-8") as opened:
        tables = json.load(opened)["layers"]
    for table in tables:
        if table["work"] == phase and batch in (None, table["batch"]):
            return table
    raise SystemExit(f"step_model: {file} has no table of {phase}{f' at {batch}' if batch else ''}")


def measured_steps(file, plan):
    """Microseconds by layer, kind and pass."""
    steps = bench_table(file, plan["phase"], plan["batch"])["steps"]
    return {(s["layer"], s["kind"], s["pass"]): s["ms"] * 1e3 for s in steps}


def reached(file, phase, c):
    """How many times its least each kind of operation took in a bench."""
    took, least = defaultdict(float), defaultdict(float)
    for step in bench_table(file, phase)["steps"]:
        took[kind_of(step)] += step["ms"] * 1e3
        least[kind_of(step)] += least_us(step, c)
    return {kind: took[kind] / least[kind] for kind in took}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", help="what dfengine info --plan --format json wrote")
    parser.add_argument("--measured", help="what dfengine bench --layers --json wrote on the GPU")
    parser.add_argument("--like", help="the same of another batch or size, to say what to expect of this plan")
    for name, value in CONSTANTS.items():
        parser.add_argument("--" + name.replace("_", "-"), type=float, default=value, help=f"default: {value:g}")
    given = parser.parse_args()
    constants = {name: getattr(given, name) for name in CONSTANTS}
    with open(given.plan, encoding="utf-8") as file:
        plan = json.load(file)
    measured = measured_steps(given.measured, plan) if given.measured else {}
    times = reached(given.like, plan["phase"], constants) if given.like else {}

    rows = defaultdict(lambda: [0, 0.0, 0.0, 0.0, 0.0])
    for step in plan["steps"]:
        us = measured.get((step["layer"], step["kind"], step["pass"]), 0.0)
        for row in (rows[kind_of(step)], rows["all"]):
            least = least_us(step, constants)
            values = (1, step["bytes"] / 1e6, least, us, least * times.get(kind_of(step), 1.0))
            for i, value in enumerate(values):
                row[i] += value
    batch = plan["batch"]
    saved = plan["bytes_without_fusions"] / 1e6 - rows["all"][1]
    print(f"{plan['phase']}, batch {batch}: {rows['all'][1] / batch:.1f} MB a picture at least; layers as one kernel"
          f" save {saved / batch:.1f}; {batch / rows['all'][2] * 1e6:,.0f} pictures a second at most")
    print(f"{'operations':34} {'steps':>5} {'MB':>9} {'least, ms':>9} {'measured':>9} {'ratio':>6} {'expected':>9}")
    for kind, (steps, mega, least, us, like) in sorted(rows.items(), key=lambda row: -row[1][2]):
        beside = f"{us / 1e3:9.3f} {us / least:6.2f}" if us else f"{'-':>9} {'-':>6}"
        expected = f"{like / 1e3:9.3f}" if times else f"{'-':>9}"
        print(f"{kind:34} {steps:5} {mega:9.1f} {least / 1e3:9.3f} {beside} {expected}")


if __name__ == "__main__":
    main()
