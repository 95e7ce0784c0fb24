"""The table of bench/compare.sh: the JSON of `dfengine bench` beside the peers' JSON lines.

    python bench/peers/table.py OURS.json [OURS.json ...] PEERS.jsonl

One file of ours and one line of a peer's a round: the table has their median and the best round. Every
peer's figure with our ratio to it (above 1: dfengine is faster). Then the project's bars, each against the
best peer. Exits 1 when a peer measured what dfengine did not.
"""

import json
import statistics
import sys

# Work, batch, what is compared, bound. Ratios are ours to the best peer's.
GPU_BARS = [
    ("infer", 256, "img/s", "ratio", ">=", 1.2),
    ("infer", 1, "ms", "ratio", "<=", 0.6),
    ("train", 256, "img/s", "ratio", ">=", 1.5),
    ("frozen", 64, "img/s", "ratio", ">=", 1.5),
    ("frozen", 256, "img/s", "ratio", ">=", 1.5),
    ("head", 256, "img/s", "value", ">=", 500_000),
    ("train", 256, "bytes", "ratio", "<=", 0.6),
]


def cpu_bars(infer, train=None):
    bars = [("infer", batch, "img/s", "ratio", ">=", infer) for batch in (1, 32)]
    return bars + ([("train", 32, "img/s", "ratio", ">=", train)] if train else [])


CPU_BARS = {"fp32": cpu_bars(1.25, 2.0), "bf16": cpu_bars(1.2, 2.5), "int8": cpu_bars(1.2)}


def our_figures(rows):
    """Medians of the rounds, and the memory, which is the same in each."""
    return {"img/s": statistics.median(row["images_per_second"] for row in rows),
            "ms": statistics.median(row["ms"] for row in rows), "bytes": rows[0]["planned_bytes"]}


def peer_figures(rows):
    return {"img/s": statistics.median(row["img_per_s"] for row in rows),
            "ms": statistics.median(row["median_ms"] for row in rows), "bytes": rows[0].get("peak_bytes")}


def show(value, unit):
    if unit == "bytes":
        return f"{value / 1e9:.2f} GB"
    return f"{value:.3f} ms" if unit == "ms" else f"{value:.1f}"


def by_peer(peers):
    """The lines of all rounds for each work, batch and peer."""
    lines = {}
    for peer in peers:
        who = " ".join(filter(None, [peer["peer"], peer["version"], peer.get("mode")]))
        lines.setdefault((peer["work"], peer["batch"], who), []).append(peer)
    return lines


def comparison(rounds, peers):
    """rounds: our figures of each."""
    print(f"{'':<17}{'dfengine img/s':>17}  {'':<38}{'img/s':>17}{'ratio':>17}")
    print(f"{'work':<17}{'median':>9}{'best':>8}  {'peer':<38}{'median':>9}{'best':>8}{'median':>9}{'best':>8}")
    missing = []
    for (work, batch, who), lines in by_peer(peers).items():
        name = f"{work} batch {batch}"
        if any((work, batch) not in ours for ours in rounds):
            missing.append(name)
            continue
        rates = [ours[work, batch]["images_per_second"] for ours in rounds]
        median, best = statistics.median(rates), max(rates)
        theirs = [line["img_per_s"] for line in lines]
        their_median, their_best = statistics.median(theirs), max(theirs)
        print(f"{name:<17}{median:>9.1f}{best:>8.1f}  {who:<38}{their_median:>9.1f}{their_best:>8.1f}"
              f"{median / their_median:>8.2f}x{best / their_best:>7.2f}x")
    return sorted(set(missing))


def bar_line(bar, rounds, peers):
    work, batch, unit, kind, sign, bound = bar
    title = f"{work} batch {batch}, {'memory' if unit == 'bytes' else unit}"
    rivals = {who: peer_figures(lines) for (w, b, who), lines in by_peer(peers).items() if (w, b) == (work, batch)}
    rivals = {who: figures for who, figures in rivals.items() if figures[unit]}
    if any((work, batch) not in ours for ours in rounds) or (kind == "ratio" and not rivals):
        return f"{title:<26}not measured"
    value = our_figures([ours[work, batch] for ours in rounds])[unit]
    best, measure, shown = "-", value, "-"
    if kind == "ratio":
        # A rival's memory is that of its fastest mode: the two bars are about one way to train.
        who = max(rivals, key=lambda name: rivals[name]["img/s"])
        measure = value / rivals[who][unit]
        best, shown = f"{show(rivals[who][unit], unit)} ({who})", f"{measure:.2f}x"
    met = measure >= bound if sign == ">=" else measure <= bound
    wanted = f"{sign} {bound}x" if kind == "ratio" else f"{sign} {bound}"
    return f"{title:<26}{show(value, unit):>13}{best:>46}{shown:>9}{wanted:>12}  {'met' if met else 'MISSED'}"


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    reports = [json.load(open(path)) for path in sys.argv[1:-1]]
    report = reports[-1]
    peers = [json.loads(line) for line in open(sys.argv[-1]) if line.strip()]
    rounds = [{(row["work"], row["batch"]): row for row in r["network"]} for r in reports]
    print(f"dfengine {report['engine_version']}, {report['device_name']}, {report['precision']}, "
          f"{report['threads']} threads, {report['isa']}; MobileNetV2 {report['width']:g} at {report['img_size']}; "
          f"a copy moves {report['copy_gigabytes_per_second']:.1f} GB/s; {len(rounds)} rounds")
    missing = comparison(rounds, peers)
    bars = GPU_BARS if report["device"] == "cuda" else CPU_BARS[report["precision"]]
    print(f"\n{'bar (medians)':<26}{'dfengine':>13}{'best peer':>46}{'ratio':>9}{'wanted':>12}")
    for bar in bars:
        print(bar_line(bar, rounds, peers))
    if missing:
        sys.exit(f"dfengine bench did not measure: {', '.join(missing)}")


if __name__ == "__main__":
    main()
