"""The unknown rule on a model's features: is a picture like those the model was taught with?

Scores are added, each in units of its own: the largest logit, how sure the model is of its answer,
the likeness to typical photos of training, and by how much a class wins over *none*, a class that
a linear layer on the features has besides the model's own and that was taught with made pictures.
Another thing of the same sort (a pest that nobody taught) is low in the sum; something else (a
hand, the sky) may look like some photo of training, so where *none* wins, that alone makes it
unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from edge.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Size = Annotated[int, Meta(ge=1, le=65536)]
Count = Annotated[int, Meta(ge=0, le=65536)]
Spread = Annotated[float, Meta(gt=0)]


#: How steeply a picture becomes unknown where *none* wins, beside the sum.
WEIGHT = np.float32(6)


class Scale(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is taken from a score, and by what the rest is divided."""

    centre: float
    spread: Spread


class ConfidenceScale(Scale, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The same of the log odds of the likeliest class, with logits divided by a temperature."""

    temperature: Spread


class UnknownSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Sizes of a rule's arrays, which lie in a file of their own, and the scales of its scores."""

    features: Size
    """Pooled features, the model's second output (1, features)."""
    dtype: Literal["int8", "uint8"]
    scale: Spread
    """Of the features, as of every quantised tensor."""
    zero_point: int
    directions: Size
    """Directions among the features that are looked along."""
    prototypes: Count
    """Typical photos of training; 0 where likeness is not looked at."""
    prototypes_of: tuple[Count, ...] = ()
    """How many of them each class has, in order: likeness is then to those of the answered class.
    Empty: to those of any."""
    logit: Scale
    confidence: ConfidenceScale | None = None
    """Null: not in the sum."""
    likeness: Scale | None
    """Null: neither this nor the win over none is in the sum."""
    outlier: Spread
    """Unit of by how much a class wins over none; at 0 they are even."""

    def __post_init__(self) -> None:
        """Refuse parts that contradict each other; ValueError, so msgspec names the path."""
        if (self.likeness is None) != (self.prototypes == 0):
            raise ValueError("prototypes and the scale of likeness need each other")
        if self.prototypes_of and sum(self.prototypes_of) != self.prototypes:
            raise ValueError(
                f"prototypes_of has {sum(self.prototypes_of)} of {self.prototypes} prototypes"
            )

    def sizes(self, classes: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """NumPy dtype and shape of each array, in the order of the file."""
        d, p = self.features, self.directions
        return (
            ("<f4", (d,)),
            ("<f4", (d,)),
            ("<f4", (classes + 1, p)),
            ("<f4", (classes + 1,)),
            ("|i1", (p, d)),
            ("|i1", (self.prototypes, p)),
        )

    def file_bytes(self, classes: int) -> int:
        """Size of the file."""
        return sum(np.dtype(kind).itemsize * int(np.prod(s)) for kind, s in self.sizes(classes))


class UnknownRule:
    """A rule ready to be used; see :class:`UnknownSpec`."""

    def __init__(self, spec: UnknownSpec, data: bytes, classes: int) -> None:
        """Read the arrays.

        The file holds, little-endian and one after the other: mean and standard deviation of each
        feature (float32), the layer (float32, classes + 1 rows, the last for what is no class) and
        its offsets, then int8 rows of any length that only point somewhere: the directions (in
        standardised features) and the prototypes (along the directions).

        Raises:
            ModelError: the file is of another size, or holds numbers that make no sense, or the
                prototypes are those of other classes.
        """
        needed = spec.file_bytes(classes)
        if len(data) != needed:
            raise ModelError(
                f"the unknown rule has {len(data)} bytes; {needed} are needed for {spec.features} "
                f"features and {classes} classes"
            )
        if spec.prototypes_of and len(spec.prototypes_of) != classes:
            raise ModelError(
                f"the unknown rule has prototypes of {len(spec.prototypes_of)} classes of {classes}"
            )
        arrays, start = [], 0
        for kind, shape in spec.sizes(classes):
            count = int(np.prod(shape))
            part = np.frombuffer(data, kind, count, start).reshape(shape)
            arrays.append(part.astype(np.float32))
            start += part.nbytes
        mean, deviation, self._layer, self._offsets, directions, prototypes = arrays
        sound = all(np.isfinite(a).all() for a in arrays) and (deviation > 0).all()
        if not (sound and directions.any(axis=1).all() and prototypes.any(axis=1).all()):
            raise ModelError("the unknown rule holds numbers that make no sense")
        self.spec = spec
        # One product with the levels as they come: scale, mean and deviation are in it.
        along = unit(directions) / deviation
        self._along = np.ascontiguousarray(along * np.float32(spec.scale))
        self._start = along @ (mean + np.float32(spec.zero_point * spec.scale))
        self._prototypes = unit(prototypes)
        self._class = np.repeat(np.arange(len(spec.prototypes_of)), spec.prototypes_of)

    def score(self, features: NDArray[Any], logits: NDArray[np.float32]) -> float:
        """How well a picture is known; below the decision's threshold it is unknown.

        Args:
            features: levels (features,) of the model's second output.
            logits: of the model, real (classes,).
        """
        return float(self.scores(features[None], logits[None])[0])

    def scores(self, features: NDArray[Any], logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same for levels (n, features) and logits (n, classes): float32 (n,)."""
        spec = self.spec
        likeness, outlier = self.parts(features, logits.argmax(axis=1))
        classes = outlier / np.float32(spec.outlier)
        total = _in(spec.logit, logits.max(axis=1))
        if spec.confidence is not None:
            total = total + _in(spec.confidence, log_odds(logits, spec.confidence.temperature))
        if spec.likeness is not None:
            total = total + _in(spec.likeness, likeness) + classes
        result: NDArray[np.float32] = np.minimum(total, WEIGHT * classes)
        return result

    def parts(
        self, features: NDArray[Any], answers: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Likeness to photos of training, -1..1, and by how much a class wins over none: (n,).

        Args:
            features: levels (n, features).
            answers: index of the answered class (n,). One without prototypes is like none: -1.
        """
        seen = features.astype(np.float32) @ self._along.T - self._start
        classes = seen @ self._layer.T + self._offsets
        alike = unit(seen) @ self._prototypes.T
        if len(self._class):
            alike = np.where(self._class == answers[:, None], alike, np.float32(-1))
        return alike.max(axis=1, initial=-1), classes[:, :-1].max(axis=1) - classes[:, -1]


def log_odds(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Logarithm of p / (1 - p) of the likeliest class, from logits (n, at least 2): (n,).

    From the logits, since a probability near 1 has no digits left to tell how near.
    """
    rest = np.sort(logits, axis=1) / np.float32(temperature)
    top, rest = rest[:, -1], rest[:, :-1]
    second = rest[:, -1]
    result: NDArray[np.float32] = top - second - np.log(np.exp(rest - second[:, None]).sum(axis=1))
    return result


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows (n, d) at length 1; a row of zeros stays one."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    result: NDArray[np.float32] = rows / np.maximum(length, np.float32(1e-12))
    return result


def _in(scale: Scale, values: NDArray[np.float32]) -> NDArray[np.float32]:
    return (values - np.float32(scale.centre)) / np.float32(scale.spread)
