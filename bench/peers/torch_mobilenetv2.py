"""Times PyTorch on MobileNetV2 1.0 at 224, channels-last, with dfengine's head: Dense(128), ReLU, Dropout,
Dense(1). The same works as `dfengine bench`, on random data that already lies where it is computed:

    infer   logits, batch norm folded into the convolutions
    train   zero the gradients, forward, loss, backward, fused Adam, of all parameters; AMP on a GPU
    frozen  the same of the head alone; the base in inference form (folded, no gradient)
    head    a training step of the head on pooled features

    python bench/peers/torch_mobilenetv2.py --threads 2
    python bench/peers/torch_mobilenetv2.py --device cuda --precision fp16

Modes: eager; compile (torch.compile); graph (a captured CUDA graph); compile-graph (torch.compile with
mode="reduce-overhead"). One JSON line per measurement on stdout: the median over rounds, and the fastest.
CPU: wall clock. GPU: events, and the most memory that PyTorch had allocated. A mode that fails is named on
stderr and left out.
"""

import argparse
import itertools
import json
import statistics
import sys
import time

import torch
import torchvision
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
WORKS = ["infer", "train", "frozen", "head"]


def make_model(device):
    model = torchvision.models.mobilenet_v2(weights=None)
    model.classifier = nn.Sequential(
        nn.Linear(model.last_channel, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 1))
    model.to(device, memory_format=torch.channels_last)
    # Running statistics of a random batch: with those of a new model the activations of inference fade
    # away layer by layer, below what fp16 can hold.
    momenta = {norm: norm.momentum for norm in model.modules() if isinstance(norm, nn.BatchNorm2d)}
    for norm in momenta:
        norm.momentum = 1.0
    with torch.no_grad():
        model(torch.randn(4, 3, 224, 224, device=device).to(memory_format=torch.channels_last))
    for norm, momentum in momenta.items():
        norm.momentum = momentum
    return model


def fold_batch_norms(module):
    """Every convolution takes in the batch norm behind it. Eval mode only."""
    for child in module.children():
        fold_batch_norms(child)
    if isinstance(module, nn.Sequential):
        for i in range(len(module) - 1):
            if isinstance(module[i], nn.Conv2d) and isinstance(module[i + 1], nn.BatchNorm2d):
                module[i] = fuse_conv_bn_eval(module[i], module[i + 1])
                module[i + 1] = nn.Identity()
    return module


class Frozen(nn.Module):
    """A base in inference form and a head that learns, in float."""

    def __init__(self, model, dtype):
        super().__init__()
        self.base = fold_batch_norms(model.features.eval()).to(dtype)
        self.head = model.classifier

    def forward(self, x):
        with torch.no_grad():
            pooled = self.base(x).mean((2, 3)).float()
        return self.head(pooled)


