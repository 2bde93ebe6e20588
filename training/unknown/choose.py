"""Which way of telling the unknown suits a model: by classes that are held out.

A rule is to be no worse than the confidence that it takes the place of, and which is better hangs
on the network: features of weights that know insects tell strange insects, those of a small
network that was taught six classes from scratch tell little besides them. So some classes at a
time are taken to be unknown: a linear layer on the model's features, taught without them, answers
in the model's place, and each way is tried on their validation photos.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.model.bundle.manifest import UnknownWay
from training import metrics
from training.unknown.fit import WAYS, Quantised, Seen, Way, fit_ways
from training.unknown.judge import Asked, Stranger, figures, trial

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

#: Inverse strength of regularisation of the layer that answers in the model's place.
STRENGTH = 3e-3
#: By so much area under ROC a way has to be better than one that asks less of the features. The
#: network learned the classes left out too, so its features tell them better than real strangers.
MARGIN = 0.02

CLASSES = "validation photos of classes left out"
"""By what is chosen, where there are three classes or more."""
NOTHING = "nothing: two classes, none of which can be left out"
"""Likeness is not taken on trust."""


class ChosenWay(NamedTuple):
    """A way, and why."""

    way: Way
    by: str
    """`CLASSES`, or `NOTHING`."""
    ways: dict[Way, UnknownWay]


def held_out(classes: int) -> list[Labels]:
    """Classes that are left out together: a quarter of all, each of them once; none of two."""
    if classes < 3:
        return []
    order = np.random.default_rng(0).permutation(classes)
    return np.split(order, range(max(1, classes // 4), classes, max(1, classes // 4)))


def choose(
    train: Seen,
    val: Seen,
    outliers: NDArray[Any],
    tensor: Quantised,
    advance: Callable[[int], None] = lambda _: None,
) -> ChosenWay:
    """The way with the largest area under ROC on what is held out; likeness only where it is clear.

    Not the one that catches most: that is told by the few right answers next to the threshold.

    Args:
        train: photos that the model was trained on.
        val: photos that it was not.
        outliers: features of made pictures, levels (n, d).
        tensor: how features are quantised.
        advance: told of each of :func:`held_out` that was tried.
    """
    trials: list[dict[Way, Asked]] = []
    for left in held_out(train.logits.shape[1]):
        trials += _without_classes(train, val, left, outliers, tensor)
        advance(1)
    if not trials:
        return ChosenWay("none", NOTHING, {})
    each = {way: [figures([one[way]]) for one in trials] for way in WAYS}
    ways = {
        way: UnknownWay(
            roc_area=float(np.mean([one.roc_area for one in found])),
            caught=sum(one.caught * one.n for one in found) / sum(one.n for one in found),
        )
        for way, found in each.items()
    }
    return ChosenWay(best_way({way: ways[way].roc_area for way in WAYS}), CLASSES, ways)


def best_way(areas: Mapping[Way, float]) -> Way:
    """The way to take, by the area of each on classes that were held out.

    Likeness where it is better than *none* by more than `MARGIN`; confidence alone where that is
    better than *none* by as much, since *none* tells besides what is nothing of the sort.
    """
    if areas["likeness"] - areas["none"] > MARGIN:
        return "likeness" if areas["likeness"] >= areas["confidence"] else "confidence"
    return "confidence" if areas["confidence"] - areas["none"] > MARGIN else "none"


def _without_classes(
    train: Seen, val: Seen, left: Labels, outliers: NDArray[Any], tensor: Quantised
) -> list[dict[Way, Asked]]:
    """Each way, asked about validation photos of the other classes and of those left out.

    Empty where there is nobody to ask: no such photo, or too few right answers.
    """
    from threadpoolctl import threadpool_limits

    there = np.setdiff1d(np.unique(train.truth), left)
    strange, ours = np.isin(val.truth, left), np.isin(val.truth, there)
    taught = np.isin(train.truth, there)
    if len(there) < 2 or not strange.any() or not ours.any():
        return []
    truths = [np.searchsorted(there, truth) for truth in (train.truth[taught], val.truth[ours])]
    real, of_val = (
        (levels.astype(np.float32) - tensor.zero_point) * np.float32(tensor.scale)
        for levels in (train.features[taught], val.features)
    )
    with threadpool_limits(1):
        answer = _taught(real, truths[0])
        logits = [answer(real), answer(of_val)]
    others = Seen(train.features[taught], logits[0], truths[0])
    judged = Seen(val.features[ours], logits[1][ours], truths[1])
    if judged.right.sum() < 2:
        return []
    temperature = metrics.fit_temperature(judged.logits, judged.truth)
    fitted = fit_ways(others, judged, outliers, tensor, temperature)
    strangers = Stranger(val.features[strange], logits[1][strange])
    return [{way: trial(rule, judged, strangers) for way, rule in fitted.items()}]


def _taught(real: Floats, truth: Labels) -> Callable[[Floats], Floats]:
    """Logistic regression on features (n, d); gives logits (m, classes) of others (m, d)."""
    from sklearn.linear_model import LogisticRegression

    mean, scale = real.mean(axis=0), real.std(axis=0)
    # As for the linear probe: what is active in a few photos alone must not count most.
    scale = np.maximum(scale, np.median(scale) / 10) + 1e-6
    layer = LogisticRegression(C=STRENGTH, max_iter=300, class_weight="balanced")
    layer.fit((real - mean) / scale, truth)

    def answer(features: Floats) -> Floats:
        found = layer.decision_function((features - mean) / scale)
        both = np.stack([-found, found], axis=1) / 2 if found.ndim == 1 else found
        return both.astype(np.float32)

    return answer
