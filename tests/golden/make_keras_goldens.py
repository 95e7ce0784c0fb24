"""Makes the Keras goldens of tests/weights: run in tests/golden with h5py, Keras 3 and NumPy.

weights_sample.h5     Keras' attributes and every kind of data set the reader takes.
weights_sample.keras  the same in a zip as Keras 3 writes, with its config.json and metadata.json.
weights_bad_*.h5      one refused feature each.
keras_layers.json     weighted layers of keras.applications.MobileNetV2 in order: name, class.
No file names the time, so a second run writes the same bytes (but for weights_bad_virtual.h5, where
HDF5 leaves bytes unset).
Last made with h5py 3.16, Keras 3.15 (KERAS_BACKEND=torch).
"""

import json
import zipfile

import h5py
import keras
import numpy as np

VALUES = np.arange(-3, 3, dtype=np.float64).reshape(2, 3) / 4
CONFIG = json.dumps({"class_name": "Functional", "config": {"batch_shape": [None, 96, 96, 3]}})


def add(group, name, data, **options):
    return group.create_dataset(name, data=data, track_times=False, **options)


def sample(path):
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([b"second", b"first"])
        file.attrs["backend"] = np.bytes_("tensorflow")
        file.attrs["keras_version"] = "2.1.5"  # variable length
        file.attrs["model_config"] = CONFIG
        first = file.create_group("first")
        first.attrs["weight_names"] = np.array([b"first/kernel:0"])
        add(first, "first/kernel:0", VALUES.astype("<f4"))
        second = file.create_group("second")
        second.attrs["weight_names"] = np.array([], dtype=np.float64)
        add(second, "big_endian", VALUES.astype(">f4"))
        add(second, "counter", np.int64(7))
        add(second, "double", VALUES)
        add(second, "empty", np.zeros((0, 3), "<f4"))
        add(second, "half", VALUES.astype("<f2"))
        add(second, "half_big_endian", VALUES.astype(">f2"))
        add(second, "packed", np.tile(VALUES.astype("<f4"), (8, 1)), chunks=(5, 2),
            compression="gzip", shuffle=True)
        add(second, "scalar", np.float32(2.5))


def bad(name, fill):
    with h5py.File(f"weights_bad_{name}.h5", "w") as file:
        fill(file)


def loop(file):
    file.create_group("a")["back"] = file["/"]


def twice(file):
    add(file, "a", VALUES)
    file["b"] = file["a"]


def virtual(file):
    layout = h5py.VirtualLayout((2, 3), "<f8")
    layout[:] = h5py.VirtualSource("other.h5", "x", (2, 3))
    file.create_virtual_dataset("v", layout)


def huge(file):
    file.create_dataset("huge", (1 << 20, 1 << 20), "<f4", track_times=False)


def huge_packed(file):
    data = file.create_dataset("huge", (1 << 20, 1 << 10), "<f4", chunks=(1 << 10, 1 << 10),
                               compression="gzip", track_times=False)
    data[0, 0] = 1


def external_data(file):
    file.create_dataset("e", (2, 3), "<f8", external=[("other.bin", 0, 48)], track_times=False)


sample("weights_sample.h5")
bad("soft_link", lambda f: f.__setitem__("loop", h5py.SoftLink("/loop")))
bad("external_link", lambda f: f.__setitem__("link", h5py.ExternalLink("weights_sample.h5", "/")))
bad("loop", loop)
bad("twice", twice)
bad("virtual", virtual)
bad("external_data", external_data)
bad("filter", lambda f: add(f, "x", VALUES, fletcher32=True))
bad("huge", huge)
bad("huge_packed", huge_packed)

with zipfile.ZipFile("weights_sample.keras", "w") as archive:
    for name, text in [("metadata.json", b'{"keras_version": "3.15.1"}'),
                       ("config.json", CONFIG.encode()),
                       ("model.weights.h5", open("weights_sample.h5", "rb").read())]:
        archive.writestr(zipfile.ZipInfo(name), text)

model = keras.applications.MobileNetV2(weights=None)
layers = [[layer.name, type(layer).__name__] for layer in model.layers if layer.weights]
with open("keras_layers.json", "w") as out:
    json.dump(layers, out, indent=0)
    out.write("\n")
