"""A picture on request: taken now, run through the model, answered with what is in it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge.errors import CameraError

if TYPE_CHECKING:
    from edge.cameras import Frame
    from edge.classifier import Classification
    from edge.decision import Event

    Result = tuple[Frame, Classification, Event | None]

TIMEOUT_SECONDS = 30.0
"""A camera that slept has to be opened and to settle first."""


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


class Capture:
    """Takes one picture now. `ask` orders a frame from the camera's thread."""

    def __init__(self, ask: Callable[[], Order]) -> None:
        self._ask = ask

    def now(self, timeout_seconds: float = TIMEOUT_SECONDS) -> Result:
        """Give the next frame with what the model says; for any thread but those that make it.

        Raises:
            CameraError: the camera gave no frame in time.
            ImageError: the frame was damaged.
        """
        return self._ask().wait(timeout_seconds)

    def watch(self, frame: Frame, found: Classification, event: Event | None) -> None:
        """Hand a classified frame to whoever asked for it; a watcher of the agent."""
        if frame.order is not None:
            frame.order.finish((frame, found, event))
