"""A frame that somebody asked for: it travels through camera thread and model, and comes back."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from edge.errors import CameraError

R = TypeVar("R")
"""What becomes of the frame: known to whoever asks and to whoever answers, not to the camera."""


class Order(Generic[R]):
    """A frame that somebody waits for; it travels with the frame."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._result: R | None = None
        self._error: Exception | None = None

    def finish(self, result: R) -> None:
        """Hand the result over."""
        self._result = result
        self._done.set()

    def fail(self, error: Exception) -> None:
        """Hand the waiting caller an error instead of a result."""
        self._error = error
        self._done.set()

    def wait(self, timeout_seconds: float) -> R:
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
