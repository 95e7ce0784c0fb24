"""Makes the goldens of engine/data: what Pillow and torchvision say.

    python tests/golden/make_data_goldens.py

Writes data_resize.json, data_images.json, data_jpeg_headers.json and the pictures in images/ next to
itself. All pictures are computed here; none comes from elsewhere. The versions used stand in each
file under "made_with".
"""
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL
import torchvision
from PIL import Image, ImageOps, JpegImagePlugin, PngImagePlugin
from torchvision.transforms import functional as F

HERE = Path(__file__).parent
IMAGES = HERE / "images"
MADE_WITH = f"Pillow {PIL.__version__}, torchvision {torchvision.__version__}"


def pattern(h, w):
    """Integer formula that tests/engine/data/resize_test.cpp repeats: sharp, coloured, full range."""
    y, x, c = np.meshgrid(np.arange(h), np.arange(w), np.arange(3), indexing="ij")
    return ((((x * 37 + y * 101 + c * 53) ^ (x * y)) + 2 * x + 3 * y) & 255).astype(np.uint8)


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def entry(out, **fields):
    """Every `stride`-th byte to look at when a test fails, and a hash of all of them."""
    data = np.ascontiguousarray(out).tobytes()
    stride = 1 if len(data) <= 256 else max(1, len(data) // 128) | 1
    return {**fields, "fnv": fnv(data), "stride": stride, "bytes": data[::stride].hex()}


RULES = {rule.name.lower(): rule for rule in
         (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.NEAREST)}


def resize(picture, h, w, rule=Image.Resampling.BILINEAR):
    """Columns first, then rows, as every Pillow did before 13. Since then a picture that loses over
    twice as many rows as columns has its rows done first, which moves some pixels by a level; one
    pass a call keeps the order, whatever the version."""
    return picture.resize((w, picture.height), rule).resize((w, h), rule)


def resize_goldens():
    cases = []
    for ih, iw, oh, ow in [
        (1, 1, 1, 1), (1, 1, 5, 7), (7, 5, 1, 1), (2, 2, 3, 3), (5, 3, 4, 4), (4, 9, 9, 4),
        (13, 17, 13, 40), (13, 17, 29, 17), (31, 33, 32, 32), (64, 64, 96, 96), (100, 3, 17, 17),
        (256, 256, 224, 224), (256, 256, 160, 160), (256, 256, 96, 96), (97, 211, 224, 224),
        (1000, 7, 20, 300), (2, 3000, 64, 64),
    ]:
        picture = Image.fromarray(pattern(ih, iw))
        for name, rule in RULES.items():
            out = resize(picture, oh, ow, rule)
            cases.append(entry(out, kind="resize", rule=name, in_h=ih, in_w=iw, out_h=oh, out_w=ow))
    for ih, iw, size in [
        (256, 256, 224), (256, 341, 224), (341, 256, 224), (300, 201, 224), (201, 300, 160),
        (57, 91, 96), (90, 57, 128), (400, 257, 192), (110, 113, 96), (113, 110, 96), (15, 400, 32),
    ]:
        side = round(size * 256 / 224)
        picture = Image.fromarray(pattern(ih, iw))
        w, h = F.resize(picture, side).size  # torchvision's rule for the long side
        for name, rule in RULES.items():
            out = F.center_crop(resize(picture, h, w, rule), size)
            cases.append(entry(out, kind="center", rule=name, in_h=ih, in_w=iw, out_h=size, out_w=size))
    # A part alone: top, left, h, w.
    for ih, iw, part, size in [
        (64, 80, (0, 0, 64, 80), 48), (64, 80, (7, 11, 30, 41), 48), (64, 80, (63, 79, 1, 1), 5),
        (64, 80, (10, 0, 54, 3), 32), (64, 80, (5, 6, 32, 32), 32),
    ]:
        top, left, h, w = part
        picture = Image.fromarray(pattern(ih, iw)).crop((left, top, left + w, top + h))
        for name, rule in RULES.items():
            cases.append(entry(resize(picture, size, size, rule), kind="part", rule=name, in_h=ih,
                               in_w=iw, part=part, out_h=size, out_w=size))
    return {"made_with": MADE_WITH, "cases": cases}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path, rows, w, h, depth, color, interlace=0, extra=b""):
    """A PNG that Pillow cannot write. rows: bytes of each line; each gets filter type 0."""
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    header = struct.pack(">IIBBBBB", w, h, depth, color, 0, 0, interlace)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data)
                     + chunk(b"IEND", b""))


