#!/usr/bin/env python3
"""Makes tests/golden/kernels.json: batch norm, Adam, AdamW and binary cross-entropy by PyTorch.

Run: python3 tests/golden/make_kernel_goldens.py     (needs torch)
Everything is computed in double from inputs that a float holds exactly.
"""
import json
import pathlib

import torch

SEED = 20240607
EPS, MOMENTUM = 1e-3, 0.2


def numbers(tensor):
    return tensor.detach().reshape(-1).tolist()


def uniform(low, high, *shape):
    return (torch.rand(*shape) * (high - low) + low).float().double()


def batch_norm(activation, training):
    n, h, w, c = 2, 3, 2, 5
    x = uniform(-2, 4, n, c, h, w).requires_grad_()
    layer = torch.nn.BatchNorm2d(c, eps=EPS, momentum=MOMENTUM, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(uniform(0.5, 4, c))
        layer.bias.copy_(uniform(-1, 4, c))
        layer.running_mean.copy_(uniform(-1, 1, c))
        layer.running_var.copy_(uniform(0.5, 2, c))
    case = {"activation": activation, "training": training, "m": n * h * w, "c": c,
            "eps": EPS, "momentum": MOMENTUM,
            "x": numbers(x.permute(0, 2, 3, 1)), "gamma": numbers(layer.weight),
            "beta": numbers(layer.bias), "running_mean_in": numbers(layer.running_mean),
            "running_var_in": numbers(layer.running_var)}
    act = {"none": torch.nn.Identity(), "relu": torch.nn.ReLU(), "relu6": torch.nn.ReLU6()}
    layer.train(training)
    y = act[activation](layer(x))
    dy = uniform(-1, 1, *y.shape)
    y.backward(dy)
    case |= {"dy": numbers(dy.permute(0, 2, 3, 1)), "y": numbers(y.permute(0, 2, 3, 1)),
             "dx": numbers(x.grad.permute(0, 2, 3, 1)), "dgamma": numbers(layer.weight.grad),
             "dbeta": numbers(layer.bias.grad), "running_mean": numbers(layer.running_mean),
             "running_var": numbers(layer.running_var)}
    return case


def adam(decoupled):
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    settings = {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.05}
    w = uniform(-1, 1, 37).requires_grad_()
    optimizer = kind([w], **settings)
    case = {"decoupled": decoupled, **settings, "w_in": numbers(w), "gradients": []}
    for _ in range(5):
        w.grad = uniform(-1, 1, 37)
        case["gradients"].append(numbers(w.grad))
        optimizer.step()
    state = optimizer.state[w]
    return case | {"w": numbers(w), "m": numbers(state["exp_avg"]),
                   "v": numbers(state["exp_avg_sq"])}


def bce():
    z = torch.tensor([-100.0, -20, -3, -0.5, 0, 0.25, 1, 7, 30, 100], dtype=torch.float64)
    z.requires_grad_()
    t = torch.tensor([0.0, 1, 0, 1, 1, 0, 1, 0, 1, 0], dtype=torch.float64)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(z, t)
    loss.backward()
    return {"logits": numbers(z), "targets": numbers(t), "loss": loss.item(),
            "dlogits": numbers(z.grad)}


def main():
    torch.manual_seed(SEED)
    golden = {"made_by": "tests/golden/make_kernel_goldens.py", "torch": torch.__version__,
              "seed": SEED,
              "batch_norm": [batch_norm(a, t) for t in (True, False)
                             for a in ("none", "relu", "relu6")],
              "adam": [adam(False), adam(True)], "bce": bce()}
    path = pathlib.Path(__file__).with_name("kernels.json")
    path.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
