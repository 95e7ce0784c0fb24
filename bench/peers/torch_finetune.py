"""PyTorch's fine-tune by dfengine's recipes on the same faces, for the AUC to be compared: a head epoch at ten
times the rate, then everything with Adam on a cosine with one epoch of warm-up, mirrored pictures.

    python bench/peers/torch_finetune.py FACES WEIGHTS.pth [--stem-stride 1] [--vflip] [--rot90] [--patch-mask .5]
        [--model-ema] [--epochs 20] [--img-size 256] [--seed 1] [--threads 2]

FACES has train/, valid/ and test/ with real/ and fake/ inside, pictures of one size. The epoch of the best
validation AUC is kept. One JSON line with its figures on test. Random numbers are PyTorch's own: compare means
over seeds, not runs.
"""

import argparse
import copy
import json
import math
import pathlib
import time

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
PATCH, MOST_MASKED, WARMUP, HEAD_FACTOR = 16, 0.75, 1.0, 10.0


def load(folder, size):
    images, labels = [], []
    for label, kind in enumerate(("real", "fake")):
        for file in sorted((folder / kind).iterdir()):
            image = Image.open(file).convert("RGB")
            if image.size != (size, size):
                image = image.resize((size, size), Image.BILINEAR)
            images.append(np.asarray(image))
            labels.append(label)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), torch.tensor(labels, dtype=torch.float32)


def changed(x, args):
    """One picture [3, S, S] uint8."""
    if torch.rand(()) < 0.5:
        x = x.flip(2)
    if args.vflip and torch.rand(()) < 0.5:
        x = x.flip(1)
    if args.rot90:
        x = torch.rot90(x, int(torch.randint(4, ())), (1, 2))
    if torch.rand(()) < args.patch_mask:
        x = x.clone()
        row = x.shape[1] // PATCH
        count = int(torch.rand(()) * MOST_MASKED * row * row)
        for square in torch.randperm(row * row)[:count].tolist():
            top, left = square // row * PATCH, square % row * PATCH
            x[:, top:top + PATCH, left:left + PATCH] = torch.tensor([124, 116, 104], dtype=torch.uint8).view(3, 1, 1)
    return x


def normalized(x):
    return ((x.float() / 255 - MEAN) / STD).to(memory_format=torch.channels_last)


def auc(scores, labels):
    order = np.argsort(scores, kind="stable")
    _, inverse, counts = np.unique(scores[order], return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = np.empty(len(scores))
    ranks[order] = (last - (counts - 1) / 2)[inverse]
    fakes = labels == 1
    n = fakes.sum()
    return (ranks[fakes].sum() - n * (n + 1) / 2) / (n * (~fakes).sum())


@torch.no_grad()
def answers(model, images):
    model.eval()
    return np.concatenate([model(normalized(b)).squeeze(1).numpy() for b in images.split(32)])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("faces", type=pathlib.Path)
    parser.add_argument("weights")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--img-size", type=int, default=256)
    parser.add_argument("--stem-stride", type=int, default=2)
    parser.add_argument("--patch-mask", type=float, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    for flag in ("--vflip", "--rot90", "--model-ema"):
        parser.add_argument(flag, action="store_true")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    data = {split: load(args.faces / split, args.img_size) for split in ("train", "valid", "test")}
    model = torchvision.models.mobilenet_v2()
    model.load_state_dict(torch.load(args.weights, weights_only=True))
    model.features[0][0].stride = (args.stem_stride, args.stem_stride)
    model.classifier = nn.Sequential(
        nn.Linear(model.last_channel, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 1))
    model.to(memory_format=torch.channels_last)
    average = copy.deepcopy(model)
    images, labels = data["train"]
    per_epoch = math.ceil(len(images) / args.batch_size)
    best, kept, step, begin = -1.0, None, 0, time.time()
    for epoch in range(args.epochs):
        head = epoch == 0
        for parameter in model.features.parameters():
            parameter.requires_grad_(not head)
        if epoch <= 1:  # moments begin anew with each phase
            optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=args.lr)
        model.train()
        if head:
            model.features.eval()
        for i, batch in enumerate(torch.randperm(len(images)).split(args.batch_size)):
            now, total = (epoch - 1) * per_epoch + i, (args.epochs - 1) * per_epoch
            warm = WARMUP * per_epoch
            rate = (HEAD_FACTOR if head else (now + 1) / (warm + 1) if now < warm else
                    0.5 * (1 + math.cos(math.pi * (now - warm) / max(1, total - warm))))
            for group in optimizer.param_groups:
                group["lr"] = args.lr * rate
            x = normalized(torch.stack([changed(images[k], args) for k in batch.tolist()]))
            loss = nn.functional.binary_cross_entropy_with_logits(model(x).squeeze(1), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            decay = min(0.9998, (1 + step) / (10 + step))
            step += 1
            with torch.no_grad():
                for a, b in zip(average.state_dict().values(), model.state_dict().values()):
                    a.copy_(a + (1 - decay) * (b - a) if a.is_floating_point() else b)
        judged = average if args.model_ema else model
        valid = auc(answers(judged, data["valid"][0]), data["valid"][1].numpy())
        if valid > best:
            best, kept = valid, copy.deepcopy(judged)
    scores, truth = answers(kept, data["test"][0]), data["test"][1].numpy()
    print(json.dumps({"seed": args.seed, "epochs": args.epochs, "valid_auc": float(best),
                      "test_auc": float(auc(scores, truth)),
                      "test_accuracy_at_half": float(((scores >= 0) == (truth == 1)).mean()),
                      "minutes": (time.time() - begin) / 60}))


if __name__ == "__main__":
    main()
