"""What the camera thread asks before and after each frame: all triggers as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from edge.cameras.triggers.duty import Duty, Rest
from edge.cameras.triggers.wake import Sleep

if TYPE_CHECKING:
    from edge.cameras import Frame

STEP_SECONDS = 10.0
"""A rest is waited out in steps: clocks get set, and a computer may be suspended meanwhile."""


class FrameTrigger(Protocol):
    """A condition on frames, used from the camera's thread."""

    def admits(self, frame: Frame) -> bool:
        """Decide on the next frame; none is shown twice or out of order."""
        ...


class Gate:
    """Lets the camera work or rest, and frames through to the model or not."""

    def __init__(self, triggers: Sequence[FrameTrigger], duty: Duty, sleep: Sleep) -> None:
        self._triggers, self._duty, self._sleep = tuple(triggers), duty, sleep

    def rest(self) -> Rest | None:
        """How long to rest before the next frame; None: take it."""
        return self._duty.rest()

    def resting(self, rest: Rest) -> float:
        """Note that the camera is let go for `rest`; give the seconds until to ask again."""
        self._sleep.begin(rest)
        return min(rest.seconds, STEP_SECONDS)

    def working(self) -> None:
        """Note that a frame is about to be taken."""
        self._sleep.end()

    def admits(self, frame: Frame) -> bool:
        """Show a frame to the triggers; True where all conditions hold."""
        self._duty.captured()
        return all(trigger.admits(frame) for trigger in self._triggers)
