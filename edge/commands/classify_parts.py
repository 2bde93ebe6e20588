"""What ``wheatear classify`` says of the parts of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from edge.messages.sighting import Finding, Score
from edge.model.scores import Reason
from edge.model.tiles import Box, Size
from edge.sightings.findings import findings

if TYPE_CHECKING:
    from edge.model.classifier import Classification


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one tile shows."""

    box: Box
    """Left, top, right, bottom in pixels of the picture as it was taken."""
    label: str | None
    confidence: float
    reason: Reason | None
    alternatives: tuple[Score, ...]


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What a picture shows that was looked at in parts; stands in the line of that picture."""

    size: Size
    """Width and height in pixels, as it was taken."""
    findings: tuple[Finding, ...]
    """What a camera would vote with, by the model's own thresholds, with regions."""
    tiles: tuple[Part, ...]


def parts(found: Classification, size: Size, background: Sequence[str] = ()) -> Parts:
    """What the parts of a picture show, and what they come to together."""
    return Parts(
        size=size,
        findings=findings(found, {}, frozenset(background)),
        tiles=tuple(
            Part(
                box=tile.box,
                label=tile.found.label,
                confidence=round(tile.found.confidence, 6),
                reason=tile.found.reason,
                alternatives=tuple(
                    Score(label=one.label, confidence=round(one.confidence, 6))
                    for one in tile.found.alternatives
                ),
            )
            for tile in found.tiles
        ),
    )