class Batches:
    """Random batches that take turns, so that a small one does not stay in a cache."""

    def __init__(self, work, batch, options):
        # AMP casts pictures itself; whoever runs in half gets half.
        dtype = torch.float32 if work in ("train", "head") else options.dtype
        shape = (batch, 1280) if work == "head" else (batch, 3, 224, 224)
        count = max(2, min(64, (64 << 20) // (4 * torch.Size(shape).numel())))
        self.all = [torch.randn(shape, device=options.device).to(dtype) for _ in range(count)]
        if work != "head":
            self.all = [x.to(memory_format=torch.channels_last) for x in self.all]
        self.turns = itertools.cycle(self.all)
        self.targets = (torch.arange(batch, device=options.device) % 2).float()[:, None]


class Inference:
    def __init__(self, network):
        self.network = network

    def captured(self, x):
        with torch.inference_mode():
            self.network(x)

    def rest(self):
        """What a CUDA graph leaves out."""


class Training:
    def __init__(self, network, trained, targets, amp, options):
        self.network, self.targets = network, targets
        self.on_gpu = options.device == "cuda"
        self.amp = amp and options.dtype != torch.float32
        self.dtype = options.dtype
        self.optimizer = torch.optim.Adam(trained, lr=1e-4, fused=True, capturable=self.on_gpu)
        self.scaler = torch.amp.GradScaler(options.device, enabled=self.amp and self.dtype == torch.float16)
        self.loss = nn.BCEWithLogitsLoss()

    def captured(self, x):
        self.optimizer.zero_grad(set_to_none=True)
        # A graph must not read casts of weights that were made before it.
        with torch.autocast(self.targets.device.type, self.dtype, self.amp, cache_enabled=False):
            loss = self.loss(self.network(x).float(), self.targets)
        self.scaler.scale(loss).backward()
        if not self.scaler.is_enabled():
            self.optimizer.step()

    def rest(self):
        if self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
            self.scaler.update()


def make_step(work, mode, batches, options):
    model = make_model(options.device)

    def compiled(network):
        if not mode.startswith("compile"):
            return network
        torch._dynamo.reset()
        return torch.compile(network, mode="reduce-overhead" if mode == "compile-graph" else None)

    if work == "infer":
        return Inference(compiled(fold_batch_norms(model.eval()).to(options.dtype)))
    if work == "train":
        return Training(compiled(model.train()), list(model.parameters()), batches.targets, True, options)
    head = list(model.classifier.parameters())
    network = model.classifier if work == "head" else Frozen(model, options.dtype)
    network.requires_grad_(False)
    model.classifier.requires_grad_(True).train()
    return Training(compiled(network), head, batches.targets, False, options)


def runner(step, mode, batches):
    """A function that does the step once."""
    if mode != "graph":
        def run():
            if mode == "compile-graph":
                torch.compiler.cudagraph_mark_step_begin()
            step.captured(next(batches.turns))
            step.rest()
        return run

    x = batches.all[0].clone(memory_format=torch.preserve_format)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step.captured(x)
            step.rest()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step.captured(x)

    def replay():
        x.copy_(next(batches.turns))
        graph.replay()
        step.rest()
    return replay


def times_on_cpu(run, options):
    """Milliseconds of single runs, after a warm-up, until both limits are passed."""
    for _ in range(2):
        run()
    times = []
    while len(times) < options.rounds or sum(times) < options.seconds * 1e3:
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def times_on_gpu(run, options):
    """Milliseconds of one run, per round of at least 20 ms between two events."""
    def timed(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(repeats):
            run()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / repeats

    for _ in range(5):  # compiles, tunes, loads
        run()
    repeats = max(1, min(1000, int(20 / timed(1)) + 1))
    timed(repeats)
    return [timed(repeats) for _ in range(options.rounds)]


def measure(work, batch, mode, options):
    line = {"peer": "torch", "version": torch.__version__, "device": options.device, "precision": options.precision,
            "mode": mode, "work": work, "batch": batch, "threads": options.threads}
    on_gpu = options.device == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    batches = Batches(work, batch, options)
    run = runner(make_step(work, mode, batches, options), mode, batches)
    times = (times_on_gpu if on_gpu else times_on_cpu)(run, options)
    median = statistics.median(times)
    line |= {"runs": len(times), "median_ms": round(median, 4), "min_ms": round(min(times), 4),
             "img_per_s": round(batch * 1e3 / median, 2), "best_img_per_s": round(batch * 1e3 / min(times), 2)}
    if on_gpu:
        # Pictures beyond one batch are this script's own.
        spare = sum(x.nbytes for x in batches.all[1:])
        line["peak_bytes"] = torch.cuda.max_memory_allocated() - spare
    print(json.dumps(line), flush=True)


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=list(DTYPES), help="default fp16 on a GPU, fp32 on the CPU")
    parser.add_argument("--modes", nargs="+", choices=["eager", "compile", "graph", "compile-graph"],
                        help="default all on a GPU, eager on the CPU")
    parser.add_argument("--works", nargs="+", choices=WORKS, default=WORKS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, nargs="+", help="of inference; default 1 32 256 1024, CPU 1 32")
    parser.add_argument("--train-batch", type=int, nargs="+", help="default 64 256, CPU 32")
    parser.add_argument("--rounds", type=int, default=7, help="least number of them")
    parser.add_argument("--seconds", type=float, default=5.0, help="least time per measurement on the CPU")
    options = parser.parse_args()
    on_gpu = options.device == "cuda"
    if on_gpu and not torch.cuda.is_available():
        parser.error("PyTorch sees no CUDA device here")
    options.precision = options.precision or ("fp16" if on_gpu else "fp32")
    options.dtype = DTYPES[options.precision]
    options.modes = options.modes or (["eager", "compile", "graph", "compile-graph"] if on_gpu else ["eager"])
    if not on_gpu and any("graph" in mode for mode in options.modes):
        parser.error("CUDA graphs need --device cuda")
    options.batch = options.batch or ([1, 32, 256, 1024] if on_gpu else [1, 32])
    options.train_batch = options.train_batch or ([64, 256] if on_gpu else [32])
    return options


def main():
    options = parse_options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    torch.backends.cudnn.benchmark = True
    # fp32 means float products, as in dfengine.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for work in options.works:
        for batch in options.batch if work == "infer" else options.train_batch:
            for mode in options.modes:
                try:
                    measure(work, batch, mode, options)
                except Exception as e:  # one mode's fault must not cost the others' figures
                    text = str(e).splitlines()
                    print(f"torch: {work} batch {batch} {mode}: FAILED, left out: {type(e).__name__}: "
                          f"{text[0] if text else ''}", file=sys.stderr)


if __name__ == "__main__":
    main()
