"""The camera thread: hands frames to the agent, lets the camera rest when the triggers say so, and
opens it again when it vanished.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from edge.cameras import Camera, Frame
from edge.cameras.order import Order
from edge.cameras.triggers.gate import STEP_SECONDS, Gate
from edge.errors import CameraError, ImageError, ShortageError
from edge.system.clock import Clock, SystemClock
from edge.system.counters import Backoff, Counters, Episode
from edge.system.threads import Patience

log = logging.getLogger(__name__)

_AHEAD = 2
"""Frames decoded ahead of the classifier where none may be left out."""
_STOP_SECONDS = 5.0
_OVER = "the camera gives no more frames: its replay is over, or the device stops"


def _close(camera: Camera) -> None:
    camera.close()


class Reader:
    """Captures on its own thread. From a live camera only the newest frame is kept.

    `opened` is the camera if it is open already; `reopen` opens it (again). Both a bad frame and
    a vanished camera are counted, logged once, and waited out. `wait` waits for a condition, so
    that days of the passed clock need not last days; `part` gets the camera at the end.
    """

    def __init__(
        self,
        reopen: Callable[[], Camera],
        counters: Counters,
        opened: Camera | None = None,
        retry_min_seconds: float = 1.0,
        retry_max_seconds: float = 60.0,
        gate: Gate | None = None,
        clock: Clock | None = None,
        wait: Callable[[threading.Condition, float], object] = threading.Condition.wait,
        part: Callable[[Camera], object] = _close,
    ) -> None:
        self._reopen, self._counters, self._camera = reopen, counters, opened
        self._backoff = Backoff(retry_min_seconds, retry_max_seconds)
        self._gate, self._clock, self._wait = gate, clock or SystemClock(), wait
        self._part = part
        self._frames: deque[Frame] = deque()
        self._order: Order[Any] | None = None
        self._change = threading.Condition()
        self._stopped = self._ended = self._over = self._renew = False
        self._trouble = Episode("camera", counters, log)
        self._bad = Episode("picture", counters, log)
        self._patience = Patience()
        self._due = self._clock.monotonic()
        self.capture_seconds = 0.0
        """Time spent in capturing since the start."""
        self._thread = counters.crew.worker(
            "camera", self._run, lambda: self._stopped or self._over
        )

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

    def ask(self) -> Order[Any]:
        """Ask for a frame now, whatever the triggers, the interval or a rest say."""
        with self._change:
            if self._ended or self._stopped:
                order: Order[Any] = Order()
                order.fail(CameraError(_OVER))
                return order
            if self._order is None:
                self._order = Order()
            self._change.notify_all()
            return self._order

    def reopen(self) -> None:
        """Open a live camera anew before its next frame: the model takes other pictures now.

        A replay goes on; its pictures are fitted to the model as they are.
        """
        self._renew = True

    @property
    def ended(self) -> bool:
        """All frames were taken and there will be no more."""
        with self._change:
            return self._ended and not self._frames

    def close(self) -> None:
        """End the thread and close the camera; one that hangs is left behind, after 5 s in all."""
        with self._change:
            again, self._stopped = self._stopped, True
            self._change.notify_all()
        if self._thread.is_alive() and not again:
            self._thread.join(_STOP_SECONDS)
        if self._thread.ident is None:  # it never ran, and so lets nothing go
            self._let_go(self._part)
        for frame in self._frames:  # nobody takes them any more
            if frame.order is not None:
                frame.order.fail(CameraError(_OVER))

    def _run(self) -> None:
        try:
            while not self._stopped and self._turn():
                pass
        except BaseException as error:  # must not look like a quiet field, nor like the end
            self._trouble.failed(error)
            raise
        finally:
            self._let_go(self._part)
            with self._change:
                self._ended = True
                self._change.notify_all()
            self._refuse(CameraError(_OVER))

    def _turn(self) -> bool:
        """Deliver one frame or go on without; False at the end."""
        try:
            return self._capture()
        except Exception as error:  # one picture, or one bad moment of a driver; or a fault
            self._unexpected(error)
            return True

    def _capture(self) -> bool:
        """Deliver one frame, or deal with its failure; False at the end."""
        if self._rested() or self._waited():
            return True
        try:
            if self._renew:
                self._renew = False
                if self._camera is not None and self._camera.live:
                    self._let_go()
            camera = self._camera
            if camera is None:
                camera = self._camera = self._reopen()
            self._begin_turn(camera.interval_seconds)
            order = self._order
            started = time.perf_counter()
            frame = camera.capture()
        except ImageError as error:
            self._counters.add("frames_bad")
            self._bad.failed(error)
            self._refuse(error)
            return True
        except CameraError as error:
            self._trouble.failed(error)
            self._refuse(error)
            self._let_go()
            self._pause(self._backoff.next(random.random()))
            return True
        if frame is None:
            self._over = True
            return False
        self.capture_seconds += time.perf_counter() - started
        self._counters.add("frames_captured")
        self._trouble.recovered()
        self._bad.recovered()
        self._backoff.reset()
        self._patience.won()
        self._pass_on(frame, order, camera.live)
        return True

    def _unexpected(self, error: Exception) -> None:
        """Go on after an error that no camera is known for, with a live camera opened anew.

        Raises it again where it is one too many in a row.
        """
        short, live = isinstance(error, ShortageError), self._camera is None or self._camera.live
        if not short:
            log.error("the camera failed unexpectedly", exc_info=error)
            self._counters.add("frames_bad")
        self._trouble.failed(error)
        self._refuse(error)
        self._patience.lost(error)
        if live:
            self._let_go()
        if live or short:
            self._pause(self._backoff.next(random.random()))

    def _rested(self) -> bool:
        """Let the camera go and wait a while, where it is to rest now."""
        if self._gate is None:
            return False
        rest = None if self._order else self._gate.rest()
        if rest is None:
            self._gate.working()
            return False
        if self._camera is not None and self._camera.live:  # a replay would begin again
            self._let_go()
        self._pause(self._gate.resting(rest))
        self._due = self._clock.monotonic()
        return True

    def _pass_on(self, frame: Frame, order: Order[Any] | None, live: bool) -> None:
        """Deliver a frame if the triggers admit it, or somebody asked for it."""
        admitted = self._gate is None or self._gate.admits(frame)
        if order is not None:
            with self._change:
                self._order = None
            frame = replace(frame, order=order)
        elif not admitted:
            self._counters.add("frames_idle")
            return
        self._deliver(frame, live)

    def _refuse(self, error: Exception) -> None:
        """Hand the error to whoever asked for a frame."""
        with self._change:
            order, self._order = self._order, None
        if order is not None:
            order.fail(error)

    def _deliver(self, frame: Frame, live: bool) -> None:
        with self._change:
            if live:
                kept = [one for one in self._frames if one.order]
                self._counters.add("frames_skipped", len(self._frames) - len(kept))
                self._frames = deque(kept)
            else:
                self._change.wait_for(lambda: len(self._frames) < _AHEAD or self._stopped)
            self._frames.append(frame)
            self._change.notify_all()

    def _waited(self) -> bool:
        """Wait a while where no frame is due yet; in steps, for a rest may begin meanwhile."""
        left = self._due - self._clock.monotonic()
        if left <= 0 or self._order is not None:
            return False
        self._pause(min(left, STEP_SECONDS))
        return True

    def _begin_turn(self, interval_seconds: float) -> None:
        """Set when the next frame is due. One that is late does not make all that follow hurry."""
        now = self._clock.monotonic()
        if now >= self._due:
            self._due = max(self._due, now - interval_seconds) + interval_seconds

    def _pause(self, seconds: float) -> None:
        """Wait; a stop or somebody who asks for a frame ends it."""
        until = self._clock.monotonic() + seconds
        with self._change:
            while not self._stopped and self._order is None:
                left = until - self._clock.monotonic()
                if left <= 0:
                    return
                self._wait(self._change, left)

    def _let_go(self, part: Callable[[Camera], object] = _close) -> None:
        camera, self._camera = self._camera, None
        if camera is not None:
            try:
                part(camera)
            except Exception as error:  # it is over with this camera all the same
                log.debug("closing the camera: %s", error)