def tiff(orientation, order, kind=3, count=1):
    """Exif data with a width (ignored) and an orientation, of a TIFF type and so many times."""
    header = (b"MM" if order == ">" else b"II") + struct.pack(order + "HI", 42, 8)
    value = struct.pack(order + str(count) + {3: "H", 4: "I"}[kind], *[orientation] * count)
    end = 8 + 2 + 2 * 12 + 4  # of the directory: a long value follows it
    far = len(value) > 4
    entries = [(0x0100, 4, 1, struct.pack(order + "I", 9)),
               (0x0112, kind, count, struct.pack(order + "I", end) if far else value.ljust(4, b"\0"))]
    body = struct.pack(order + "H", len(entries))
    for tag, kind, count, value in entries:
        body += struct.pack(order + "HHI", tag, kind, count) + value
    return b"Exif\0\0" + header + body + struct.pack(order + "I", 0) + (value if far else b"")


def xmp(orientation):
    """An XMP packet that says it as an attribute or as an element."""
    inside = f"<rdf:Description {orientation}/>" if "=" in orientation else orientation
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>{inside}</rdf:RDF></x:xmpmeta>'.encode()


def adam7(a):
    rows = []
    for y0, x0, dy, dx in [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2),
                           (0, 1, 2, 2), (1, 0, 2, 1)]:
        part = a[y0::dy, x0::dx]
        if part.size:
            rows += [row.tobytes() for row in part]
    return rows


def write_pictures():
    """Expected pixels that Pillow's convert("RGB") does not give; None: ask Pillow."""
    IMAGES.mkdir(exist_ok=True)
    h, w = 11, 13
    rgb = pattern(h, w)
    alpha = pattern(h + 3, w)[3:, :, 1]
    gray = pattern(h, w)[:, :, 2]
    deep = rgb.astype(np.uint16) * 256 + (rgb[:, ::-1].astype(np.uint16) ^ 0xA5)
    deep_gray = deep[:, :, 0]
    picture = Image.fromarray(rgb)
    palette = picture.quantize(16)
    expected = {}

    def save(name, image, **options):
        image.save(IMAGES / name, **options)
        expected[name] = None

    save("rgb.png", picture, optimize=True)
    save("rgba.png", Image.fromarray(np.dstack([rgb, alpha])))
    save("gray.png", Image.fromarray(gray))
    save("gray_alpha.png", Image.fromarray(np.dstack([gray, alpha]), "LA"))
    save("palette.png", palette)
    save("palette_transparent.png", palette, transparency=3)
    save("one_bit.png", Image.fromarray(gray > 127))
    save("rgb.bmp", picture)
    save("palette.bmp", palette)
    y, x = np.mgrid[0:32, 0:40]
    smooth = np.dstack([40 + 4 * x, 200 - 3 * y, 60 + 2 * x + 2 * y]).astype(np.uint8)
    save("rgb.jpg", Image.fromarray(smooth), quality=95, subsampling=0)
    save("progressive.jpg", Image.fromarray(smooth), quality=95, subsampling=0, progressive=True)
    save("gray.JPEG", Image.fromarray(smooth[:, :, 0]), quality=95)
    # Sharp, odd sides, halved chroma: every rule of the upsampling shows, at the edges as well.
    sharp = pattern(19, 23)
    save("420.jpg", Image.fromarray(sharp), quality=90, subsampling="4:2:0")
    save("422.jpg", Image.fromarray(sharp), quality=90, subsampling="4:2:2")
    save("420_progressive.jpg", Image.fromarray(sharp), quality=60, subsampling="4:2:0",
         progressive=True, restart_marker_blocks=2)
    save("gray_progressive.jpg", Image.fromarray(sharp[:, :, 1]), quality=80, progressive=True)
    save("stored_rgb.jpg", Image.fromarray(sharp), quality=90, keep_rgb=True)
    inks = Image.fromarray(np.dstack([sharp, sharp[::-1, :, 0]]), "CMYK")
    save("cmyk.jpg", inks, quality=90)
    # Pillow writes CMYK alone. Without Adobe's segment it is CMYK still; with the transform code 2
    # in it the same numbers are YCCK.
    stored = (IMAGES / "cmyk.jpg").read_bytes()
    adobe = stored.index(b"\xff\xee\x00\x0eAdobe")
    (IMAGES / "cmyk_plain.jpg").write_bytes(stored[:adobe] + stored[adobe + 16:])
    (IMAGES / "ycck.jpg").write_bytes(stored[:adobe + 15] + b"\2" + stored[adobe + 16:])
    expected |= {"cmyk_plain.jpg": None, "ycck.jpg": None}

    # Orientation tags: each of the eight, of either byte order, in JPEG and in PNG.
    small = Image.fromarray(pattern(5, 9))
    for turn in range(1, 9):
        save(f"turned_{turn}.jpg", small, quality=90, exif=tiff(turn, ">" if turn % 2 else "<"))
    save("turned_6.png", small, exif=tiff(6, "<"))
    save("turned_9.png", small, exif=tiff(9, ">"))  # not an orientation
    # The other places and types that Pillow looks at.
    save("turned_6_long.jpg", small, quality=90, exif=tiff(6, "<", kind=4))
    save("turned_8_twice.jpg", small, quality=90, exif=tiff(8, ">", count=3))
    save("turned_5_xmp.jpg", small, quality=90, xmp=xmp('tiff:Orientation="5"'))
    save("turned_1_over_xmp.jpg", small, quality=90, exif=tiff(1, "<"),
         xmp=xmp('tiff:Orientation="6"'))
    notes = PngImagePlugin.PngInfo()
    notes.add_itxt("XML:com.adobe.xmp", xmp("<tiff:Orientation>7</tiff:Orientation>").decode(), zip=True)
    save("turned_7_xmp.png", small, pnginfo=notes)
    for zipped in (False, True):
        notes = PngImagePlugin.PngInfo()
        data = tiff(8 if zipped else 6, ">")
        digits = "\n".join(data.hex()[i:i + 72] for i in range(0, 2 * len(data), 72))
        notes.add_text("Raw profile type exif", f"\nexif\n{len(data):8}\n{digits}\n", zip=zipped)
        save(f"turned_{8 if zipped else 6}_text.png", small, pnginfo=notes)

    save("lossy.webp", picture, quality=80)
    save("lossless.webp", picture, lossless=True)
    save("alpha.webp", Image.fromarray(np.dstack([rgb, alpha])), quality=60)
    save("lossless_alpha.webp", Image.fromarray(np.dstack([rgb, alpha])), lossless=True, exact=True)
    save("smooth.webp", Image.fromarray(smooth), quality=30)
    save("turned_6.webp", small, lossless=True, exif=tiff(6, "<"))
    save("turned_4_xmp.webp", small, lossless=True, xmp=xmp('tiff:Orientation="4"'))

    png(IMAGES / "rgb16.png", [row.astype(">u2").tobytes() for row in deep], w, h, 16, 2)
    png(IMAGES / "interlaced.png", adam7(rgb), w, h, 8, 2, interlace=1)
    key = struct.pack(">HHH", *(int(v) for v in rgb[4, 5]))
    png(IMAGES / "rgb_key.png", [row.tobytes() for row in rgb], w, h, 8, 2, extra=chunk(b"tRNS", key))
    expected |= {"rgb16.png": None, "interlaced.png": None, "rgb_key.png": None}
    # Pillow opens 16-bit gray as integers and clips them to 255; the high byte is what every other
    # depth keeps, and what Pillow itself keeps of 16-bit colour.
    png(IMAGES / "gray16.png", [row.astype(">u2").tobytes() for row in deep_gray], w, h, 16, 0)
    expected["gray16.png"] = np.repeat((deep_gray >> 8).astype(np.uint8)[:, :, None], 3, axis=2)

    # From the top down: negative height, rows in order.
    stride = (w * 3 + 3) // 4 * 4
    body = b"".join(row[:, ::-1].tobytes().ljust(stride, b"\0") for row in rgb)
    header = struct.pack("<IiiHHIIiiII", 40, w, -h, 1, 24, 0, len(body), 2835, 2835, 0, 0)
    (IMAGES / "top_down.bmp").write_bytes(
        b"BM" + struct.pack("<IHHI", 54 + len(body), 0, 0, 54) + header + body)
    expected["top_down.bmp"] = None
    return expected


