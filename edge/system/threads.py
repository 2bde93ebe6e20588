"""The threads of a device: none ends unseen.

A loop deals itself with what it can go on after. What it cannot ends the thread, and with it the
device: whoever started the program starts it anew, and what is on disk goes out then.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable

from edge.errors import ThreadEndedError
from edge.system.resource_limits import beginning
from edge.text.printable import told

log = logging.getLogger(__name__)

_IN_A_ROW = 10


class Crew:
    """Knows which threads ended that should not have; safe to use from several of them.

    `noted` is told of each, by its name and in words.
    """

    def __init__(self, noted: Callable[[str, str], None]) -> None:
        self._noted = noted
        self._lock = threading.Lock()
        self._ended: dict[str, str] = {}
        self._alarms: list[Callable[[], object]] = []

    def worker(
        self, name: str, loop: Callable[[], object], may_end: Callable[[], bool]
    ) -> threading.Thread:
        """Make a thread around `loop`, which is to go on until `may_end` says so."""
        return Worker(self, name, loop, may_end)

    def alarm(self, call: Callable[[], object]) -> None:
        """Call `call` when a thread ends that should not have; at once if one has already."""
        with self._lock:
            self._alarms.append(call)
            late = bool(self._ended)
        if late:
            call()

    @property
    def ended(self) -> str | None:
        """In words, which threads ended that should not have, and why; None: none has."""
        with self._lock:
            return (
                "; ".join(f"the {name} thread: {why}" for name, why in self._ended.items()) or None
            )

    def check(self) -> None:
        """Raise ThreadEndedError where a thread ended that should not have."""
        if ended := self.ended:
            raise ThreadEndedError(ended)

    def left(self, worker: Worker, why: str) -> None:
        """Take note of one that ended and should not have, and call all who want to know."""
        with self._lock:
            self._ended.setdefault(worker.name, why)
            alarms = list(self._alarms)
        self._noted(f"{worker.name} thread", why)
        for alarm in alarms:
            alarm()


class Worker(threading.Thread):
    """A thread that tells its crew when it ends and should not."""

    def __init__(
        self, crew: Crew, name: str, loop: Callable[[], object], may_end: Callable[[], bool]
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._crew, self._loop, self._may_end = crew, loop, may_end

    def start(self) -> None:
        """Start. Raises ShortageError where the computer starts no more threads."""
        with beginning(self.name):
            super().start()

    def run(self) -> None:
        """Run the loop."""
        try:
            self._run()
        except BaseException:  # no memory even to say so; nobody would miss this thread
            os._exit(1)

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException as error:  # also SystemExit: nothing here ends a thread on purpose
            self._tell(f"{type(error).__name__}: {told(error)}", error)
        else:
            if not self._may_end():
                self._tell("it returned before it was told to", None)

    def _tell(self, why: str, error: BaseException | None) -> None:
        self._crew.left(self, why)
        with contextlib.suppress(Exception):
            log.critical("the %s thread ends: %s; the program ends", self.name, why, exc_info=error)


class Patience:
    """How many unexpected errors in a row a loop goes on after.

    One may be bad luck with one thing; so many are a fault that only a new start may cure.
    """

    def __init__(self, in_a_row: int = _IN_A_ROW) -> None:
        self._most, self._count = in_a_row, 0

    def lost(self, error: BaseException) -> None:
        """Count an error, and raise it again where it was one too many."""
        self._count += 1
        if self._count >= self._most:
            raise error

    def won(self) -> None:
        """Begin anew: something went well."""
        self._count = 0
