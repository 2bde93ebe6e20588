"""Fit the unknown rule to a model's own features and logits (:mod:`edge.model.unknown_rule`)."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import TrainingError
from edge.model.unknown_rule import Scale, UnknownRule, UnknownSpec, unit
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
#: Spreads by which the largest logit and the lead over *none* are divided: each counts half as
#: much as likeness. Logits of a network that was trained to the end tell strangers less well.
HALF = 2.0


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


class Fitted(NamedTuple):
    """A rule as a bundle carries it."""

    spec: UnknownSpec
    data: bytes
    threshold: float
    rule: UnknownRule


class Quantised(NamedTuple):
    """How features are quantised."""

    dtype: Any
    scale: float
    zero_point: int


def fit_rule(train: Seen, val: Seen, outliers: NDArray[Any], tensor: Quantised) -> Fitted:
    """The rule for a model, its scales and threshold set by validation photos.

    Args:
        train: photos that it was trained on.
        val: photos that it was not; what is right among them is to stay.
        outliers: features of made pictures, levels (n, d).
        tensor: what the levels stand for.

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
        return _scaled(*_arrays(train, outliers, tensor), val)


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
    prototypes = _int8(_prototypes(unit(seen), train.truth, classes))
    layer, offsets = _layer(seen, train.truth, others, classes, real.shape[1])
    floats = (mean, deviation, layer, offsets)
    data = b"".join(a.astype("<f4").tobytes() for a in floats)
    data += directions.tobytes() + prototypes.tobytes()
    plain = Scale(centre=0.0, spread=1.0)
    spec = UnknownSpec(
        features=real.shape[1],
        dtype="int8" if tensor.dtype == "int8" else "uint8",
        scale=tensor.scale,
        zero_point=tensor.zero_point,
        directions=len(directions),
        prototypes=len(prototypes),
        logit=plain,
        likeness=plain,
        outlier=1.0,
    )
    return spec, data


def _scaled(spec: UnknownSpec, data: bytes, val: Seen) -> Fitted:
    """Set the scales by right answers, and so that their sum is cut at 0."""
    right = val.right
    classes = val.logits.shape[1]
    logit = val.logits.max(axis=1)[right]
    likeness, outlier = UnknownRule(spec, data, classes).parts(val.features[right])
    of_logit, of_likeness = _scale(logit, HALF), _scale(likeness)
    of_outlier = _scale(outlier, HALF).spread
    total = (logit - of_logit.centre) / of_logit.spread
    total = total + (likeness - of_likeness.centre) / of_likeness.spread
    total = total + outlier / of_outlier
    cut = float(np.quantile(total, 1 - KEEP)) * of_likeness.spread
    shifted = msgspec.structs.replace(of_likeness, centre=of_likeness.centre + cut)
    spec = msgspec.structs.replace(spec, logit=of_logit, likeness=shifted, outlier=of_outlier)
    rule = UnknownRule(spec, data, classes)
    scores = rule.scores(val.features, val.logits.max(axis=1))
    return Fitted(spec, data, metrics.fit_unknown_threshold(scores, right, KEEP), rule)


def _scale(values: NDArray[np.float32], spreads: float = 1.0) -> Scale:
    return Scale(centre=float(values.mean()), spread=spreads * float(max(values.std(), 1e-6)))


def _directions(standard: NDArray[np.float32]) -> NDArray[np.float32]:
    """Principal directions (p, d) of standardised features (n, d)."""
    from sklearn.decomposition import PCA

    most = min(DIRECTIONS, *standard.shape)
    found = PCA(most, svd_solver="randomized", random_state=0).fit(standard).components_
    return np.asarray(found, np.float32)


def _prototypes(
    rows: NDArray[np.float32], truth: NDArray[np.int64], classes: int
) -> NDArray[np.float32]:
    """Means of like photos of each class: rows (n, p) of length 1 -> (m, p)."""
    from sklearn.cluster import KMeans

    found = []
    for label in range(classes):
        own = rows[truth == label]
        if len(own) > PROTOTYPES:
            own = KMeans(PROTOTYPES, n_init=4, random_state=0).fit(own).cluster_centers_
        found.append(own)
    return np.concatenate(found).astype(np.float32)


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
