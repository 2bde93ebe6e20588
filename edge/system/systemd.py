"""Reports to systemd how the program is: sd_notify(3), and its watchdog, sd_watchdog_enabled(3)."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Self

from edge.errors import ShortageError
from edge.system.counters import Counters
from edge.system.resource_limits import begin
from edge.text.printable import told

log = logging.getLogger(__name__)

_TICK_SECONDS = 5.0
_MORE_SECONDS = 30
"""Several times what passes until it is asked for again: the computer may be busy."""


def notify(state: str) -> bool:
    """Send lines such as ``READY=1`` to who started us; False where nobody wants to know."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):  # vsock:, or nobody
        return False
    if address.startswith("@"):  # Linux's abstract namespace
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.sendto(state.encode("utf-8", "backslashreplace"), address)
    except OSError as error:
        log.debug("systemd cannot be told %r: %s", state, error)
        return False
    return True


def watchdog_seconds() -> float | None:
    """Seconds within which systemd must hear of us; None: its watchdog is off."""
    try:
        microseconds = int(os.environ.get("WATCHDOG_USEC", "0"))
        ours = int(os.environ.get("WATCHDOG_PID", os.getpid())) == os.getpid()
    except ValueError:
        return None
    return microseconds / 1e6 if ours and microseconds > 0 else None


class Longer:
    """Asks systemd for more time, from :meth:`begin` on until it is left.

    A disk that takes long over each flush is no program that hangs, but for `most_seconds` at most.
    """

    def __init__(self, most_seconds: float) -> None:
        self._most_seconds = most_seconds
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def begin(self) -> None:
        """Ask, and go on asking."""
        if self._thread is None and self._ask():
            thread = threading.Thread(name="more time", target=self._run, daemon=True)
            with contextlib.suppress(ShortageError):  # it has what it asked for once
                self._thread = begin(thread)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def _ask(self) -> bool:
        return notify(f"WATCHDOG=1\nEXTEND_TIMEOUT_USEC={_MORE_SECONDS * 10**6}")

    def _run(self) -> None:
        until = time.monotonic() + self._most_seconds
        while not self._over.wait(_TICK_SECONDS) and time.monotonic() < until:
            self._ask()


class Systemd:
    """Reports ``READY`` when entered, ``STOPPING`` when left, and in between whether frames flow.

    `stalled` says what does not go on, `status` what the program does, in words. The watchdog is
    fed while nothing is stalled: systemd then restarts the program, and what it has on disk goes
    out with the next run. Where the process `stays` to run the device anew, ``STOPPING`` would have
    systemd kill it. `leaving` is called when it is left.
    """

    def __init__(
        self,
        stalled: Callable[[], str | None],
        status: Callable[[], str],
        counters: Counters,
        stays: Callable[[], bool] = lambda: False,
        leaving: Callable[[], object] = lambda: None,
    ) -> None:
        self._stays, self._leaving = stays, leaving
        self._stalled, self._status, self._counters = stalled, status, counters
        self._tick_seconds = min(_TICK_SECONDS, (watchdog_seconds() or 60.0) / 3)
        self._was_stalled = False
        self._stop = threading.Event()
        self._thread = counters.crew.worker("notify", self._run, self._stop.is_set)

    def __enter__(self) -> Self:
        notify(f"READY=1\nSTATUS={self._status()}")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._stays():
            notify("WATCHDOG=1\nSTATUS=starting again")
        else:
            notify("STOPPING=1\nSTATUS=delivering what is left")
        self._leaving()
        self._stop.set()
        self._thread.join(5.0)

    def tick(self) -> None:
        """Look once, and tell."""
        stalled = self._counters.crew.ended or self._stalled()
        self._counters.failing("frames", stalled)
        if stalled and not self._was_stalled:
            self._counters.add("stalls")
            log.error("%s; systemd's watchdog gets no more signs of life", stalled)
        elif self._was_stalled and not stalled:
            log.info("frames flow again")
        self._was_stalled = stalled is not None
        feed = "" if stalled else "WATCHDOG=1\n"
        notify(f"{feed}STATUS={stalled or self._status()}")

    def _run(self) -> None:
        while not self._stop.wait(self._tick_seconds):
            try:
                self.tick()
            except Exception as error:  # a bug here must not have the program killed
                log.exception("the watch over the frames failed")
                self._counters.failing("watch over the frames", told(error))
                notify("WATCHDOG=1")
