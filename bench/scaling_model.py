#!/usr/bin/env python3
"""Data-parallel training of MobileNetV2 on 1 to 64 GPUs, on paper: nothing here has run on more than one.

    python3 bench/scaling_model.py [--CONSTANT VALUE]...     prints two tables and where scaling stops

A step of n pictures a GPU takes step(n) = fixed + (step - fixed) * n / 256 while nothing is exchanged.
To it come, one after the other, for no kernel of the step overlaps them:

* synchronised batch norm: 52 layers, one small all-reduce forward and one backward, each all latency;
* gradients: 4 bytes a parameter once a step, reduced inside a node over NVLink and between nodes over
  InfiniBand: each GPU of a node takes an eighth to its partners in other nodes, over its own adapter.

An all-reduce over n partners moves 2 (n - 1) / n of its bytes through each one's link (Patarasuk and Yuan 2009).
Pictures must come at the rate of the steps: from cores that decode JPEG, or from packed files at 150,528 bytes
a picture. Efficiency is beside one GPU with 256 pictures (weak) or the whole batch (strong).
"""

import argparse
import math

# What is known, and from where. Each is an option of the command line.
CONSTANTS = {
    # One NVIDIA H100 SXM, fp16, 224 pixels, batch 256: bench/NOTES.md, "inverted residual blocks as one kernel".
    "step_ms": 18.75,
    # Assumed: some 470 kernels of a captured step at 4.2 us, which is what a node of the inference graph takes at
    # batch 1 (241 us, 57 nodes: bench/NOTES.md, "the CUDA engine on a GPU for the first time").
    "fixed_ms": 2.0,
    # NVLink 4 with NVSwitch: bus bandwidth that NCCL's tests report for large all-reduces on 8 H100 (450 at most).
    "nvlink_gbs": 360.0,
    # InfiniBand NDR: 400 Gb/s a GPU, of which nine tenths arrive.
    "network_gbs": 45.0,
    # A small all-reduce inside a captured graph, assumed: over NVLink, and for each doubling of the nodes.
    "nvlink_us": 12.0,
    "network_us": 8.0,
    # One core decodes a 256x256 JPEG and resizes it: bench/NOTES.md, "Decoding".
    "decode_rate": 2500.0,
    # Cores and GPUs of a node: two processors of 56 cores beside 8 GPUs (DGX H100).
    "cores": 112.0,
    "node_gpus": 8.0,
    # What a node reads of packed files, GB/s, when they are not in memory: 8 NVMe drives with RAID 0 (DGX H100).
    "storage_gbs": 40.0,
}
WEAK, GLOBAL = 256, 2048  # pictures a GPU, and of all GPUs
PICTURE_BYTES = 224 * 224 * 3
NORMS = 52
# Expansion, channels, repeats, of MobileNetV2's blocks (Sandler et al. 2018, table 2).
BLOCKS = [(1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)]


def parameters():
    """Learned values: convolutions, scale and shift of batch norms, and the head of 128."""
    total, channels, norms = 27 * 32 + 2 * 32, 32, 1
    for expansion, out, repeats in BLOCKS:
        for _ in range(repeats):
            inner = channels * expansion
            if expansion > 1:
                total, norms = total + channels * inner + 2 * inner, norms + 1
            total += 9 * inner + 2 * inner + inner * out + 2 * out
            channels, norms = out, norms + 2
    total += channels * 1280 + 2 * 1280
    assert norms + 1 == NORMS
    return total + 1280 * 128 + 128 + 128 + 1


def nodes_of(c, gpus):
    return max(1, math.ceil(gpus / c.node_gpus))


def latency_ms(c, gpus):
    if gpus == 1:
        return 0.0
    return (c.nvlink_us + c.network_us * math.log2(nodes_of(c, gpus))) / 1e3


def gradients_ms(c, gpus):
    nodes, inside = nodes_of(c, gpus), min(gpus, c.node_gpus)
    size = 4e-9 * parameters()  # GB
    near = 2 * (inside - 1) / inside * size / c.nvlink_gbs
    far = 2 * (nodes - 1) / nodes * size / inside / c.network_gbs
    return 1e3 * (near + far) + latency_ms(c, gpus)


