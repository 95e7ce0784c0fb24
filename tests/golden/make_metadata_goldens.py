"""Makes metadata_logistic.json: what scikit-learn's LogisticRegression and scipy's beta quantile say.

    python tests/golden/make_metadata_goldens.py

Each case: x [rows, cols], label [rows], C; weights, intercept and probabilities of the minimum. The
solver lbfgs (the one that ships as default) and newton-cholesky must agree to 1e-6; the latter's,
which is nearer the minimum, is written, with the gradient that is left there and the least curvature
of the objective, from which the test derives its tolerance.
"""
import json
from pathlib import Path

import numpy as np
import scipy
import sklearn
from scipy.stats import beta
from sklearn.linear_model import LogisticRegression

HERE = Path(__file__).parent


def left_over(x, y, c, weights, intercept):
    """Norm of the gradient, and the smallest eigenvalue of the Hessian."""
    ones = np.hstack([x, np.ones((len(x), 1))])
    penalty = np.append(np.full(x.shape[1], 1 / c), 0)
    w = np.append(weights, intercept)
    p = 1 / (1 + np.exp(-ones @ w))
    gradient = ones.T @ (p - y) + penalty * w
    hessian = (ones * (p * (1 - p))[:, None]).T @ ones + np.diag(penalty)
    return float(np.linalg.norm(gradient)), float(np.linalg.eigvalsh(hessian)[0])


def case(name, x, y, c):
    fits = {}
    for solver, tol in [("lbfgs", 1e-13), ("newton-cholesky", 1e-14)]:
        model = LogisticRegression(C=c, solver=solver, tol=tol, max_iter=100000)
        fits[solver] = model.fit(x, y)
    slow, fine = fits["lbfgs"], fits["newton-cholesky"]
    worst = max(np.abs(slow.coef_ - fine.coef_).max(), np.abs(slow.intercept_ - fine.intercept_).max(),
                np.abs(slow.predict_proba(x) - fine.predict_proba(x)).max())
    gradient, curvature = left_over(x, y, c, fine.coef_[0], fine.intercept_[0])
    print(f"{name}: lbfgs differs by {worst:.1e}, gradient {gradient:.1e}, curvature {curvature:.1e}")
    assert worst < 1e-6, name
    return {"name": name, "C": c, "rows": len(x), "cols": x.shape[1],
            "x": [float(v) for v in x.ravel()], "label": [int(v) for v in y],
            "weights": [float(v) for v in fine.coef_[0]], "intercept": float(fine.intercept_[0]),
            "prob": [float(v) for v in fine.predict_proba(x)[:, 1]],
            "gradient": gradient, "curvature": curvature}


def logistic_cases():
    r = np.random.default_rng(6)
    x = np.round(r.normal(size=(60, 4)), 3)
    y = (x @ [1.5, -1, 0.5, 0] + r.logistic(size=60) > 0.3).astype(int)
    wide = np.round(r.normal(size=(12, 20)), 3)
    one_hot = np.eye(3)[r.integers(0, 3, 40)]
    constant = np.hstack([x, np.ones((60, 1)), np.full((60, 1), 7.0), np.zeros((60, 1))])
    few = np.zeros(25, int)
    few[3] = 1
    return [
        case("plain", x, y, 1.0),
        case("weak penalty", x, y, 100.0),
        case("strong penalty", x, y, 0.001),
        case("separable", np.array([[-2.0], [-1.5], [-1.0], [1.0], [1.1], [3.0]]), np.array([0, 0, 0, 1, 1, 1]), 1.0),
        case("separable, weak penalty", np.array([[-2.0], [-1.0], [1.0], [1.1]]), np.array([0, 0, 1, 1]), 100.0),
        case("constant columns", constant, y, 1.0),
        case("more columns than rows", wide, np.arange(12) % 2, 1.0),
        case("one-hot", one_hot, r.integers(0, 2, 40), 1.0),
        case("one row a class", np.array([[0.0, 1.0], [2.0, -1.0]]), np.array([0, 1]), 1.0),
        case("one fake", np.round(r.normal(size=(25, 2)), 3), few, 1.0),
        case("large values", np.round(100 * x, 1), y, 1.0),
    ]


def bound_cases():
    return [{"errors": k, "n": n, "risk": risk, "bound": float(beta.ppf(1 - risk, k + 1, n - k))}
            for k, n, risk in [(0, 1, .05), (0, 100, .05), (0, 119, .0025), (1, 50, .05), (3, 200, .0025),
                               (20, 1000, .01), (9, 10, .05), (150, 20000, .0025)]]


def main():
    golden = {"made_with": f"scikit-learn {sklearn.__version__}, scipy {scipy.__version__}",
              "cases": logistic_cases(), "error_bounds": bound_cases()}
    text = json.dumps(golden, indent=None, separators=(",", ":"))
    (HERE / "metadata_logistic.json").write_text(text.replace('{"name"', '\n{"name"') + "\n")


if __name__ == "__main__":
    main()
