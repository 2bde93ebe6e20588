"""The unknown rule on a model's features: is a picture like those the model was taught with?

Three scores are added, each in units of its own: the largest logit, the likeness to typical
photos of training, and by how much a class wins over *none*, a class that a linear layer on the
features has besides the model's own and that was taught with made pictures. Another thing of the
same sort (a pest that nobody taught) is low in the sum; something else (a hand, the sky) may look
like some photo of training, so where *none* wins, that alone makes it unknown.
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
Spread = Annotated[float, Meta(gt=0)]


#: How steeply a picture becomes unknown where *none* wins, beside the sum.
WEIGHT = np.float32(6)


class Scale(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is taken from a score, and by what the rest is divided."""

    centre: float
    spread: Spread


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
    prototypes: Size
    """Typical photos of training."""
    logit: Scale
    likeness: Scale
    outlier: Spread
    """Unit of by how much a class wins over none; at 0 they are even."""

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
            ModelError: the file is of another size, or holds numbers that make no sense.
        """
        needed = spec.file_bytes(classes)
        if len(data) != needed:
            raise ModelError(
                f"the unknown rule has {len(data)} bytes; {needed} are needed for {spec.features} "
                f"features and {classes} classes"
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

    def score(self, features: NDArray[Any], logit: float) -> float:
        """How well a picture is known; below the decision's threshold it is unknown.

        Args:
            features: levels (features,) of the model's second output.
            logit: the largest of the model's logits, real.
        """
        return float(self.scores(features[None], np.array([logit], np.float32))[0])

    def scores(self, features: NDArray[Any], logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same for levels (n, features) and largest logits (n,): float32 (n,)."""
        likeness, outlier = self.parts(features)
        spec = self.spec
        classes = outlier / np.float32(spec.outlier)
        total = _in(spec.logit, logits) + _in(spec.likeness, likeness) + classes
        result: NDArray[np.float32] = np.minimum(total, WEIGHT * classes)
        return result

    def parts(self, features: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Likeness to photos of training, -1..1, and by how much a class wins over none: (n,)."""
        seen = features.astype(np.float32) @ self._along.T - self._start
        classes = seen @ self._layer.T + self._offsets
        likeness = (unit(seen) @ self._prototypes.T).max(axis=1)
        return likeness, classes[:, :-1].max(axis=1) - classes[:, -1]


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows (n, d) at length 1; a row of zeros stays one."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    result: NDArray[np.float32] = rows / np.maximum(length, np.float32(1e-12))
    return result


def _in(scale: Scale, values: NDArray[np.float32]) -> NDArray[np.float32]:
    return (values - np.float32(scale.centre)) / np.float32(scale.spread)
