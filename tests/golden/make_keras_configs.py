"""Makes keras_configs.json: what Keras writes as config.json (Keras 3) and as model_config (Keras 2)
of models around MobileNetV2, without what no reader looks at. Run in tests/golden with TensorFlow,
Keras 3 and tf_keras; it runs itself once more for Keras 2.
Last made with Keras 3.15 and tf_keras 2.21.
"""

import json
import os
import subprocess
import sys

LEGACY = os.environ.get("TF_USE_LEGACY_KERAS") == "1"
if LEGACY:
    import tf_keras as keras
else:
    import keras

L = keras.layers
DROPPED = ("initializer", "regularizer", "constraint", "build_config", "compile_config", "module",
           "registered_name", "dtype", "shared_object_id", "quantization_config")
OF_BASE = ("Conv1", "bn_Conv1", "expanded_conv", "block_", "Conv_1")  # their names are enough


def base(size, **options):
    return keras.applications.MobileNetV2(
        input_shape=(size, size, 3), alpha=0.35, include_top=False, weights=None, **options)


def notebook():
    return keras.Sequential([
        keras.Input((96, 96, 3)), L.RandomFlip("horizontal"), L.RandomRotation(0.1),
        L.Rescaling(1 / 127.5, offset=-1), base(96), L.GlobalAveragePooling2D(), L.Dropout(0.25),
        L.Dense(128, activation="relu"), L.Dense(1, activation="sigmoid")])


def functional():
    augment = keras.Sequential([L.RandomFlip("horizontal"), L.RandomZoom(0.1)], name="augment")
    inputs = keras.Input((160, 160, 3))
    x = keras.applications.mobilenet_v2.preprocess_input(augment(inputs))
    x = L.GlobalAveragePooling2D()(base(160)(x, training=False))
    return keras.Model(inputs, L.Dense(120, activation="softmax")(L.Dropout(0.5)(x)))


def flat():
    inner = base(224)
    x = L.Flatten(name="flatten")(L.AveragePooling2D(pool_size=(7, 7))(inner.output))
    x = L.BatchNormalization(epsilon=1e-4)(L.Dense(64)(x))
    return keras.Model(inner.input, L.Dense(2, activation="softmax")(L.ReLU()(x)))


def per_channel():
    inputs = keras.Input((None, None, 3))
    x = L.Normalization(mean=[100.0, 110, 120], variance=[3600.0, 2500, 1600])(
        L.Resizing(128, 128)(inputs))
    return keras.Model(inputs, L.Dense(1)(base(128, pooling="avg")(x)))


def two_answers():
    inputs = keras.Input((96, 96, 3))
    x = L.GlobalAveragePooling2D()(base(96)(inputs))
    return keras.Model(inputs, [L.Dense(1, activation="sigmoid")(x), L.Dense(3)(x)])


def maximum():
    return keras.Sequential([keras.Input((96, 96, 3)), base(96), L.GlobalMaxPooling2D(), L.Dense(1)])


def other_activation():
    return keras.Sequential([keras.Input((96, 96, 3)), base(96, pooling="avg"),
                             L.Dense(128, activation="gelu"), L.Dense(1)])


MODELS = (notebook, functional, flat, per_channel, two_answers, maximum, other_activation)


def pruned(value):
    if isinstance(value, list):
        return [pruned(v) for v in value]
    if not isinstance(value, dict):
        return value
    name = value.get("config", {}).get("name", "") if isinstance(value.get("config"), dict) else ""
    if name.startswith(OF_BASE):
        return {"class_name": value["class_name"], "config": {"name": name}}
    return {k: pruned(v) for k, v in value.items() if not k.endswith(DROPPED)}


def configs():
    all_models = {}
    for make in MODELS:
        keras.utils.set_random_seed(1)
        keras.backend.clear_session()
        model = json.loads(make().to_json())
        all_models[make.__name__] = pruned({"class_name": model["class_name"], "config": model["config"]})
    return all_models


if LEGACY:
    json.dump(configs(), sys.stdout)
else:
    run = subprocess.run([sys.executable, __file__], env=os.environ | {"TF_USE_LEGACY_KERAS": "1"},
                         check=True, stdout=subprocess.PIPE)
    with open("keras_configs.json", "w") as file:
        json.dump({"keras 3": configs(), "keras 2": json.loads(run.stdout)}, file,
                  separators=(",", ":"))
        file.write("\n")
