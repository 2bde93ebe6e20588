"""Which frames teach most when a person labels them: the doubtful ones and a random share. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, get_args

from edge.cameras import Frame
from edge.config import Inbox
from edge.messages.feedback import Kept
from edge.model.classifier import Classification

USEFULNESS: tuple[Kept, ...] = get_args(Kept)
"""Reasons for keeping a picture, the least useful first.

``random`` is worth most: the only pictures that tell how often the model is right in this field,
and nothing else brings them back. Then what may be a pest nobody taught the model, then what lies
near a boundary between classes (uncertainty sampling: Lewis and Gale, A Sequential Algorithm for
Training Text Classifiers, 1994), then single frames among others that say something else.
"""


class Selected(NamedTuple):
    """A frame worth keeping, and why."""

    frame: Frame
    found: Classification
    kept: Kept


class Selector:
    """Picks frames one after the other; use from one thread.

    `random` gives numbers from 0 to 1. Times between frames are those of the frames themselves;
    the rests between two pictures of one reason go by the seconds passed in, which never jump.
    """

    def __init__(self, config: Inbox, random: Callable[[], float]) -> None:
        self._config, self._random = config, random
        self._before: list[tuple[Frame, Classification]] = []
        self._taken: Frame | None = None
        self._last: dict[Kept, float] = {}

    def see(self, frame: Frame, found: Classification, now: float) -> Selected | None:
        """Judge a frame at the time `now` (seconds, never jumping); give what is to be kept.

        A single frame that contradicts its neighbours is noticed with the next one, and is then
        given in its place.
        """
        selected = self._selected(frame, found)
        self._before = [*self._before[-1:], (frame, found)]
        if selected is None or selected.frame is self._taken or self._resting(selected.kept, now):
            return None
        self._last[selected.kept] = now
        self._taken = selected.frame
        return selected

    def forget(self) -> None:
        """Compare no later frame with those until now."""
        self._before = []

    def _selected(self, frame: Frame, found: Classification) -> Selected | None:
        # Drawn first: a random share without the doubtful pictures would flatter the model.
        if self._random() < self._config.random_share:
            return Selected(frame, found, "random")
        if found.reason == "unknown":
            return Selected(frame, found, "unknown")
        if found.reason == "below-threshold" or found.confidence < self._config.below_confidence:
            return Selected(frame, found, "low-confidence")
        odd = self._odd_one(frame, found)
        return Selected(*odd, "disagreement") if odd else None

    def _odd_one(self, frame: Frame, found: Classification) -> tuple[Frame, Classification] | None:
        """The frame before this one, where the two around it agree on something else."""
        if len(self._before) < 2:
            return None
        (first, said_first), (middle, said) = self._before
        apart = (frame.time - first.time).total_seconds()
        if not 0 <= apart <= self._config.disagree_seconds:
            return None
        agree = top_label(said_first) == top_label(found) != top_label(said)
        return (middle, said) if agree else None

    def _resting(self, kept: Kept, now: float) -> bool:
        last = self._last.get(kept)
        return last is not None and now - last < self._config.spacing_seconds


def top_label(found: Classification) -> str | None:
    """The most likely label, also where the decision rules leave none."""
    return found.alternatives[0].label if found.alternatives else found.label
