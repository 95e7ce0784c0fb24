"""Makes the goldens of engine/data/augment: what torchvision and Pillow make of fixed changes, and how
torchvision's draws are distributed.

    python tests/golden/make_augment_goldens.py

Writes data_augment.json next to itself. The pictures are the formula of make_data_goldens.py.
"""
import numpy as np
import PIL
import torch
import torchvision
from make_data_goldens import entry, pattern, resize, write
from make_perturb_goldens import jpeg, rescale
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional as F

MADE_WITH = f"Pillow {PIL.__version__}, torchvision {torchvision.__version__}, torch seed 0"
COLOR = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
DRAWS = 50000


def change(size, crop, mirrored, color, order, downscale, quality, erased):
    picture = Image.fromarray(pattern(size, size))
    if crop[2]:
        picture = resize(F.crop(picture, *crop), size, size)
    if mirrored:
        picture = F.hflip(picture)
    for kind in order:
        if color[kind] != (0 if kind == 3 else 1):
            picture = COLOR[kind](picture, color[kind])
    picture = rescale(picture, downscale)
    if quality:
        picture = jpeg(picture, quality)
    out = np.array(picture)
    top, left, h, w = erased
    out[top:top + h, left:left + w] = (124, 116, 104)
    return out


def changes():
    none, plain, straight = (0, 0, 0, 0), (1, 1, 1, 0), (0, 1, 2, 3)
    for size, *rest in [
        (20, none, False, plain, straight, 1, 0, none),
        (20, none, True, plain, straight, 1, 0, none),
        (32, (3, 5, 20, 17), False, plain, straight, 1, 0, none),
        (32, none, False, (1.3, 0.6, 1.4, 0.1), (2, 0, 3, 1), 1, 0, none),
        (32, none, False, (1.3, 0.6, 1.4, 0.1), (1, 3, 0, 2), 1, 0, none),
        (32, none, False, plain, straight, 0.6, 40, none),
        (32, none, False, plain, straight, 1, 0, (30, 1, 2, 31)),
        (40, (0, 9, 40, 31), True, (0.8, 1.2, 0.5, -0.2), (3, 2, 1, 0), 0.75, 60, (7, 11, 13, 5)),
    ]:
        crop, mirrored, color, order, downscale, quality, erased = rest
        yield entry(change(size, *rest), kind="change", size=size, crop=crop, mirrored=mirrored,
                    color=color, order=order, downscale=downscale, quality=quality, erased=erased)


def moments(kind, draws, **parameters):
    """Mean and variance of top, left, h and w over the draws that give a rectangle."""
    drawn = np.array([d for d in draws if d is not None], np.float64)
    return {"kind": kind, **parameters, "draws": DRAWS, "drawn": len(drawn),
            "mean": drawn.mean(0).tolist(), "variance": drawn.var(0).tolist()}


def erased(scale, ratio, size):
    i, j, h, w, v = transforms.RandomErasing.get_params(torch.ones(3, size, size), scale, ratio, [0.0])
    return (i, j, h, w) if v.numel() == 1 else None


def draws():
    size = 96
    picture = Image.fromarray(pattern(size, size))
    torch.manual_seed(0)
    for scale, ratio in (((0.08, 1.0), (3 / 4, 4 / 3)), ((0.9, 1.0), (0.5, 2.0)), ((0.2, 0.3), (2.0, 3.0))):
        crops = [transforms.RandomResizedCrop.get_params(picture, scale, ratio) for _ in range(DRAWS)]
        yield moments("crop", crops, size=size, scale=scale, ratio=ratio)
    for scale, ratio in (((0.02, 0.33), (0.3, 3.3)), ((0.5, 1.0), (0.3, 3.3))):
        parts = [erased(scale, ratio, size) for _ in range(DRAWS)]
        yield moments("erase", parts, size=size, scale=scale, ratio=ratio)


if __name__ == "__main__":
    write("data_augment.json", {"made_with": MADE_WITH, "cases": [*changes(), *draws()]})
