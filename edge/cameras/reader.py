"""The camera thread: hands frames to the agent, opens the camera again when it vanished."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable

from edge.cameras import Camera, Frame
from edge.counters import Backoff, Counters, Episode
from edge.errors import CameraError, ImageError

log = logging.getLogger(__name__)

_AHEAD = 2
"""Frames decoded ahead of the classifier where none may be left out."""


class Reader:
    """Captures on its own thread. From a live camera only the newest frame is kept.

    `opened` is the camera if it is open already; `reopen` opens it (again). Both a bad frame and
    a vanished camera are counted, logged once, and waited out.
    """

    def __init__(
        self,
        reopen: Callable[[], Camera],
        counters: Counters,
        opened: Camera | None = None,
        retry_min_seconds: float = 1.0,
        retry_max_seconds: float = 60.0,
    ) -> None:
        self._reopen, self._counters, self._camera = reopen, counters, opened
        self._backoff = Backoff(retry_min_seconds, retry_max_seconds)
        self._frames: deque[Frame] = deque()
        self._change = threading.Condition()
        self._stopped = self._ended = False
        self._trouble = Episode("camera", counters, log)
        self._bad = Episode("picture", counters, log)
        self._due = time.monotonic()
        self.capture_seconds = 0.0
        """Time spent in capturing since the start."""
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def next(self, timeout_seconds: float) -> Frame | None:
        """Wait for a frame; None when none came in time, or there will be no more."""
        with self._change:
            self._change.wait_for(lambda: self._frames or self._ended, timeout_seconds)
            if not self._frames:
                return None
            frame = self._frames.popleft()
            self._change.notify_all()
            return frame

    @property
    def ended(self) -> bool:
        """All frames were taken and there will be no more."""
        with self._change:
            return self._ended and not self._frames

    def close(self) -> None:
        """End the thread and close the camera."""
        with self._change:
            self._stopped = True
            self._change.notify_all()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _run(self) -> None:
        try:
            while not self._stopped and self._capture():
                pass
        except Exception as error:  # a bug must be seen, and must not look like a quiet field
            log.exception("the camera thread failed")
            self._trouble.failed(error)
        finally:
            self._let_go()
            with self._change:
                self._ended = True
                self._change.notify_all()

    def _capture(self) -> bool:
        """Deliver one frame, or deal with its failure; False at the end."""
        try:
            camera = self._camera
            if camera is None:
                camera = self._camera = self._reopen()
            self._await_turn(camera.interval_seconds)
            started = time.perf_counter()
            frame = camera.capture()
        except ImageError as error:
            self._counters.add("frames_bad")
            self._bad.failed(error)
            return True
        except CameraError as error:
            self._trouble.failed(error)
            self._let_go()
            self._pause(self._backoff.next(random.random()))
            return True
        if frame is None:
            return False
        self.capture_seconds += time.perf_counter() - started
        self._counters.add("frames_captured")
        self._trouble.recovered()
        self._bad.recovered()
        self._backoff.reset()
        self._deliver(frame, camera.live)
        return True

    def _deliver(self, frame: Frame, live: bool) -> None:
        with self._change:
            if live:
                if self._frames:
                    self._counters.add("frames_skipped", len(self._frames))
                    self._frames.clear()
            else:
                self._change.wait_for(lambda: len(self._frames) < _AHEAD or self._stopped)
            self._frames.append(frame)
            self._change.notify_all()

    def _await_turn(self, interval_seconds: float) -> None:
        """Wait until a frame is due. One that is late does not make all that follow hurry."""
        now = time.monotonic()
        if self._due > now:
            self._pause(self._due - now)
        self._due = max(self._due, now - interval_seconds) + interval_seconds

    def _pause(self, seconds: float) -> None:
        with self._change:
            self._change.wait_for(lambda: self._stopped, seconds)

    def _let_go(self) -> None:
        camera, self._camera = self._camera, None
        if camera is not None:
            try:
                camera.close()
            except OSError as error:
                log.debug("closing the camera: %s", error)
