"""Times PyTorch on MobileNetV2 1.0 at 224, float32, channels-last, on the CPU: training and inference.

Training: one whole step (zero the gradients, forward, loss, backward, Adam) of all parameters, with
dfengine's head: Dense(128), ReLU, Dropout, Dense(1). Inference: the same network in eval mode.
One JSON line per measurement on stdout: median over repeated runs, and the fastest.

    python bench/peers/torch_mobilenetv2.py --threads 2
"""

import argparse
import json
import statistics
import time

import torch
import torchvision
from torch import nn


def make_model():
    model = torchvision.models.mobilenet_v2(weights=None)
    model.classifier = nn.Sequential(
        nn.Linear(model.last_channel, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 1))
    return model.to(memory_format=torch.channels_last)


def make_images(batch):
    return torch.randn(batch, 3, 224, 224).to(memory_format=torch.channels_last)


def seconds_per_run(run, min_seconds, min_runs):
    """Times of single runs, after a warm-up, until both limits are passed."""
    for _ in range(2):
        run()
    times = []
    while len(times) < min_runs or sum(times) < min_seconds:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def train_step(model, batch):
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss_of = nn.BCEWithLogitsLoss()
    x, target = make_images(batch), torch.randint(0, 2, (batch, 1)).float()

    def run():
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(model(x), target)
        loss.backward()
        optimizer.step()

    return run


def infer(model, batch):
    model.eval()
    x = make_images(batch)

    def run():
        with torch.inference_mode():
            model(x)

    return run


def report(work, batch, threads, times):
    median = statistics.median(times)
    print(json.dumps({
        "peer": "torch", "version": torch.__version__, "work": work, "batch": batch,
        "threads": threads, "runs": len(times),
        "median_ms": round(median * 1e3, 3), "min_ms": round(min(times) * 1e3, 3),
        "img_per_s": round(batch / median, 2), "best_img_per_s": round(batch / min(times), 2),
    }), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32], help="of inference")
    parser.add_argument("--train-batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0, help="least time per measurement")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    model = make_model()
    for batch in args.batch:
        times = seconds_per_run(infer(model, batch), args.seconds, 7)
        report("infer", batch, args.threads, times)
    times = seconds_per_run(train_step(model, args.train_batch), args.seconds, 7)
    report("train", args.train_batch, args.threads, times)


if __name__ == "__main__":
    main()