def step_of(c, gpus, n):
    """Milliseconds: compute, batch norms' messages, gradients."""
    compute = c.fixed_ms + (c.step_ms - c.fixed_ms) * n / WEAK
    return compute, 2 * NORMS * latency_ms(c, gpus), gradients_ms(c, gpus)


def row(c, gpus, n, alone_rate):
    compute, norms, gradients = step_of(c, gpus, n)
    total = compute + norms + gradients
    rate = gpus * n / total * 1e3
    node_rate = rate / nodes_of(c, gpus)
    return {
        "gpus": gpus, "n": n, "compute": compute, "norms": norms, "gradients": gradients, "rate": rate,
        "efficiency": rate / gpus / alone_rate, "cores": node_rate / c.decode_rate,
        "packed": node_rate * PICTURE_BYTES / 1e9,
    }


def table(c, title, rows):
    print(f"\n{title}")
    print("| GPUs | pictures each | compute ms | batch norms ms | gradients ms | img/s | efficiency "
          "| cores a node that decode | packed GB/s a node |")
    print("|---|---|---|---|---|---|---|---|---|")
    for r in rows:
        print(f"| {r['gpus']} | {r['n']:g} | {r['compute']:.2f} | {r['norms']:.2f} | {r['gradients']:.2f} "
              f"| {r['rate']:,.0f} | {r['efficiency']:.2f} | {r['cores']:.0f} of {c.cores:.0f} | {r['packed']:.1f} |")


def weak(c, gpus):
    return row(c, gpus, WEAK, WEAK / c.step_ms * 1e3)


def strong(c, gpus):
    return row(c, gpus, GLOBAL / gpus, GLOBAL / step_of(c, 1, GLOBAL)[0] * 1e3)


def last_above(c, how, bar):
    """The most GPUs, a power of two up to 2048, that keep so much of their rate."""
    good = [g for g in (2 ** k for k in range(12)) if how(c, g)["efficiency"] >= bar]
    return max(good)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in CONSTANTS.items():
        parser.add_argument("--" + name.replace("_", "-"), type=float, default=value)
    c = parser.parse_args()
    print(f"{parameters():,} learned values, {4e-6 * parameters():.2f} MB of gradients a step")
    table(c, f"Weak: {WEAK} pictures a GPU", [weak(c, g) for g in (1, 8, 64)])
    table(c, f"Strong: {GLOBAL} pictures in all", [strong(c, g) for g in (1, 8, 64)])
    print(f"\nOf 1 to 2,048 GPUs, efficiency stays above .9 up to {last_above(c, weak, .9)} GPUs (weak) and {last_above(c, strong, .9)} "
          f"(strong), above .5 up to {last_above(c, weak, .5)} and {last_above(c, strong, .5)}.")
    end = strong(c, 64)
    parts = {"batch norms' latency": end["norms"], "gradients": end["gradients"], "kernels' fixed time": c.fixed_ms}
    print("What takes most beside the pictures at 64 GPUs: "
          + ", ".join(f"{name} {ms:.2f} ms" for name, ms in sorted(parts.items(), key=lambda p: -p[1])) + ".")
    local = weak(c, 64)["compute"] + gradients_ms(c, 64)
    print(f"With statistics of each GPU alone, 64 GPUs would keep {c.step_ms / local:.2f} (weak).")
    # A node's cores and drives, beside what its GPUs take when nothing waits.
    wanted = c.node_gpus * WEAK / c.step_ms * 1e3
    print(f"A node takes {wanted:,.0f} img/s at most: {wanted / c.decode_rate:.0f} cores that decode, of {c.cores:.0f}; "
          f"or {wanted * PICTURE_BYTES / 1e9:.1f} GB/s of packed files, of {c.storage_gbs:.0f}.")


if __name__ == "__main__":
    main()
