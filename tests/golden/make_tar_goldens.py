#!/usr/bin/env python3
"""Writes tar_ustar.tar, tar_pax.tar and tar_gnu.tar with Python's tarfile: what the test of engine/data/tar.h reads.
Usage: tests/golden/make_tar_goldens.py    (Python 3.11)
"""
import io
import os
import tarfile


def add(tar, name, content=b"", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(content))


folder = os.path.dirname(os.path.abspath(__file__))
for name, form in (("ustar", tarfile.USTAR_FORMAT), ("pax", tarfile.PAX_FORMAT), ("gnu", tarfile.GNU_FORMAT)):
    with tarfile.open(os.path.join(folder, f"tar_{name}.tar"), "w", format=form) as out:
        add(out, "faces", type=tarfile.DIRTYPE)
        add(out, "faces/000.jpg", b"first " * 100)
        add(out, "faces/000.cls", b"1")
        add(out, "l" * 90 + "/" + "m" * 60 + ".jpg", b"long")
        add(out, "empty.png")
        add(out, "link.jpg", type=tarfile.SYMTYPE, linkname="faces/000.jpg")
        add(out, "again.jpg", type=tarfile.LNKTYPE, linkname="faces/000.jpg")
        if form != tarfile.USTAR_FORMAT:
            add(out, "n" * 300 + ".jpg", b"longer")
        add(out, "\u00fc \u6f22.jpg", b"last")
