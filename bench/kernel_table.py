#!/usr/bin/env python3
"""What each kernel of a step asks of a GPU: registers, instructions, shared and device memory, and the time that each
of these would take alone.

    tests/build.sh cpu -DDFENGINE_PTX=ON ptx_step
    PTX_DEVICE=gpu PTX_TRAFFIC=FEW build/cpu/tests/ptx/ptx_step train 4
    PTX_DEVICE=gpu PTX_TRAFFIC=MANY build/cpu/tests/ptx/ptx_step train 16
    bench/kernel_table.py FEW MANY --pictures 4 16 [--batch 256] [--rows 20] [--CONSTANT VALUE]...

The interpreter (tests/ptx) counts one step of few pictures and one of more, by rule; what a picture adds is the
difference, and a step of BATCH has so much more of it. Kernels that not both steps have are left out. PTX is counted,
not machine code: of that there is a tenth or a fifth more. Sectors are those that warps ask for, most of which are found
in a cache; what device memory must move says bench/step_model.py. A kernel takes longer than the longest of its times,
because nothing overlaps whole. cuBLASLt's products are not seen.
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "tests", "ptx"))
import registers  # noqa: E402

# One NVIDIA H100 SXM; each is an option of the command line.
CONSTANTS = {
    "multiprocessors": 132,
    "clock": 1.755,  # GHz
    # Of an instruction a cycle and scheduler, by ncu: bench/NOTES.md, "what the GPU says of two days' kernels".
    "issue_share": 0.6,
    # Bytes a cycle that a multiprocessor's first-level cache gives, by the vendor's profiler.
    "cache": 128,
    # TFLOP/s of dense products in 16 bits, by its data sheet, and what of it kernels of this size reach, assumed.
    "products": 989.0,
    "products_share": 0.5,
}
FIELDS = ("launches", "blocks", "instructions", "flops", "waves", "least_waves", "sectors_read", "bytes_read",
          "sectors_written", "bytes_written", "threads", "shared")
SECTOR, SCHEDULERS = 32, 4
SM_90 = sorted(registers.ARCHITECTURES).index(90)


def read(path):
    lines = [line.split() for line in open(path)]
    names = registers.short_names([line[-1] for line in lines])
    return {name: dict(zip(FIELDS, map(int, line))) for name, line in zip(names, lines)}


def at_batch(few, many, pictures, batch):
    """Of a step of the batch."""
    times = (batch - pictures[1]) / (pictures[1] - pictures[0])
    return {field: value + times * (value - few[field]) for field, value in many.items()} | {
        field: many[field] for field in ("launches", "threads", "shared")}


def times_us(k, c):
    """What each limit alone would take."""
    return {
        "instructions": k["instructions"] / (c["multiprocessors"] * SCHEDULERS * c["clock"] * 1e3 * c["issue_share"]),
        "shared": k["waves"] / (c["multiprocessors"] * c["clock"] * 1e3),
        "cache": (k["sectors_read"] + k["sectors_written"]) * SECTOR / (c["multiprocessors"] * c["clock"] * 1e3 * c["cache"]),
        "products": k["flops"] / (c["products"] * c["products_share"] * 1e6),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("few")
    parser.add_argument("many")
    parser.add_argument("--pictures", type=int, nargs=2, required=True, metavar=("FEW", "MANY"))
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rows", type=int, default=20)
    for name, value in CONSTANTS.items():
        parser.add_argument(f"--{name}", type=float, default=value)
    a = parser.parse_args()
    few, many, table = read(a.few), read(a.many), registers.read_table()
    # Those that run once when a device is opened are in both and grow with nothing.
    kernels = {name: at_batch(few[name], k, a.pictures, a.batch) for name, k in many.items()
               if name in few and few[name]["launches"] == k["launches"]}
    for name in sorted(set(few) ^ set(many) | {n for n in set(few) & set(many) if n not in kernels}):
        print(f"kernel_table: {name} does not run as often in both steps and is left out", file=sys.stderr)
    times = {name: times_us(k, vars(a)) for name, k in kernels.items()}
    total = {limit: sum(t[limit] for t in times.values()) for limit in next(iter(times.values()))}
    print(f"us of a step of {a.batch}, each limit alone: " + ", ".join(f"{k} {v:.0f}" for k, v in total.items()) +
          f"; of each kernel the longest: {sum(max(t.values()) for t in times.values()):.0f}\n")
    print("| kernel | launches | registers:blocks | shared KB | M instructions | waves : least | MB read, written "
          "| asked : moved | instructions, shared, cache, products us |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, k in sorted(kernels.items(), key=lambda item: -max(times[item[0]].values()))[:a.rows]:
        moved = (k["sectors_read"] + k["sectors_written"]) * SECTOR
        print(f"| `{name}` | {k['launches']} | {table[name][3 + SM_90] if name in table else '?'} | {k['shared'] / 1024:.0f} "
              f"| {k['instructions'] / 1e6:.1f} | {k['waves'] / max(k['least_waves'], 1):.2f} "
              f"| {k['sectors_read'] * SECTOR / 1e6:.0f}, {k['sectors_written'] * SECTOR / 1e6:.0f} "
              f"| {(k['bytes_read'] + k['bytes_written']) / max(moved, 1):.2f} | "
              + ", ".join(f"{t:.0f}" for t in times[name].values()) + " |")


if __name__ == "__main__":
    main()
