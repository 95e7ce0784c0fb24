"""Makes the goldens of tests/weights: run in tests/golden with safetensors and torch installed.

weights_python.safetensors  written by the safetensors package: what our reader must read.
weights_ours.safetensors    the bytes our writer must give for the same tensors, composed here from
                            the format's description and read back by the safetensors package, so
                            that a test which compares bytes also shows that Python reads our files.
Last made with safetensors 0.8, torch 2.15.
"""

import json
import struct

import torch
from safetensors import safe_open
from safetensors.torch import save_file

METADATA = {"arch": "mobilenet_v2", "classes": 'fake "äöü"\n'}
# name, dtype in the file, tensor. tests/weights/safetensors_test.cpp holds the same values.
SAMPLE = [
    ("f32", "F32", torch.tensor([[0.0, -1.5, 3.25], [1e-40, float("inf"), 65504.0]])),
    ("f16", "F16", torch.tensor([0.5, -2.0, 2.0**-24], dtype=torch.float16)),
    ("bf16", "BF16", torch.tensor([1.0, -3.0], dtype=torch.bfloat16)),
    ("f64", "F64", torch.tensor([0.1], dtype=torch.float64)),
    ("i64", "I64", torch.tensor([2**40 + 1, -7], dtype=torch.int64)),
    ("i32", "I32", torch.tensor([-5], dtype=torch.int32)),
    ("i16", "I16", torch.tensor([-300], dtype=torch.int16)),
    ("scalar", "I64", torch.tensor(12, dtype=torch.int64)),
    ("empty", "F32", torch.zeros(0, 3)),
    ("u8", "U8", torch.tensor([255, 1, 2], dtype=torch.uint8)),
    ("i8", "I8", torch.tensor([-128], dtype=torch.int8)),
    ("bool", "BOOL", torch.tensor([True, False])),
]


def bytes_of(tensor):
    return bytes(tensor.contiguous().reshape(-1).view(torch.uint8).tolist()) if tensor.numel() else b""


def our_bytes():
    header, data = {"__metadata__": METADATA}, b""
    for name, dtype, tensor in SAMPLE:
        begin = len(data)
        data += bytes_of(tensor)
        header[name] = {
            "dtype": dtype,
            "shape": list(tensor.shape),
            "data_offsets": [begin, len(data)],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def check(path):
    with safe_open(path, "pt") as file:
        assert file.metadata() == METADATA
        assert set(file.keys()) == {name for name, _, _ in SAMPLE}
        for name, _, tensor in SAMPLE:
            read = file.get_tensor(name)
            assert read.dtype == tensor.dtype and read.shape == tensor.shape, name
            assert bytes_of(read) == bytes_of(tensor), name


save_file({name: tensor for name, _, tensor in SAMPLE}, "weights_python.safetensors", METADATA)
check("weights_python.safetensors")
with open("weights_ours.safetensors", "wb") as out:
    out.write(our_bytes())
check("weights_ours.safetensors")