def image_goldens():
    cases = []
    for name, pixels in sorted(write_pictures().items()):
        if pixels is None:
            pixels = np.asarray(ImageOps.exif_transpose(Image.open(IMAGES / name)).convert("RGB"))
        cases.append({"file": name, "h": pixels.shape[0], "w": pixels.shape[1],
                      "rgb": np.ascontiguousarray(pixels).tobytes().hex()})
    return {"made_with": MADE_WITH, "cases": cases}


def jpeg_header_goldens():
    """What Pillow says of the JPEGs in images/ without decoding them."""
    cases = []
    for file in sorted(IMAGES.iterdir()):
        if file.suffix.lower() not in (".jpg", ".jpeg"):
            continue
        image = Image.open(file)
        across_down = {-1: (1, 1), 0: (1, 1), 1: (2, 1), 2: (2, 2)}[JpegImagePlugin.get_sampling(image)]
        cases.append({"file": file.name, "h": image.height, "w": image.width,
                      "components": len(image.getbands()),
                      "progressive": bool(image.info.get("progressive", 0)),
                      "sampling": across_down, "exif": "exif" in image.info,
                      "sums": [sum(image.quantization.get(t, [])) for t in (0, 1)]})
    return {"made_with": MADE_WITH, "cases": cases}


def write(name, goldens):
    lines = ",\n".join(json.dumps(case) for case in goldens["cases"])
    text = '{"made_with": %s, "cases": [\n%s\n]}\n' % (json.dumps(goldens["made_with"]), lines)
    (HERE / name).write_text(text)


if __name__ == "__main__":
    write("data_resize.json", resize_goldens())
    write("data_images.json", image_goldens())
    write("data_jpeg_headers.json", jpeg_header_goldens())
