"""The table of bench/compare.sh: dfengine's Google Benchmark JSON beside the peers' JSON lines."""

import json
import re
import statistics
import sys


def ours(path):
    """{(work, batch): images per second}, the median over the repetitions."""
    runs = {}
    for entry in json.load(open(path))["benchmarks"]:
        name = re.search(r"network/(infer|train)/(\d+)", entry["name"])
        if name and entry.get("run_type") == "iteration":
            key = name[1], int(name[2])
            runs.setdefault(key, []).append(entry["items_per_second"])
    return {key: statistics.median(values) for key, values in runs.items()}


def main():
    mine = ours(sys.argv[1])
    peers = [json.loads(line) for line in open(sys.argv[2])]
    print(f"{'work':<16}{'dfengine img/s':>16}   {'peer':<24}{'img/s':>8}{'ratio':>8}")
    missing = []
    for peer in peers:
        key = peer["work"], peer["batch"]
        work = f"{key[0]} batch {key[1]}"
        if key not in mine:
            missing.append(work)
            continue
        name = f"{peer['peer']} {peer['version']}"
        rate = peer["img_per_s"]
        print(f"{work:<16}{mine[key]:>16.1f}   {name:<24}{rate:>8.1f}{mine[key] / rate:>7.2f}x")
    print(f"{peers[0]['threads']} threads, float32, 224x224, medians of one run")
    if missing:
        sys.exit(f"dfengine_bench has no case for: {', '.join(sorted(set(missing)))}")


if __name__ == "__main__":
    main()
