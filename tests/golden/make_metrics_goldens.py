"""Makes the goldens of engine/metrics: what scikit-learn and SciPy say of labelled scores.

    python tests/golden/make_metrics_goldens.py

Writes metrics.json next to itself; the versions used stand in it under "made_with".
tests/golden/check_metrics.py replays many more cases of the same form.
"""
import json
import math
import warnings
from pathlib import Path

import numpy as np
import scipy
import sklearn
from scipy.optimize import brentq
from scipy.special import expit
from sklearn import metrics
from sklearn.calibration import calibration_curve

HERE = Path(__file__).parent
MADE_WITH = f"scikit-learn {sklearn.__version__}, SciPy {scipy.__version__}, NumPy {np.__version__}"
BINS = 15
RULES = ["balanced-accuracy", "f1", "eer", "fpr@0.1", "fpr@0"]


def number(x):
    """JSON has no NaN and no infinity."""
    return float(x) if np.isfinite(x) else None


def numbers(values):
    return [number(v) for v in values]


def at_threshold(label, call):
    tn, fp, fn, tp = (int(v) for v in metrics.confusion_matrix(label, call, labels=[0, 1]).ravel())
    report = metrics.classification_report(label, call, labels=[0, 1], zero_division=0,
                                           output_dict=True)
    rows = [report["0"], report["1"], report["macro avg"], report["weighted avg"]]
    return {
        "confusion": [tn, fp, fn, tp],
        "accuracy": metrics.accuracy_score(label, call),
        "balanced_accuracy": metrics.balanced_accuracy_score(label, call),
        "precision": metrics.precision_score(label, call, zero_division=0),
        "recall": metrics.recall_score(label, call, zero_division=0),
        "specificity": metrics.recall_score(label, call, pos_label=0, zero_division=0),
        "f1": metrics.f1_score(label, call, zero_division=0),
        "mcc": metrics.matthews_corrcoef(label, call),
        "report": [[r["precision"], r["recall"], r["f1-score"], r["support"]] for r in rows],
    }


def calibration_error(prob, label, bins):
    """Bin by bin, with calibration_curve's bins."""
    edges = np.linspace(0, 1, BINS + 1)
    which = np.searchsorted(edges[1:-1], prob)
    count = np.bincount(which, minlength=BINS)
    share, mean = bins
    return float(np.sum(count[count > 0] / len(prob) * np.abs(share - mean)))


def temperature(logits, label):
    """The root of the derivative of the mean negative log-likelihood by 1 / T, or 1."""
    z, y = np.asarray(logits), np.asarray(label)
    slope = lambda b: np.mean(np.where(y == 1, -expit(-b * z), expit(b * z)) * z)
    if len(set(y.tolist())) < 2 or slope(0.01) >= 0 or slope(100.0) <= 0:
        return 1.0
    return 1 / brentq(slope, 0.01, 100.0, xtol=1e-300, rtol=4 * np.finfo(float).eps)


def best_worth(fpr, tpr, precision, recall, rule):
    """What the best of all thresholds reaches: the rule's own figure."""
    if rule == "balanced-accuracy":
        return max((tpr + 1 - fpr) / 2)
    if rule == "eer":
        return min(abs(fpr - (1 - tpr)))
    if rule.startswith("fpr@"):
        return max(tpr[fpr <= float(rule[4:])])
    return max(2 * precision * recall / np.maximum(precision + recall, 1e-300))


def case(name, prob, label, threshold):
    prob, label = np.asarray(prob, np.float64), np.asarray(label)
    both = len(set(label.tolist())) == 2
    fpr, tpr, thresholds = metrics.roc_curve(label, prob, pos_label=1)
    all_fpr, all_tpr, _ = metrics.roc_curve(label, prob, pos_label=1, drop_intermediate=False)
    precision, recall, pr_thresholds = metrics.precision_recall_curve(label, prob, pos_label=1)
    bins = calibration_curve(label, prob, pos_label=1, n_bins=BINS)
    logits = np.clip(np.log(np.maximum(prob, 1e-12) / np.maximum(1 - prob, 1e-12)), -20, 20) * 1.7
    # fpr + tpr rises strictly along the polyline: EER is where it is 1.
    eer = np.interp(1, all_fpr + all_tpr, all_fpr) if both else math.nan
    return {
        "name": name, "prob": prob.tolist(), "label": label.tolist(), "threshold": threshold,
        **at_threshold(label, (prob >= threshold).astype(int)),
        "roc_auc": number(metrics.roc_auc_score(label, prob)) if both else None,
        "pr_auc": number(metrics.average_precision_score(label, prob, pos_label=1)),
        "eer": number(eer),
        **{f"tpr_at_fpr_{r}": number(max(all_tpr[all_fpr <= r])) if both else None
           for r in (0.1, 0.05, 0.01, 0.005, 0.001)},
        "log_loss": metrics.log_loss(label, prob, labels=[0, 1]),
        "brier": metrics.brier_score_loss(label, prob, pos_label=1),
        "ece": calibration_error(prob, label, bins),
        "roc": [numbers(fpr), numbers(tpr), numbers(thresholds)],
        "pr": [numbers(precision), numbers(recall), numbers(pr_thresholds)],
        "bins": [numbers(bins[0]), numbers(bins[1])],
        "logits": logits.tolist(), "temperature": temperature(logits, label),
        "worth": {r: number(best_worth(all_fpr, all_tpr, precision, recall, r)) for r in RULES}
                 if both else None,
    }


def cases():
    rng = np.random.default_rng(5)
    label = rng.integers(0, 2, 41)
    smooth = 1 / (1 + np.exp(-(rng.normal(size=41) + 1.5 * (label - 0.5))))
    return [
        case("smooth", smooth, label, 0.5),
        case("other threshold", smooth, label, 0.31),
        case("many ties", np.round(smooth * 4) / 4, label, 0.5),
        case("all tied", np.full(41, 0.5), label, 0.5),
        case("on the bins' edges", np.round(smooth * BINS) / BINS, label, 0.4),
        case("some on the bins' edges",
             np.where(np.arange(41) % 2, smooth, np.round(smooth * BINS) / BINS), label, 0.4),
        case("nothing called fake", smooth * 0.1, label, 0.5),
        case("all called fake", smooth, label, 0.0),
        case("only fake", smooth[label == 1], label[label == 1], 0.5),
        case("only real", smooth[label == 0], label[label == 0], 0.5),
        case("only real, none called fake", smooth[label == 0] * 0.1, label[label == 0], 0.5),
        case("extreme right", label.astype(float), label, 0.5),
        case("extreme wrong", 1.0 - label, label, 0.5),
        case("near the ends", np.where(smooth > 0.5, 1 - 1e-17, 1e-300), label, 0.5),
        case("on the threshold", [0.5, 0.5, math.nextafter(0.5, 0)], [1, 0, 1], 0.5),
        case("one fake", [0.25], [1], 0.5),
        case("one real", [0.25], [0], 0.5),
    ]


def write(path, all_cases):
    lines = ",\n".join(json.dumps(c) for c in all_cases)
    path.write_text('{"made_with": %s, "cases": [\n%s\n]}\n' % (json.dumps(MADE_WITH), lines))


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # undefined ratios and curves: meant
    write(HERE / "metrics.json", cases())
