"""From raw outputs to a decision: dequantise, softmax, top k, the unknown rule. Pure NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from edge.errors import ModelError
from edge.messages.sighting import Score

Reason = Literal["unknown", "below-threshold"]

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


class DecisionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How probabilities become a label, or none."""

    temperature: float = 1.0
    """Logits are divided by this before the softmax (fitted on validation photos)."""
    unknown: Literal["none", "max-probability", "energy", "features"] = "max-probability"
    """The score that tells taught classes from everything else; ``none`` switches the rule off,
    ``features`` is :mod:`edge.model.unknown_rule`."""
    unknown_threshold: float = 0.0
    """A score below this is ``unknown``. Probability 0..1, or energy in logit units; that
    of ``features`` has no unit."""

    def __post_init__(self) -> None:
        """Refuse values out of range; ValueError, so msgspec names the path."""
        if not isfinite(self.unknown_threshold):
            raise ValueError(f"unknown_threshold must be finite, not {self.unknown_threshold}")
        if not 0.01 <= self.temperature <= 100:
            raise ValueError(f"temperature must be 0.01..100, not {self.temperature}")
        if self.unknown == "max-probability" and not 0 <= self.unknown_threshold <= 1:
            raise ValueError(f"unknown_threshold must be 0..1, not {self.unknown_threshold}")


class Judgement(msgspec.Struct, frozen=True):
    """The label of one picture, or the reason why there is none."""

    label: str | None
    confidence: float
    """Probability (0..1) of the most likely label, also when ``label`` is None."""
    reason: Reason | None
    alternatives: tuple[Score, ...]
    """The most likely labels, best first, the first one included."""


def dequantise(levels: NDArray[Any], scale: float, zero_point: int) -> Floats:
    """Turn int8/uint8 levels of any shape into float32 real values; floats pass through."""
    if levels.dtype.kind == "f":
        return levels.astype(np.float32, copy=False)
    return (levels.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)


class ScoreCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What the scores of a model from elsewhere must look like to mean what they are taken for."""

    kind: str
    """``logits`` or ``probabilities``."""
    sum_is_one: bool
    """The model ends in a softmax."""
    quantised: bool
    """Scores are rounded to 256 levels, and may be equal by that."""

    def __call__(self, values: Floats) -> None:
        """Look at real outputs (scores,).

        Raises:
            ModelError: they cannot be the scores of classes, or not of this kind.
        """
        low, high, total = float(values.min()), float(values.max()), float(values.sum())
        if values.size > (2 if self.quantised else 1) and low == high:
            raise ModelError(
                f"all {values.size} scores are {low:g}; is the input scaled as the model was "
                "trained (mean, std)?"
            )
        if self.kind == "probabilities":
            if low < -_ROUNDING or high > 1 + _ROUNDING:
                raise ModelError(
                    f"scores from {low:g} to {high:g} are not probabilities; set output = logits "
                    "if the model's description says so"
                )
            # Rounded ones of many classes may be far off: most are 0.
            room = 0.5 if self.quantised else _ROUNDING
            if self.sum_is_one and abs(total - 1) > room:
                raise ModelError(f"the model ends in a softmax, but its scores sum to {total:g}")
        elif not self.quantised and values.size > 1 and low >= 0 and abs(total - 1) < 1e-4:
            raise ModelError(
                "none of its scores is below 0 and they sum to 1, as probabilities do, but they "
                "were taken for logits; set output = probabilities"
            )


_ROUNDING = 0.01
"""By which float probabilities may be off."""


def refuse_no_numbers(values: Floats) -> None:
    """Refuse scores that are no numbers.

    Raises:
        ModelError: NaN or infinite ones are among them.
    """
    if not np.isfinite(values).all():
        bad = int(np.size(values) - np.isfinite(values).sum())
        raise ModelError(
            f"{bad} of {np.size(values)} scores are not finite numbers; the model is broken, or "
            "its input is not scaled as it was trained (mean, std)"
        )


def both_sides(values: Floats, kind: str) -> Floats:
    """Turn the one score of a yes/no model (1,) into those of two classes: (2,), yes first."""
    other = np.zeros_like(values) if kind == "logits" else 1 - values
    return np.concatenate((values, other))


def softmax(logits: NDArray[Any], temperature: float = 1.0) -> Floats:
    """Turn logits (..., classes) into float32 probabilities along the last axis."""
    scaled = np.asarray(logits, np.float32) / np.float32(temperature)
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    result: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return result


def energy(logits: NDArray[Any], temperature: float = 1.0) -> Floats:
    """T * logsumexp(logits / T) over the last axis, float32; high means "seen in training".

    The negative free energy of Liu et al., Energy-based Out-of-distribution Detection (2020).
    """
    scaled = np.asarray(logits, np.float32) / np.float32(temperature)
    top = scaled.max(axis=-1)
    result: Floats = np.float32(temperature) * (
        top + np.log(np.exp(scaled - top[..., None]).sum(axis=-1))
    )
    return result


def top_k(probabilities: NDArray[Any], k: int) -> list[int]:
    """The indices of the ``k`` largest of (classes,), best first, ties by index."""
    order: list[int] = np.argsort(-probabilities, kind="stable")[:k].tolist()
    return order


def probabilities_of(values: Floats, kind: str, temperature: float) -> Floats:
    """Turn real outputs (classes,) into probabilities; ``kind`` is logits or probabilities."""
    return softmax(values, temperature) if kind == "logits" else values


def unknown_score(values: Floats, probabilities: Floats, spec: DecisionSpec) -> float | None:
    """The score of a rule that needs only real outputs (classes,), or None without such a rule."""
    if spec.unknown == "energy":
        return float(energy(values, spec.temperature))
    return float(probabilities.max()) if spec.unknown == "max-probability" else None


def decide(
    probabilities: Floats,
    labels: Sequence[str],
    thresholds: Sequence[float],
    spec: DecisionSpec,
    *,
    score: float | None = None,
    top: int = 3,
) -> Judgement:
    """Choose the label of probabilities (classes,); ``score`` comes from :func:`unknown_score`."""
    best = top_k(probabilities, max(1, top))
    first = best[0]
    confidence = float(probabilities[first])
    reason: Reason | None = None
    if score is not None and score < spec.unknown_threshold:
        reason = "unknown"
    elif confidence < thresholds[first]:
        reason = "below-threshold"
    return Judgement(
        label=labels[first] if reason is None else None,
        confidence=confidence,
        reason=reason,
        alternatives=tuple(
            Score(label=labels[i], confidence=float(probabilities[i])) for i in best
        ),
    )
