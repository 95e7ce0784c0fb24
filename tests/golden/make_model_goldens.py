"""Writes the whole-network goldens: MobileNetV2 of width 0.1, computed by PyTorch in float64.

    python tests/golden/make_model_goldens.py            # writes beside this script

README.md in this folder says what each file holds and states the parameter formula, which stands in
`parameter()` below. Needs torch, torchvision, numpy, safetensors (versions go into the metadata).
"""

import json
import math
import pathlib

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

SEED = 20240501  # of the pictures; the parameters have no seed, only the formula
WIDTH = 0.1
SIZE = 64
TARGETS = [0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0]
BATCH = len(TARGETS)
MEAN = [0.485, 0.456, 0.406]
STD = [0.229, 0.224, 0.225]
LEARNING_RATE = 1e-3
SMALL_LEARNING_RATE = 1e-5  # its loss curve stays comparable in float; see README.md
STEPS = 10
FULL_BELOW = 4096  # tensors with fewer elements are stored whole
SAMPLES = 1024  # of the others, every ceil(count / SAMPLES)-th element


def unit_values(tensor_index, count):
    """count numbers in [-1, 1): splitmix64 of (tensor_index << 32) + element, top 24 bits."""
    z = (np.uint64(tensor_index) << np.uint64(32)) + np.arange(count, dtype=np.uint64)
    with np.errstate(over="ignore"):
        z = z + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0


def parameter(tensor_index, name, shape):
    """The tensor's values, rounded to float32, so that float and double runs start alike."""
    count = math.prod(shape)
    u = unit_values(tensor_index, count)
    if len(shape) > 1:  # convolution or dense weight
        values = math.sqrt(6.0 / (count // shape[0])) * u
    elif name.endswith("running_var"):
        values = 1.0 + 0.5 * np.abs(u)
    elif name.endswith(".weight"):  # batch norm scale
        values = 1.0 + 0.1 * u
    else:  # bias, batch norm shift, running_mean
        values = 0.1 * u
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


class Head(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.fc1 = nn.Linear(channels, 128)
        self.fc2 = nn.Linear(128, 1)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x)))


class TfSameConv(nn.Conv2d):
    """TensorFlow's 'same' for a 3x3 window at stride 2 on an even size: 0 before, 1 after."""

    def forward(self, x):
        assert x.shape[2] % 2 == 0 and x.shape[3] % 2 == 0
        return self._conv_forward(F.pad(x, (0, 1, 0, 1)), self.weight, self.bias)


class Network(nn.Module):
    def __init__(self, tf_same, stem_stride):
        super().__init__()
        base = torchvision.models.mobilenet_v2(weights=None, width_mult=WIDTH)
        base.features[0][0].stride = (stem_stride, stem_stride)
        self.features = base.features
        self.head = Head(base.last_channel)
        if tf_same:
            self.use_tf_same()
        self.double()
        self.load_state_dict(self.formula_state())

    def use_tf_same(self):
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 1e-3
            elif isinstance(module, nn.Conv2d) and module.stride == (2, 2):
                module.padding = (0, 0)
                module.__class__ = TfSameConv

    def formula_state(self):
        state = self.state_dict()
        for index, name in enumerate(self.names()):
            state[name] = parameter(index, name, tuple(state[name].shape)).double()
        return state

    def names(self):
        return [n for n in self.state_dict() if not n.endswith("num_batches_tracked")]

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3))).squeeze(1)


