"""A frame that somebody asked for: it travels through camera thread and model, and comes back."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from edge.errors import CameraError

if TYPE_CHECKING:
    from edge.cameras import Frame
    from edge.model.classifier import Classification
    from edge.sightings.visits import Event

    Result = tuple[Frame, Classification, Event | None]
    """The frame, what the model says of it, and the event that it decided."""


class Order:
    """A frame that somebody waits for; it travels with the frame."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._result: Result | None = None
        self._error: Exception | None = None

    def finish(self, result: Result) -> None:
        """Hand the result over."""
        self._result = result
        self._done.set()

    def fail(self, error: Exception) -> None:
        """Say why there will be none."""
        self._error = error
        self._done.set()

    def wait(self, timeout_seconds: float) -> Result:
        """Wait for the result.

        Raises:
            CameraError: none came in time, or the camera gave no frame.
            ImageError: the frame was damaged.
        """
        if not self._done.wait(timeout_seconds):
            raise CameraError(
                f"no classified picture within {timeout_seconds:g} s; `health` says what is failing"
            )
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result
