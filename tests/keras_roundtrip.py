#!/usr/bin/env python3
"""Trains the notebook's model in Keras on real faces, saves it in every way that Keras has, and
compares what dfengine eval makes of each file with Keras' own answers. Not in CI: needs TensorFlow,
Keras 3 or tf_keras (TF_USE_LEGACY_KERAS=1), NumPy, Pillow.

Usage: tests/keras_roundtrip.py DFENGINE FACES BASE.h5
FACES is a folder with train/ and test/ of real/ and fake/; BASE.h5 Keras' ImageNet weights of
MobileNetV2 0.35 without its top. Prints for each model and file the greatest difference of
prob_fake and the difference of AUC, and fails above 1e-4.
"""

import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
LEGACY = os.environ.get("TF_USE_LEGACY_KERAS") == "1"
if LEGACY:
    import tf_keras as keras
else:
    import keras

LIMIT = 1e-4
CLASSES = ("real", "fake")  # label 0 and label 1, as the notebook has them
L = keras.layers


def load(folder, size, limit):
    pictures, labels, names = [], [], []
    for label, name in enumerate(CLASSES):
        for path in sorted((folder / name).iterdir())[:limit]:
            picture = Image.open(path).convert("RGB").resize((size, size), Image.BILINEAR)
            pictures.append(np.asarray(picture, np.float32))
            labels.append(label)
            names.append(f"{name}/{path.name}")
    return np.stack(pictures), np.array(labels), names


def base(weights, size, **options):
    model = keras.applications.MobileNetV2(
        input_shape=(size, size, 3), alpha=0.35, include_top=False, weights=weights, **options)
    model.trainable = False
    return model


def notebook(weights):
    return keras.Sequential([
        keras.Input((96, 96, 3)), L.RandomFlip("horizontal"), L.RandomRotation(0.05),
        L.Rescaling(1 / 127.5, offset=-1), base(weights, 96), L.GlobalAveragePooling2D(),
        L.Dropout(0.2), L.Dense(128, activation="relu"), L.Dense(1, activation="sigmoid")])


def scaled_to_one(weights):
    return keras.Sequential([
        keras.Input((128, 128, 3)), L.Rescaling(1 / 255), base(weights, 128, pooling="avg"),
        L.Dense(128, activation="relu"), L.BatchNormalization(), L.Dropout(0.5),
        L.Dense(1, activation="sigmoid")])


def two_outputs(weights):
    augment = keras.Sequential([L.RandomFlip("horizontal"), L.RandomZoom(0.1)], name="augment")
    inputs = keras.Input((160, 160, 3))
    x = keras.applications.mobilenet_v2.preprocess_input(augment(inputs))
    x = L.GlobalAveragePooling2D()(base(weights, 160)(x, training=False))
    x = L.Dense(64)(L.BatchNormalization()(x))
    x = L.ReLU()(L.BatchNormalization()(x))
    return keras.Model(inputs, L.Dense(2, activation="softmax")(L.Dropout(0.3)(x)))


def flat(weights):  # the layers of the base among the model's own, one logit
    inner = base(weights, 96)
    x = L.Flatten()(L.AveragePooling2D(pool_size=(3, 3))(inner.output))
    return keras.Model(inner.input, L.Dense(1, activation="sigmoid")(x))


# The side of the pictures, the model, what the program's user sees to: pixels that go in.
MODELS = {"notebook": (96, notebook, None), "scaled_to_one": (128, scaled_to_one, None),
          "two_outputs": (160, two_outputs, None), "flat": (96, flat, "minus-one-one")}


def auc(scores, labels):
    order = np.argsort(np.argsort(scores, kind="stable"), kind="stable") + 1.0
    for value in np.unique(scores):
        order[scores == value] = order[scores == value].mean()
    positive = labels == 1
    n = positive.sum()
    return (order[positive].sum() - n * (n + 1) / 2) / (n * (~positive).sum())


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    return done.stderr


def compare(program, file, faces, names, expected, expected_auc, work):
    run(program, "eval", "--model", str(file), "--data", str(faces), "--output", str(work / "eval"))
    with open(work / "eval/predictions.csv") as table:
        got = {"/".join(row["path"].split("/")[-2:]): float(row["prob_fake"])
               for row in csv.DictReader(table)}
    found_auc = json.load(open(work / "eval/metrics.json"))["roc_auc"]
    worst = max(abs(got[name] - p) for name, p in zip(names, expected, strict=True))
    print(f"  {file.name}: probability {worst:.2e}, AUC {found_auc:.6f} - {expected_auc:.6f} = "
          f"{found_auc - expected_auc:+.1e}", flush=True)
    return worst


def main(program, faces, weights):
    keras.utils.set_random_seed(1)
    faces, worst = pathlib.Path(faces).resolve(), 0
    for name, (size, make, pixels) in MODELS.items():
        model = make(weights)
        x, y, _ = load(faces / "train", size, 200)
        test_x, test_y, names = load(faces / "test", size, None)
        if pixels:
            x, test_x = x / 127.5 - 1, test_x / 127.5 - 1
        two = model.output_shape[-1] == 2
        model.compile("adam", "sparse_categorical_crossentropy" if two else "binary_crossentropy")
        model.fit(x, y, epochs=2, batch_size=32, verbose=0)
        probability = model.predict(test_x, batch_size=32, verbose=0)[:, -1].astype(np.float64)
        expected_auc = auc(probability, test_y)
        print(f"{name}: {size} pixels, Keras {keras.__version__}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            work = pathlib.Path(folder)
            for ending in (".keras", ".h5"):
                model.save(work / f"whole{ending}")
                worst = max(worst, compare(program, work / f"whole{ending}", faces, names,
                                           probability, expected_auc, work))
            if name != "notebook":
                continue
            # Weights alone say neither the size nor the scaling.
            model.save_weights(work / "alone.weights.h5")
            run(program, "convert", str(work / "alone.weights.h5"), str(work / "m.safetensors"),
                "--img-size", str(size), "--label-positive", "fake", "--pixels", "minus-one-one")
            worst = max(worst, compare(program, work / "m.safetensors", faces, names, probability,
                                       expected_auc, work))
    print(f"greatest difference {worst:.2e}, limit {LIMIT}")
    return 0 if worst <= LIMIT else 1


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
