"""What every trigger is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edge.cameras import Frame


class FrameTrigger(Protocol):
    """A condition on frames, used from the camera's thread."""

    def admits(self, frame: Frame) -> bool:
        """Decide on the next frame; none is shown twice or out of order."""
        ...
