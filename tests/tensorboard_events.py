#!/usr/bin/env python3
"""Whether TensorBoard's own reader finds in a run's event files what results.csv says, resumed runs included. By hand:
it needs TensorBoard (pip install tensorboard).

Usage: tests/tensorboard_events.py PROGRAM
"""
import csv
import math
import subprocess
import sys
import tempfile

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

COLUMNS = {"loss/train": "train_loss", "loss/valid": "val_loss", "accuracy/train": "train_accuracy",
           "accuracy/valid": "val_accuracy", "auc/valid": "val_auc", "learning_rate": "lr",
           "loss_scale": "loss_scale", "steps_left_out": "skipped"}


def main(program):
    with tempfile.TemporaryDirectory() as work:
        def run(*arguments):
            subprocess.run([program, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        run("synth", "--output", f"{work}/set", "--count", "60", "--seed", "3")
        run("train", "--data", f"{work}/set", "--output", f"{work}/run", "--width", "0.1", "--img-size", "96",
            "--epochs", "2", "--batch-size", "16", "--threads", "1", "--tensorboard")
        run("train", "--output", f"{work}/run", "--resume", "--epochs", "3", "--tensorboard")
        accumulator = EventAccumulator(f"{work}/run")
        accumulator.Reload()
        tags = accumulator.Tags()["scalars"]
        with open(f"{work}/run/results.csv", newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        assert len(rows) == 3, rows
        for tag, column in COLUMNS.items():
            assert tag in tags, f"{tag} is not among {tags}"
            events = accumulator.Scalars(tag)
            assert [e.step for e in events] == [int(r["epoch"]) for r in rows], tag
            for event, row in zip(events, rows):
                # Events have floats.
                assert math.isclose(event.value, float(row[column]), rel_tol=1e-6, abs_tol=1e-12), (tag, event, row)
    print(f"tensorboard: {len(COLUMNS)} tags of {len(rows)} epochs are those of results.csv")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
