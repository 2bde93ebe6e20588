"""Fit the unknown rule to a model's own features and logits (:mod:`edge.model.unknown_rule`).

There are three ways, of which :mod:`training.unknown.choose` takes one: by all of the rule's
scores, by confidence where *none* does not win, and by confidence alone, which needs no rule.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal, NamedTuple, Protocol, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import TrainingError
from edge.model.scores import softmax
from edge.model.unknown_rule import (
    ConfidenceScale,
    Scale,
    UnknownRule,
    UnknownSpec,
    log_odds,
    unit,
)
from training import metrics

#: Directions among the features that the rule looks along; fewer where there are fewer photos.
DIRECTIONS = 128
#: Typical photos of each class; all, where there are fewer.
PROTOTYPES = 16
#: Share of the right validation answers that the rule must let pass.
KEEP = 0.95
#: A feature counts as varying by at least this share of what features vary on average.
LEAST_DEVIATION = 0.01
#: Strength of the layer's regularisation is chosen once, for so many features.
STRENGTH, STRENGTH_FEATURES = 3e-4, 1280
#: Spreads by which all but likeness is divided: each counts half as much. Confidence is looked at
#: twice, in the largest logit and against the other classes.
HALF = 2.0

Way = Literal["likeness", "none", "confidence"]
"""By likeness, confidence and the lead over *none*; by confidence where *none* does not win; by
confidence alone."""
WAYS: tuple[Way, ...] = get_args(Way)


class Seen(NamedTuple):
    """What a model gives for photos of its classes."""

    features: NDArray[Any]
    """Levels int8 or uint8 (n, d)."""
    logits: NDArray[np.float32]
    """Real (n, classes)."""
    truth: NDArray[np.int64]
    """(n,)."""

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which are answered rightly."""
        return np.asarray(self.logits.argmax(axis=1) == self.truth)


