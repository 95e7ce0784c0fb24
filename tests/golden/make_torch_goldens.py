"""Makes the goldens of tests/weights/torch_file_test.cpp: run in tests/golden with torch installed.

weights_torch_zip.pth, weights_torch_legacy.pth   SAMPLE, written by torch.save both ways
weights_torch_expected.safetensors                the same tensors, dense
weights_torch_wrapped.pth                         {'model': ..., 'model_ema': ..., ...}, names with module.
weights_torch_python2.pth                         an OrderedDict as Python 2 pickled it, legacy
weights_torch_deflated.pth                        the zip file with compressed entries
weights_torch_big.pth                             a zip file that says it is big-endian
weights_torch_evil.pth, ..._evil_legacy.pth       pickles that would run os.system
Last made with torch 2.15. Legacy files name their storages by memory address, so those bytes differ
from run to run.
"""

import argparse
import collections
import io
import os
import pickle
import struct
import sys
import zipfile

import torch
from safetensors.torch import save_file


def ramp(*shape, dtype=torch.float32):
    count = 1
    for size in shape:
        count *= size
    return (torch.arange(count) - 3).to(dtype).reshape(shape)


def sample():
    shared = ramp(12)
    state = collections.OrderedDict()
    state["dense"] = ramp(2, 3)
    state["transposed"] = ramp(3, 4).t()
    state["permuted"] = ramp(2, 3, 4).permute(2, 0, 1)
    state["channels_last"] = ramp(2, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    state["shared.head"] = shared[:5]
    state["shared.tail"] = shared[7:]
    state["shared.strided"] = shared[1::3]
    state["parameter"] = torch.nn.Parameter(ramp(4))
    state["half"] = ramp(3, dtype=torch.float16)
    state["bfloat16"] = ramp(3, dtype=torch.bfloat16)
    state["double"] = ramp(2, dtype=torch.float64)
    state["int64"] = torch.tensor([2**40 + 1, -7])
    state["int32"] = ramp(3, dtype=torch.int32)
    state["int16"] = ramp(3, dtype=torch.int16)
    state["int8"] = ramp(3, dtype=torch.int8)
    state["uint8"] = torch.tensor([255, 1], dtype=torch.uint8)
    state["bool"] = torch.tensor([True, False])
    state["scalar"] = torch.tensor(12)
    state["empty"] = torch.zeros(0, 3)
    state._metadata = {"": {"version": 1}}  # as Module.state_dict sets it
    return state


def dense(state):
    return {name: tensor.detach().clone(memory_format=torch.contiguous_format)
            for name, tensor in state.items()}


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/dfengine-was-here",)


def wrapped():
    def prefixed(scale):
        return {"module.w": ramp(3) * scale, "module.n": torch.tensor(scale)}

    return {
        "epoch": 3,
        "args": argparse.Namespace(lr=0.5, names=["a"], big=2**70, none=None),
        "optimizer": {"state": {0: {"step": torch.tensor(9.0)}}, "param_groups": [{"lr": 1e-3}]},
        "model_ema": {**prefixed(2), "n_averaged": torch.tensor(4)},
        "model": prefixed(1),
    }


def python2_legacy():
    """One float tensor of 2 elements under b"w", the dict as Python 2's OrderedDict.__reduce__."""

    def text(value):
        return b"U" + bytes([len(value)]) + value

    def glob(module, name):
        return b"c" + module + b"\n" + name + b"\n"

    storage = (b"(" + text(b"storage") + glob(b"torch", b"FloatStorage") + text(b"77") + text(b"cpu")
               + b"K\x02" + b"N" + b"tQ")
    ordered = glob(b"collections", b"OrderedDict")
    tensor = (glob(b"torch._utils", b"_rebuild_tensor_v2") + b"(" + storage + b"K\x00" + b"K\x02\x85"
              + b"K\x01\x85" + b"\x89" + ordered + b"]\x85R" + b"tR")
    state = ordered + b"]" + b"]" + b"(" + text(b"w") + tensor + b"e" + b"a" + b"\x85R"
    system = {"protocol_version": 1001, "little_endian": True}
    out = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps(system, 2)
    out += b"\x80\x02" + state + b"." + b"\x80\x02]" + text(b"77") + b"a."
    return out + struct.pack("<qff", 2, 1.5, -2.0)


def save_zip(value, path):
    # The archive's name depends on the file's: through memory it is always "archive".
    buffer = io.BytesIO()
    torch.save(value, buffer)
    with open(path, "wb") as out:
        out.write(buffer.getvalue())


def deflate(source, path):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name), old.read(name), zipfile.ZIP_DEFLATED)


def check(path, expected):
    read = torch.load(path, weights_only=False)
    assert list(read) == list(expected), path
    for name, tensor in expected.items():
        assert read[name].dtype == tensor.dtype and torch.equal(read[name], tensor), (path, name)


STATE = sample()
save_zip(STATE, "weights_torch_zip.pth")
torch.save(STATE, "weights_torch_legacy.pth", _use_new_zipfile_serialization=False)
save_file(dense(STATE), "weights_torch_expected.safetensors")
save_zip(wrapped(), "weights_torch_wrapped.pth")
deflate("weights_torch_zip.pth", "weights_torch_deflated.pth")
for PATH in ("weights_torch_zip.pth", "weights_torch_legacy.pth", "weights_torch_deflated.pth"):
    check(PATH, STATE)
with open("weights_torch_python2.pth", "wb") as out:
    out.write(python2_legacy())
check("weights_torch_python2.pth", {"w": torch.tensor([1.5, -2.0])})
save_zip({"w": ramp(2), "x": Evil()}, "weights_torch_evil.pth")
torch.save({"w": ramp(2), "x": Evil()}, "weights_torch_evil_legacy.pth",
           _use_new_zipfile_serialization=False)
sys.byteorder = "big"
save_zip({"w": ramp(2)}, "weights_torch_big.pth")
