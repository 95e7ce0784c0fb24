"""Makes further HDF5 goldens of tests/weights: run in tests/golden with h5py and NumPy.

weights_more.h5    what large or unusual files have: B-trees of two levels, many entries in a group,
                   header continuations, data in the header, groups in creation order, chunks that
                   do not fill the edge, filters left out for a chunk, texts of variable length.
weights_latest.h5  libver='latest': superblock 3, object headers of version 2.
weights_bad_*.h5   one refused feature each.
Every value is (place - 3) / 4 with the place counted in C order, modulo 64. Last made with h5py 3.16.
"""

import h5py
import numpy as np


def values(*shape):
    return ((np.arange(np.prod(shape)).reshape(shape) % 64 - 3) / 4).astype("<f4")


def add(group, name, data, **options):
    return group.create_dataset(name, data=data, track_times=False, **options)


def compact(file, name, data):
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.COMPACT)
    plan.set_obj_track_times(False)
    space = h5py.h5s.create_simple(data.shape)
    h5py.h5d.create(file.id, name, h5py.h5t.IEEE_F32LE, space, plan).write(
        h5py.h5s.ALL, h5py.h5s.ALL, data)


with h5py.File("weights_more.h5", "w") as file:
    many = file.create_group("many")
    for i in range(20):
        add(many, f"n{i:02}", values(1))
    add(file, "deep_tree", values(70, 2), chunks=(1, 2))
    add(file, "edges", values(5, 4, 3), chunks=(2, 3, 2), compression="gzip", shuffle=True)
    add(file, "doubles", values(9).astype(">f8"), chunks=(4,), shuffle=True)
    compact(file, b"compact", values(2, 3))
    skipped = file.create_dataset("skipped", (4,), "<f4", chunks=(2,), compression="gzip",
                                  track_times=False)
    skipped.id.write_direct_chunk((0,), values(4)[:2].tobytes(), filter_mask=1)
    skipped[2:] = values(4)[2:]
    ordered = file.create_group("ordered", track_order=True)
    add(ordered, "b", values(3))
    add(ordered, "a", values(2))
    for i in range(12):
        file.attrs[f"other{i}"] = "x" * 40
    file.attrs["keras_version"] = "3.15.1"
    file.attrs.create("layer_names", ["many", "", "ordered"], dtype=h5py.string_dtype())
    file.attrs["backend"] = np.bytes_("torch")
    file.attrs["model_config"] = h5py.Empty("f")

with h5py.File("weights_latest.h5", "w", libver="latest") as file:
    add(file, "whole", values(2, 3))
    add(file.create_group("inner"), "half", values(4).astype("<f2"))
    file.attrs["keras_version"] = "3.15.1"

with h5py.File("weights_bad_dense_links.h5", "w", libver="latest") as file:
    for i in range(9):
        file.create_group(f"g{i}")

with h5py.File("weights_bad_dense_attributes.h5", "w", libver="latest") as file:
    for i in range(9):
        file.attrs[f"a{i}"] = i

with h5py.File("weights_bad_new_chunks.h5", "w", libver="latest") as file:
    add(file, "x", values(8), chunks=(3,))

with h5py.File("weights_bad_chunk_missing.h5", "w") as file:
    file.create_dataset("x", (4,), "<f4", chunks=(2,), compression="gzip",
                        track_times=False)[:2] = 1

with h5py.File("weights_bad_named_type.h5", "w") as file:
    file["t"] = np.dtype("<f4")

with h5py.File("weights_bad_odd_float.h5", "w") as file:
    odd = h5py.h5t.IEEE_F32LE.copy()
    odd.set_ebias(100)
    h5py.h5d.create(file.id, b"x", odd, h5py.h5s.create_simple((2,)))
