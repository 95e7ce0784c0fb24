"""paired.json: DeLong's test for two correlated AUCs, from its definition.

Independent of the engine: covariances of the kernel psi over all pairs of a real and a fake, as in DeLong,
DeLong and Clarke-Pearson (1988), equations 2 to 6, in exact fractions up to the square root. Needs no package.
"""
import json
import math
import pathlib
import random
from fractions import Fraction


def psi(fake, real):
    return Fraction(1) if fake > real else Fraction(1, 2) if fake == real else Fraction(0)


def delong(label, scores):
    fakes = [i for i, y in enumerate(label) if y == 1]
    reals = [i for i, y in enumerate(label) if y == 0]
    auc, v10, v01 = [], [], []
    for s in scores:
        table = [[psi(s[i], s[j]) for j in reals] for i in fakes]
        v10.append([sum(row) / len(reals) for row in table])
        v01.append([sum(column) / len(fakes) for column in zip(*table)])
        auc.append(sum(v10[-1]) / len(fakes))

    def covariance(v, a, b):
        return sum((x - auc[a]) * (y - auc[b]) for x, y in zip(v[a], v[b])) / (len(v[a]) - 1)

    def s(a, b):
        return covariance(v10, a, b) / len(fakes) + covariance(v01, a, b) / len(reals)

    variance = s(0, 0) + s(1, 1) - 2 * s(0, 1)
    error = math.sqrt(variance)
    z = float(auc[1] - auc[0]) / error if variance > 0 else 0.0
    return {"auc": [float(a) for a in auc], "standard_error": error, "z": z,
            "p": math.erfc(abs(z) / math.sqrt(2))}


def case(name, reals, fakes, digits, seed):
    rng = random.Random(seed)
    label, first, second = [], [], []
    for i in range(reals + fakes):
        y = 1 if i >= reals else 0
        common = rng.gauss(1.0 * y, 1)
        for values, own in ((first, 0.8), (second, 0.4)):
            values.append(round(1 / (1 + math.exp(-common - rng.gauss(0, own))), digits))
        label.append(y)
    order = list(range(reals + fakes))
    rng.shuffle(order)
    label, first, second = ([v[i] for i in order] for v in (label, first, second))
    return {"name": name, "label": label, "first": first, "second": second,
            **delong(label, (first, second))}


cases = [case("small", 7, 5, 6, 1), case("ties", 20, 30, 1, 2), case("uneven", 40, 160, 6, 3),
         case("even", 120, 120, 6, 4)]
path = pathlib.Path(__file__).parent / "paired.json"
path.write_text(json.dumps({"cases": cases}, indent=None, separators=(",", ":")) + "\n")
