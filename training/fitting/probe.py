"""The linear probe: logistic regression on features of the untouched start weights.

What a few seconds of work give, and so the least that training has to beat (Alain and Bengio 2016,
arXiv:1610.01644). It is fitted to the photos as they are, without variations.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training import metrics

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

#: Inverse strengths of regularisation that are tried, on features of unit variance.
STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
#: Logit of a class that no photo was of.
_NEVER = -30.0


class Probe(NamedTuple):
    """A last layer: logits = features @ kernel + bias."""

    kernel: Floats
    """float32 (d, classes)."""
    bias: Floats
    """float32 (classes,)."""


def fit_probe(
    features: Floats, labels: Labels, val_features: Floats, val_labels: Labels, weights: Floats
) -> Probe:
    """The regression whose strength gives the least log loss on the validation photos.

    Args:
        features: float32 (n, d), of the training photos.
        labels: int64 (n,), at least two classes among them; the probe never answers another.
        val_features: float32 (m, d).
        val_labels: int64 (m,).
        weights: float32 (classes,), loss weight of each class.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean, scale = features.mean(axis=0), features.std(axis=0)
    # What is active in a few photos alone would get weights that no eight bits hold beside others.
    scale = np.maximum(scale, np.median(scale) / 10) + 1e-6
    standard = (features - mean) / scale
    present = np.unique(labels)
    best: tuple[float, Probe] | None = None
    for strength in STRENGTHS:
        regression = LogisticRegression(
            C=strength, max_iter=300, class_weight={c: float(weights[c]) for c in present}
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            regression.fit(standard, labels)
        probe = _unscaled(regression.coef_, regression.intercept_, mean, scale)
        probe = _of_all(probe, present, len(weights))
        loss = metrics.calibrated_log_loss(val_features @ probe.kernel + probe.bias, val_labels)
        if best is None or loss < best[0]:
            best = (loss, probe)
    assert best is not None
    return best[1]


def _unscaled(
    coefficients: NDArray[np.float64],
    intercepts: NDArray[np.float64],
    mean: Floats,
    scale: Floats,
) -> Probe:
    """The same layer for features as they come."""
    if len(coefficients) == 1:  # scikit-learn keeps one row for two classes
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    kernel = coefficients.T / scale[:, None]
    return Probe(kernel.astype(np.float32), (intercepts - mean @ kernel).astype(np.float32))


def _of_all(probe: Probe, present: Labels, classes: int) -> Probe:
    """The same layer with outputs for classes that were not among the photos, far below others."""
    kernel = np.zeros((len(probe.kernel), classes), np.float32)
    bias = np.full(classes, _NEVER, np.float32)
    kernel[:, present], bias[present] = probe.kernel, probe.bias
    return Probe(kernel, bias)