class Scorer(Protocol):
    """Tells how well pictures are known."""

    def scores(self, features: NDArray[Any], logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of levels (n, d) and logits (n, classes): float32 (n,), low is unknown."""


class Confidence(NamedTuple):
    """The probability of the likeliest class, as the device computes it without a rule."""

    temperature: float

    def scores(self, features: NDArray[Any], logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :class:`Scorer`; features do not matter."""
        del features
        found: NDArray[np.float32] = softmax(logits, self.temperature).max(axis=1)
        return found


class Fitted(NamedTuple):
    """A way of telling the unknown as a bundle carries it."""

    spec: UnknownSpec | None
    """None where it is confidence alone."""
    data: bytes
    threshold: float
    rule: Scorer


class Quantised(NamedTuple):
    """How features are quantised."""

    dtype: Any
    scale: float
    zero_point: int


def fit_ways(
    train: Seen, val: Seen, outliers: NDArray[Any], tensor: Quantised, temperature: float
) -> dict[Way, Fitted]:
    """Each way of telling the unknown, its scales and threshold set by validation photos.

    Args:
        train: photos that the model was trained on.
        val: photos that it was not; what is right among them is to stay.
        outliers: features of made pictures, levels (n, d).
        tensor: what the levels stand for.
        temperature: by which logits are divided before they become probabilities.

    Raises:
        TrainingError: too few validation answers are right to set a scale by.
    """
    if val.right.sum() < 2:
        raise TrainingError(
            f"{val.right.sum()} of {len(val.truth)} validation photos are answered rightly: an "
            "unknown rule cannot be set by so few"
        )
    from threadpoolctl import threadpool_limits

    # Sums of several threads come in any order, and so end in other bits.
    with threadpool_limits(1):
        spec, data = _arrays(train, outliers, tensor)
    plain = Confidence(temperature)
    threshold = metrics.fit_unknown_threshold(
        plain.scores(val.features, val.logits), val.right, KEEP
    )
    return {
        "likeness": _scaled(spec, data, val, temperature),
        "none": _scaled(*_without_likeness(spec, data), val, temperature),
        "confidence": Fitted(None, b"", threshold, plain),
    }


def _arrays(train: Seen, outliers: NDArray[Any], tensor: Quantised) -> tuple[UnknownSpec, bytes]:
    """The arrays of a rule, and its spec with scales still to be set."""
    classes = train.logits.shape[1]
    real = (train.features.astype(np.float32) - tensor.zero_point) * np.float32(tensor.scale)
    strange = (outliers.astype(np.float32) - tensor.zero_point) * np.float32(tensor.scale)
    mean, deviation = real.mean(axis=0), real.std(axis=0)
    deviation = deviation + np.float32(max(LEAST_DEVIATION * deviation.mean(), 1e-6))
    directions = _int8(_directions((real - mean) / deviation))
    along = unit(directions.astype(np.float32)).T
    seen, others = (real - mean) / deviation @ along, (strange - mean) / deviation @ along
    prototypes = [_int8(_prototypes(unit(seen[train.truth == c]))) for c in range(classes)]
    layer, offsets = _layer(seen, train.truth, others, classes, real.shape[1])
    floats = (mean, deviation, layer, offsets)
    data = b"".join(a.astype("<f4").tobytes() for a in floats)
    data += directions.tobytes() + b"".join(own.tobytes() for own in prototypes)
    counts = tuple(len(own) for own in prototypes)
    plain = Scale(centre=0.0, spread=1.0)
    spec = UnknownSpec(
        features=real.shape[1],
        dtype="int8" if tensor.dtype == "int8" else "uint8",
        scale=tensor.scale,
        zero_point=tensor.zero_point,
        directions=len(directions),
        prototypes=sum(counts),
        prototypes_of=counts,
        logit=plain,
        likeness=plain,
        outlier=1.0,
    )
    return spec, data


def _without_likeness(spec: UnknownSpec, data: bytes) -> tuple[UnknownSpec, bytes]:
    """The same rule without its prototypes, which lie at the end."""
    bare = msgspec.structs.replace(spec, prototypes=0, prototypes_of=(), likeness=None)
    return bare, data[: len(data) - spec.prototypes * spec.directions]


def _scaled(spec: UnknownSpec, data: bytes, val: Seen, temperature: float) -> Fitted:
    """Set the scales by right answers, and so that their sum is cut at 0."""
    right, classes = val.right, val.logits.shape[1]
    logits = val.logits[right]
    logit, sure = logits.max(axis=1), log_odds(logits, temperature)
    found = UnknownRule(spec, data, classes).parts(val.features[right], logits.argmax(axis=1))
    likeness, outlier = found
    of_logit, of_sure, of_outlier = (_scale(one, HALF) for one in (logit, sure, outlier))
    total = _in(of_logit, logit) + _in(of_sure, sure)
    of_likeness = None
    if spec.likeness is not None:
        of_likeness = _scale(likeness)
        total = total + _in(of_likeness, likeness) + outlier / of_outlier.spread
    cut = float(np.quantile(total, 1 - KEEP)) * of_logit.spread
    spec = msgspec.structs.replace(
        spec,
        logit=msgspec.structs.replace(of_logit, centre=of_logit.centre + cut),
        confidence=ConfidenceScale(**msgspec.structs.asdict(of_sure), temperature=temperature),
        likeness=of_likeness,
        outlier=of_outlier.spread,
    )
    rule = UnknownRule(spec, data, classes)
    scores = rule.scores(val.features, val.logits)
    return Fitted(spec, data, metrics.fit_unknown_threshold(scores, right, KEEP), rule)


def _scale(values: NDArray[np.float32], spreads: float = 1.0) -> Scale:
    return Scale(centre=float(values.mean()), spread=spreads * float(max(values.std(), 1e-6)))


def _in(scale: Scale, values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((values - scale.centre) / scale.spread)


def _directions(standard: NDArray[np.float32]) -> NDArray[np.float32]:
    """Principal directions (p, d) of standardised features (n, d)."""
    from sklearn.decomposition import PCA

    most = min(DIRECTIONS, *standard.shape)
    found = PCA(most, svd_solver="randomized", random_state=0).fit(standard).components_
    return np.asarray(found, np.float32)


def _prototypes(own: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of like photos of one class: rows (n, p) of length 1 -> (m, p)."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    if len(own) > PROTOTYPES:
        with warnings.catch_warnings():
            # Photos that are all alike to the network have fewer means, which do no harm twice.
            warnings.simplefilter("ignore", ConvergenceWarning)
            own = KMeans(PROTOTYPES, n_init=4, random_state=0).fit(own).cluster_centers_
    return np.asarray(own, np.float32)


def _layer(
    seen: NDArray[np.float32],
    truth: NDArray[np.int64],
    others: NDArray[np.float32],
    classes: int,
    features: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logistic regression with a class more, for made pictures; each class counts alike."""
    from sklearn.linear_model import LogisticRegression

    rows = np.concatenate([seen, others])
    labels = np.concatenate([truth, np.full(len(others), classes)])
    strength = STRENGTH * STRENGTH_FEATURES / features
    found = LogisticRegression(C=strength, max_iter=300, class_weight="balanced").fit(rows, labels)
    return found.coef_.astype(np.float32), found.intercept_.astype(np.float32)


def _int8(rows: NDArray[np.float32]) -> NDArray[np.int8]:
    """Rows at the length at which the largest number is 127."""
    most = np.abs(rows).max(axis=1, keepdims=True)
    levels: NDArray[np.int8] = np.rint(rows / np.maximum(most, 1e-12) * 127).astype(np.int8)
    return levels
