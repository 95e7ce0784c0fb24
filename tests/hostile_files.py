#!/usr/bin/env python3
"""Makes the files of tests/hostile.sh. Usage: hostile_files.py GOLDEN FOLDER COPIES

set/       pictures of two classes: sound ones, damaged copies of the golden ones, odd names and kinds
tables/    CSV files, most of them odd; apart.csv is a sound one of other pictures
weights/   damaged copies of the golden weights, and files that are none
packs/     packed files that are none
"""

import os
import pathlib
import random
import socket
import struct
import sys
import zlib

golden, out, copies = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
chance = random.Random(1)


def damaged(data):
    data = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 4, 30])):
        if not data:
            break
        # Headers are where sizes stand.
        at = chance.randrange(chance.choice([len(data), min(len(data), 256)]))
        how = chance.randrange(6)
        if how == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif how == 1:
            data[at] = chance.choice([0, 0x7F, 0x80, 0xFF])
        elif how == 2:
            del data[at:at + chance.randrange(1, 32)]
        elif how == 3:
            data[at:at] = chance.randbytes(chance.randrange(1, 32))
        elif how == 4:
            data[at:at + 4] = chance.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"])
        elif len(data) > 64:
            del data[at:]
    return bytes(data)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, color, data=b"", more=b"", interlaced=0):
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more +
            chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b""))


def made_pictures():
    yield "huge.png", png(60000, 60000, 8, 2)
    yield "wide.png", png(0x7FFFFFFF, 1, 16, 6)
    yield "none.png", png(0, 0, 8, 2)
    yield "text.png", png(1, 1, 8, 2, b"\0" * 4,
                          chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"A" * 10**7)))
    yield "palette.png", png(9, 9, 8, 3, b"\0" + b"\xff" * 90)
    yield "interlaced.png", png(5, 5, 1, 0, b"\0" * 9, interlaced=1)
    yield "exif.jpg", b"\xff\xd8\xff\xe1\x00\x20Exif\0\0MM\0*\xff\xff\xff\xff" + b"\0" * 40
    yield "many.jpg", b"\xff\xd8" + b"\xff\xe1\x00\x02" * 20000
    yield "heic.jpg", b"\0\0\0\x18ftypheic" + b"\0" * 99
    yield "page.jpg", b"<!DOCTYPE html>"
    yield "empty.jpg", b""
    yield "bitmap.bmp", struct.pack("<2sIHHIIiiHHI", b"BM", 99, 0, 0, 54, 40, -2**31, 9, 1, 24, 3)
    yield "large.webp", b"RIFF\xff\xff\xff\xffWEBPVP8X\x0a\0\0\0\x10\0\0\0\xff\xff\xff\xff\xff\xff"


def odd_kinds(folder):
    (folder / "dangling.jpg").symlink_to("nowhere")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "device.jpg").symlink_to("/dev/zero")
    (folder / "self").symlink_to("..")
    (folder / "folder.jpg").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    # A socket's whole name has a hundred characters at most.
    here = os.getcwd()
    os.chdir(folder)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("socket.jpg")
    os.chdir(here)
    with open(folder / "sparse.jpg", "wb") as f:
        f.truncate(2**40)
    (folder / "closed.jpg").write_bytes(b"x")
    (folder / "closed.jpg").chmod(0)


def odd_names(folder, data):
    names = [b"\xff\xfe.jpg", b"new\nline.jpg", b"\x1b]0;title\x07.jpg", b"=1+1.jpg", b"-rf.jpg",
             b"%s%n.jpg", b"a,b;\"c\".jpg", b" .jpg", "\u202egpj.exe.jpg".encode(), b"q" * 250 + b".jpg"]
    for name in names:
        with open(os.path.join(os.fsencode(folder), name), "wb") as f:
            f.write(data)


def tables(pictures):
    rows = [f"{'real' if i % 2 else 'fake'}/{name},{i % 2 ^ 1},{i},2024-01-{i % 31:02}"
            for i, name in enumerate(pictures)]
    text = "path,label,size,taken\n" + "\n".join(rows) + "\n"
    yield "plain.csv", text.encode()
    yield "utf16.csv", text.encode("utf-16")
    yield "one.csv", text.replace("\n", "\r").encode()
    yield "quote.csv", text.encode() + b'"never closed,1,2\n'
    yield "columns.csv", (",".join(f"c{i}" for i in range(5000)) + "\n").encode()
    yield "numbers.csv", ("path,label,n\n" + "".join(
        f"real/x{i}.jpg,{i % 2},{n}\n" for i, n in enumerate(["1e999", "-1e999", "nan", "inf", "0x10", ""]))).encode()
    yield "up.csv", b"path,label\n../../../../etc/passwd,1\n/dev/zero,0\n"
    yield "nul.csv", b"path,label\na\0b,1\n"
    yield "empty.csv", b""
    for i in range(copies):
        yield f"damaged{i}.csv", damaged(text.encode())


def main():
    for name in ("set/real", "set/fake", "tables", "weights", "packs"):
        (out / name).mkdir(parents=True)
    images = sorted((golden / "images").iterdir())
    for i, image in enumerate(images):
        folder = out / ("set/real" if i % 2 else "set/fake")
        data = image.read_bytes()
        for sound in "abcdefgh":
            (folder / f"{sound}_{image.name}").write_bytes(data)
        for n in range(copies):
            (folder / f"damaged{n}_{image.name}").write_bytes(damaged(data))
    for name, data in made_pictures():
        (out / "set/real" / name).write_bytes(data)
    odd_kinds(out / "set/fake")
    odd_names(out / "set/real", images[0].read_bytes())
    for name, data in tables([f"a_{image.name}" for image in images]):
        (out / "tables" / name).write_bytes(data)
    # A sound one of other pictures, to measure on.
    (out / "apart.csv").write_bytes(next(tables([f"b_{image.name}" for image in images]))[1])
    for weights in sorted(golden.glob("*.safetensors")) + sorted(golden.glob("weights_*")):
        data = weights.read_bytes()
        (out / "weights" / weights.name).write_bytes(data)
        for n in range(copies):
            (out / "weights" / f"damaged{n}_{weights.name}").write_bytes(damaged(data))
    header = b'{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,8]}}'
    (out / "weights/shape.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 8)
    (out / "weights/length.safetensors").write_bytes(b"\xff" * 16)
    (out / "weights/nested.json").write_bytes(b"[" * 100000)
    index = b'{"size":4096,"crop":"none","resize":"bilinear","max_pixels":1,"digest":"","splits":9}\0'
    start = b"DFPACK1\n" + struct.pack("<QQQ", len(index), 0, 4096)
    (out / "packs/digest.dfpack").write_bytes((start + index).ljust(5000, b"\0"))
    (out / "packs/length.dfpack").write_bytes(b"DFPACK1\n" + b"\xff" * 24)
    (out / "packs/none.dfpack").write_bytes(b"DFPACK2\n")


main()
