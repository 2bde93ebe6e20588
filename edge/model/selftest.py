"""A bundle proves itself where it runs: golden pictures through the device's own path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import numpy as np

from edge.errors import ImageError, SelfTestError
from edge.model.bundle.bundle import Bundle
from edge.model.image.preprocessing import decode
from edge.system.background import ahead

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from edge.model.bundle.manifest import Golden
    from edge.model.image.preprocessing import Pixels


class Scorer(Protocol):
    """What runs a picture up to the raw output levels; a Classifier is one."""

    def raw(self, pixels: Pixels) -> NDArray[Any]:
        """The raw outputs (classes,) for uint8 (H, W, 3) pixels."""
        ...


class SelfTestReport(msgspec.Struct, frozen=True):
    """How closely this device reproduced the golden scores."""

    goldens: int
    worst_difference: float
    """Output levels."""
    worst_golden: str


def self_test(scorer: Scorer, bundle: Bundle) -> SelfTestReport:
    """Decode, fit, quantise and invoke every golden picture, and compare with its scores.

    Raises:
        SelfTestError: a picture cannot be decoded, a score is further away than the golden's
            tolerance, or the top label is another.
    """
    worst, worst_name = 0.0, bundle.manifest.goldens[0].file
    for golden, pixels in _decoded(bundle):
        found = scorer.raw(pixels).astype(np.float64)
        expected = np.array(golden.scores, np.float64)
        if found.shape != expected.shape:
            raise SelfTestError(
                f"self-test: {golden.file} gave {found.size} scores, {expected.size} are expected"
            )
        differences = np.abs(found - expected)
        furthest = int(differences.argmax())
        difference = float(differences[furthest])
        if not difference <= golden.tolerance:  # also true for NaN
            raise SelfTestError(
                f"self-test: {golden.file} scored {found[furthest]:g} for "
                f"{bundle.labels[furthest]!r} where {expected[furthest]:g} is expected: off by "
                f"{difference:g} levels, {golden.tolerance:g} are allowed. The interpreter on this "
                f"device computes something else than {_interpreter(bundle)}"
            )
        # Levels can tie; what must hold is that the expected winner still scores highest.
        if found[expected.argmax()] < found.max():
            raise SelfTestError(
                f"self-test: {golden.file} came out as {bundle.labels[int(found.argmax())]!r}, "
                f"not {bundle.labels[int(expected.argmax())]!r}"
            )
        if difference > worst:
            worst, worst_name = difference, golden.file
    return SelfTestReport(len(bundle.manifest.goldens), worst, worst_name)


def _decoded(bundle: Bundle) -> Iterator[tuple[Golden, Pixels]]:
    """Yield the golden pictures, each decoded while the model is busy with the one before."""
    decoding = ahead(bundle.manifest.goldens, lambda golden: decode(bundle.goldens[golden.file]))
    for golden, coming in decoding:
        try:
            pixels = coming.result()
        except ImageError as error:
            raise SelfTestError(f"self-test: {golden.file}: {error}") from error
        yield golden, pixels


def _interpreter(bundle: Bundle) -> str:
    interpreter = bundle.manifest.interpreter
    return f"{interpreter.name} {interpreter.version}, which made the bundle"
