"""What a model says of a picture."""

from __future__ import annotations

import numpy as np

from edge.messages.sighting import Score
from edge.model.classifier import Classification, FrameTimings, Tile
from edge.model.scores import Reason
from edge.model.tiled_classifier import together
from edge.model.tiles import Box


def found(
    label: str = "aphid", confidence: float = 0.9, reason: Reason | None = None
) -> Classification:
    """The classification of a frame."""
    return Classification(
        label=None if reason else label,
        confidence=confidence,
        reason=reason,
        alternatives=(
            Score(label=label, confidence=confidence),
            Score(label="other", confidence=1 - confidence),
        ),
        probabilities=np.array([confidence, 1 - confidence], np.float32),
        timings=FrameTimings(1.0, 2.0),
    )


APHID, MITE, WEAK = found("aphid"), found("mite"), found("aphid", 0.3, "below-threshold")
STRANGE = found("aphid", 0.4, "unknown")


def tile(
    box: Box, label: str = "aphid", confidence: float = 0.9, reason: Reason | None = None
) -> Tile:
    """The result of a tile."""
    other = (
        Score(label=label, confidence=confidence),
        Score(label="other", confidence=round(1 - confidence, 6)),
    )
    probabilities = np.array([confidence, 1 - confidence], np.float32)
    named = None if reason else label
    return Tile(
        box, Classification(named, confidence, reason, other, probabilities, FrameTimings(1.0, 2.0))
    )


def look(*tiles: Tile) -> Classification:
    """A frame's classification made of tiles."""
    return together(tiles)
