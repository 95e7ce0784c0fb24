"""Makes the goldens of engine/explain: Grad-CAM maps by PyTorch's autograd in float64.

    python tests/golden/make_grad_cam_goldens.py

Writes data_grad_cam.json next to itself. The network is that of make_model_goldens.py (width 0.1,
parameters by formula) at 160 x 160, the pictures are pattern(160, 160) of make_data_goldens.py plus
a shift.
"""
import numpy as np
import torch
import torch.nn.functional as F
from make_data_goldens import pattern, write
from make_model_goldens import Network, normalized

SIZE = 160
SHIFTS = (0, 40, 97)
ENLARGED = (13, 20)  # rows, columns


def grad_cam(network, image, sign):
    """ReLU(sum_k alpha_k A_k) of sign * logit, alpha = mean gradient over the map (1610.02391)."""
    features = network.features(normalized(image[None])).detach().requires_grad_()
    logit = network.head(features.mean((2, 3))).squeeze()
    (gradient,) = torch.autograd.grad(sign * logit, features)
    alpha = gradient.mean((2, 3), keepdim=True)
    return F.relu((alpha * features).sum(1, keepdim=True)).detach(), logit.item()


def case(network, shift, evidence):
    image = ((pattern(SIZE, SIZE).astype(np.int64) + shift) & 255).astype(np.uint8)
    cam, logit = grad_cam(network, image, 1 if evidence == "fake" else -1)
    enlarged = F.interpolate(cam, size=ENLARGED, mode="bilinear", align_corners=False)
    return {"shift": shift, "evidence": evidence, "logit": logit, "map": cam[0, 0].tolist(),
            "enlarged": enlarged[0, 0].tolist()}


def main():
    torch.set_num_threads(1)
    network = Network(tf_same=False).eval()
    cases = [case(network, shift, e) for shift in SHIFTS for e in ("fake", "real")]
    write("data_grad_cam.json", {"made_with": f"torch {torch.__version__}", "cases": cases})


if __name__ == "__main__":
    main()
