"""Compares every metric with scikit-learn on 1,000 random and degenerate score sets.

    python tests/golden/check_metrics.py build/cpu/tests/test_engine

Makes the sets and their figures (make_metrics_goldens.py), has the test program replay them, and
prints the greatest difference per metric. Exit code 1 when a figure differs.
"""
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from make_metrics_goldens import BINS, case, write

SETS = 1000


def random_case(rng, i):
    n = int(rng.integers(1, 400))
    label = (rng.random(n) < rng.choice([0, 0.02, 0.3, 0.5, 0.9, 1], p=[.05, .1, .3, .4, .1, .05]))
    label = label.astype(int)
    spread = 10.0 ** rng.uniform(-1, 1)
    prob = 1 / (1 + np.exp(-(rng.normal(size=n) + rng.normal() * label) * spread))
    kind = i % 8
    if kind == 1:
        prob = np.round(prob * 5) / 5  # many ties, 0 and 1 among them
    elif kind == 2:
        prob = np.round(prob * BINS) / BINS  # on the bins' edges
    elif kind == 3:
        prob = np.full(n, rng.random())  # constant
    elif kind == 4:
        prob = (prob > 0.5).astype(float)
    elif kind == 5:
        prob = prob * 1e-9
    elif kind == 6:
        prob = np.where(rng.random(n) < 0.5, prob, 0.5)
    threshold = float(rng.choice(prob)) if i % 3 == 0 else float(rng.choice([0, 0.1, 0.5, 0.9, 1]))
    return case(f"set {i}", prob, label, threshold)


def main():
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cases.json"
        write(path, [random_case(rng, i) for i in range(SETS)])
        command = [sys.argv[1], "--gtest_filter=MetricsGolden.*", "--gtest_brief=1"]
        return subprocess.run(command, env={**os.environ, "DFENGINE_METRICS_CASES": str(path)},
                              check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