def make_images():
    """[N, H, W, 3] uint8: coarse coloured patches, a different contrast per picture, and noise."""
    rng = np.random.default_rng(SEED)
    patches = rng.uniform(-1, 1, (BATCH, 8, 8, 3)).repeat(SIZE // 8, 1).repeat(SIZE // 8, 2)
    contrast = np.linspace(30, 120, BATCH).reshape(BATCH, 1, 1, 1)
    noise = rng.normal(0, 12, (BATCH, SIZE, SIZE, 3))
    return np.clip(np.rint(127.5 + contrast * patches + noise), 0, 255).astype(np.uint8)


def normalized(images):
    x = (images.astype(np.float64) / 255.0 - MEAN) / STD
    return torch.from_numpy(x.transpose(0, 3, 1, 2).copy())


def sampled(tensor):
    if tensor.numel() < FULL_BELOW:
        return tensor.detach().to(torch.float32, copy=True)
    stride = math.ceil(tensor.numel() / SAMPLES)
    return tensor.detach().flatten()[::stride].to(torch.float32, copy=True)


def train_step(network, optimizer, x, targets):
    optimizer.zero_grad()
    loss = F.binary_cross_entropy_with_logits(network(x), targets)
    loss.backward()
    optimizer.step()
    return loss.detach()


def one_step_tensors(network, x, targets):
    """What one step changes; the network is left behind it."""
    optimizer = torch.optim.Adam(network.train().parameters(), lr=LEARNING_RATE)
    train_step(network, optimizer, x, targets)
    out = {f"grad/{n}": sampled(p.grad) for n, p in network.named_parameters()}
    out |= {f"adam/{n}": sampled(p) for n, p in network.named_parameters()}
    return out | {f"running/{n}": sampled(b) for n, b in network.named_buffers() if "running_" in n}


def loss_curve(network, learning_rate, x, targets):
    """The losses of STEPS steps, each before its update."""
    optimizer = torch.optim.Adam(network.train().parameters(), lr=learning_rate)
    return torch.stack([train_step(network, optimizer, x, targets) for _ in range(STEPS)])


def golden(tf_same, stem_stride, whole_step):
    network = Network(tf_same, stem_stride)
    images = make_images()
    x, targets = normalized(images), torch.tensor(TARGETS, dtype=torch.float64)
    with torch.no_grad():
        logits = network.eval()(x)
        loss = F.binary_cross_entropy_with_logits(network.train()(x), targets)
    out = {"images": torch.from_numpy(images), "targets": targets.float(), "eval_logits": logits,
           "train_loss": loss.reshape(1)}
    if whole_step:  # each from a fresh network: training moves the running statistics too
        out |= one_step_tensors(Network(tf_same, stem_stride), x, targets)
        out["losses"] = loss_curve(Network(tf_same, stem_stride), LEARNING_RATE, x, targets)
        out["losses_small_lr"] = loss_curve(Network(tf_same, stem_stride), SMALL_LEARNING_RATE, x, targets)
    return out, network.names()


def save(path, tensors, metadata):
    """As safetensors writes it, but with sorted metadata: the same run gives the same bytes."""
    raw = safetensors.torch.save(tensors, metadata)
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:8 + length])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length:])


def main():
    torch.set_num_threads(1)
    folder = pathlib.Path(__file__).parent
    for padding, stem_stride in (("torch", 2), ("torch", 1), ("tf_same", 2)):
        tensors, names = golden(padding == "tf_same", stem_stride, whole_step=padding == "torch")
        metadata = {
            "architecture": "mobilenet_v2", "width": str(WIDTH), "padding": padding,
            "stem_stride": str(stem_stride), "bn_eps": "1e-3" if padding == "tf_same" else "1e-5", "bn_momentum": "0.1",
            "mean": str(MEAN), "std": str(STD), "learning_rate": str(LEARNING_RATE),
            "small_learning_rate": str(SMALL_LEARNING_RATE),
            "parameter_order": ",".join(names), "picture_seed": str(SEED),
            "made_by": f"make_model_goldens.py, torch {torch.__version__}, "
                       f"torchvision {torchvision.__version__}, numpy {np.__version__}",
        }
        kind = padding if stem_stride == 2 else f"{padding}_stem_1"
        path = folder / f"mobilenet_v2_010_{kind}.safetensors"
        save(path, tensors, metadata)
        print(path.name, path.stat().st_size, "bytes, eval logits", tensors["eval_logits"].tolist(),
              "train loss", tensors["train_loss"].item())
        if "losses" in tensors:
            print("losses", tensors["losses"].tolist(), tensors["losses_small_lr"].tolist())


if __name__ == "__main__":
    main()
