"""Makes the goldens of engine/data/perturb: what Pillow, torchvision and scipy say.

    python tests/golden/make_perturb_goldens.py

Writes data_perturb.json next to itself. The pictures are the formula of make_data_goldens.py.
"""
import io

import numpy as np
import PIL
import scipy
import torchvision
from make_data_goldens import HERE, entry, pattern, write
from PIL import Image
from scipy import ndimage
from torchvision.transforms import functional as F

MADE_WITH = f"Pillow {PIL.__version__}, torchvision {torchvision.__version__}, scipy {scipy.__version__}"


def jpeg(picture, quality):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def rescale(picture, factor):
    """Two passes a call: see make_data_goldens.resize."""
    bilinear = Image.Resampling.BILINEAR
    w, h = (max(1, int(side * factor + 0.5)) for side in picture.size)
    small = picture.resize((w, picture.height), bilinear).resize((w, h), bilinear)
    return small.resize((picture.width, h), bilinear).resize(picture.size, bilinear)


def colours():
    """65,536 colours, gray ones among them: every branch of the hue."""
    y, x = np.mgrid[0:256, 0:256]
    blue = np.where(x % 16 == 0, y, (x * 7 + y * 13) & 255)
    red = np.where(x % 16 == 0, y, x)
    return Image.fromarray(np.dstack([red, y, blue]).astype(np.uint8))


def cases():
    operations = {
        "jpeg": (jpeg, (1, 30, 50, 75, 95, 100)),
        "rescale": (rescale, (0.1, 0.5, 0.77, 1.0, 1.6)),
        "brightness": (F.adjust_brightness, (0.0, 0.3, 0.9, 1.0, 1.7)),
        "contrast": (F.adjust_contrast, (0.0, 0.3, 0.9, 1.0, 1.7)),
        "saturation": (F.adjust_saturation, (0.0, 0.3, 0.9, 1.0, 1.7)),
        "hue": (F.adjust_hue, (-0.5, -0.1, 0.0, 0.02, 0.3, 0.5)),
    }
    for name, (operation, values) in operations.items():
        for value in values:
            for h, w in ((1, 1), (5, 3), (33, 47)):
                out = operation(Image.fromarray(pattern(h, w)), value)
                yield entry(out, op=name, value=value, h=h, w=w)
            if name in ("brightness", "contrast", "saturation", "hue"):
                yield entry(operation(colours(), value), op=name, value=value, h=0, w=0)
    for sigma in (0.1, 0.5, 1.0, 2.6):
        for h, w in ((1, 1), (2, 5), (21, 19)):
            exact = ndimage.gaussian_filter(pattern(h, w).astype(np.float64), (sigma, sigma, 0))
            yield {"op": "blur", "value": sigma, "h": h, "w": w,
                   "exact": [round(v, 6) for v in exact.ravel()[::7].tolist()]}


if __name__ == "__main__":
    write("data_perturb.json", {"made_with": MADE_WITH, "cases": list(cases())})
