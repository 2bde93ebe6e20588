"""What judging gives, for the gate's report and for the bundle."""

from __future__ import annotations

from dataclasses import dataclass

from edge.model.bundle.manifest import OutputSpec
from edge.model.image.preprocessing import InputSpec
from quantize.parity.compare import Comparison, FormAnswers, Photos


@dataclass(frozen=True)
class Outcome:
    """An int8 model and how it compares."""

    model: bytes
    report: Comparison
    photos: dict[str, Photos]
    """`val` and `test`."""
    answers: dict[str, FormAnswers]
    """Of both splits."""
    specs: tuple[InputSpec, OutputSpec]
    """What the model takes and gives."""
