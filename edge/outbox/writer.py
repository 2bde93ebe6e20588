"""The writer thread: gathers messages and commits them together, so no frame waits for the disk."""

from __future__ import annotations

import logging
import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from threading import Condition

import msgspec

from edge.errors import OutboxError, OutboxFullError, UnwritableError
from edge.messages.sighting import Evidence, Sighting
from edge.outbox.outbox import Outbox
from edge.outbox.rows import Outgoing
from edge.system.counters import Backoff, Counters, Episode
from edge.system.threads import Patience
from edge.text.printable import told

log = logging.getLogger(__name__)

_BATCH_BYTES = 500_000
"""Pictures are committed in small groups: what a full outbox drops, it drops before each."""

_APART = 10
"""When messages come fast a commit comes so many times `commit_seconds` after the one before: each
costs a flush and whole blocks, however little it holds."""

_TIDY_SECONDS = 5.0
_UNEXPECTED_IN_A_ROW = 5

_SLOW_SECONDS = 240.0
"""A commit that takes so long at the end is given up: the disk hangs."""

_MAX_GATHERED = 1000
"""Messages held in memory while the disk refuses; then :meth:`Writer.submit` waits."""


class Writer:
    """Writes to the outbox from its own thread.

    A disk that refuses is tried again with growing waits; nothing submitted is given up. Until a
    message is committed it is in memory only, and it is not sent before. One that cannot be encoded
    is handed to `unwritable` and left out.
    """

    def __init__(
        self,
        outbox: Outbox,
        committed: Callable[[], None],
        counters: Counters,
        commit_seconds: float = 0.05,
        retry_max_seconds: float = 30.0,
        unwritable: Callable[[Outgoing, UnwritableError], None] = lambda *_: None,
    ) -> None:
        self._outbox, self._committed, self._counters = outbox, committed, counters
        self._unwritable = unwritable
        self._commit_seconds = commit_seconds
        self._backoff = Backoff(min(0.5, retry_max_seconds), retry_max_seconds)
        self._waiting: deque[Outgoing] = deque()
        self._change = Condition()
        self._closing = False
        self._give_up_at = 0.0
        self._last_commit = -math.inf
        self._trouble = Episode("outbox", counters, log)
        self._tidying = Episode("deleting what was delivered", counters, log)
        self._telling = Episode("waking the publisher", counters, log)
        self._astray = Episode("place of the outbox", counters, log)
        self._patience = Patience(_UNEXPECTED_IN_A_ROW)
        self.latest: Sighting | None = None
        """The newest sighting on disk; not the update or end of an earlier one."""
        self._thread = counters.crew.worker("writer", self._run, lambda: self._closing)

    def start(self) -> None:
        """Start the thread."""
        if self._outbox.full:
            self._trouble.failed(OutboxFullError(self._outbox.full))
        self._thread.start()

    def submit(self, messages: Sequence[Outgoing], timeout_seconds: float = 1.0) -> bool:
        """Hand messages over; False where there was no room in time, and none was taken."""
        with self._change:
            room = self._change.wait_for(
                lambda: len(self._waiting) < _MAX_GATHERED, timeout_seconds
            )
            if room:
                self._waiting.extend(messages)
                self._change.notify_all()
            return room

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until everything submitted is on disk; False where it is not in time."""
        with self._change:
            return self._change.wait_for(lambda: not self._waiting, timeout_seconds)

    @property
    def unwritten(self) -> tuple[Outgoing, ...]:
        """What is in memory only."""
        return tuple(self._waiting)

    def close(self, timeout_seconds: float = 10.0) -> None:
        """Write what is left, and end the thread; a disk that refuses is tried so long at most. One
        that takes its time over a commit is waited for.
        """
        with self._change:
            again, self._closing = self._closing, True
            self._give_up_at = time.monotonic() + timeout_seconds
            self._change.notify_all()
            until = self._give_up_at + 5.0
        while self._thread.is_alive() and (left := until - time.monotonic()) > 0:
            self._thread.join(min(1.0, left))
            if self._waiting and not self._counters.is_failing("outbox"):
                until = min(time.monotonic() + 5.0, self._give_up_at + _SLOW_SECONDS)
        if not again:
            for message in self.unwritten:
                log.error("not written to disk: %s", _name(message))

    def _run(self) -> None:
        while True:
            with self._change:
                work = self._change.wait_for(lambda: self._waiting or self._closing, _TIDY_SECONDS)
                if work and not self._waiting:
                    return
                if work and not self._closing:
                    self._change.wait_for(lambda: self._closing, self._gathering_seconds())
                batch = next_batch(self._waiting)
            if not batch:
                self._tidy()
                continue
            done = self._commit(batch)
            with self._change:
                if done:
                    for _ in batch:
                        self._waiting.popleft()
                self._change.notify_all()
            if done:
                self._tell()
                continue
            if self._closing and time.monotonic() >= self._give_up_at:
                return
            self._pause()

    def _gathering_seconds(self) -> float:
        """How long to wait for more messages: longer where the last commit was a moment ago."""
        due = self._last_commit + _APART * self._commit_seconds - time.monotonic()
        return max(self._commit_seconds, due)

    def _tidy(self) -> None:
        """Have the outbox do what may wait, while nothing is to be written."""
        try:
            opened = self._outbox.tidy()
        except OutboxFullError as error:
            self._trouble.failed(error)
        except Exception as error:  # what may wait must not cost what may not
            self._tidying.failed(error)
        else:
            self._tidying.recovered()
            self._look()
            if not self._outbox.full:
                self._trouble.recovered()
            if opened:
                self._tell()

    def _commit(self, batch: list[Outgoing]) -> bool:
        """Write a batch, without those that cannot be encoded; False where the disk refuses."""
        written = list(batch)
        while True:
            try:
                seqs = self._outbox.append_many(written)
            except UnwritableError as error:
                written = self._without(written, error)
            except OutboxError as error:
                self._trouble.failed(error)
                return False
            except Exception as error:  # bad luck; or a fault, which a new start may cure
                log.exception("the outbox failed unexpectedly")
                self._trouble.failed(error)
                self._patience.lost(error)
                return False
            else:
                break
        self._last_commit = time.monotonic()
        self._look()
        self._trouble.recovered()
        self._patience.won()
        self._backoff.reset()
        for message, seq in zip(reversed(written), reversed(seqs), strict=True):
            if isinstance(message, Sighting) and message.phase in ("single", "begin"):
                self.latest = msgspec.structs.replace(message, seq=seq)
                break
        return True

    def _look(self) -> None:
        """See that the outbox still lies where the next start looks for it."""
        if astray := self._outbox.astray():
            self._astray.failed(OutboxError(astray))
        else:
            self._astray.recovered()

    def _tell(self) -> None:
        """Report that something was committed, until that succeeds: nobody else looks for it."""
        while True:
            try:
                self._committed()
            except Exception as error:
                self._telling.failed(error)
                self._patience.lost(error)
            else:
                self._patience.won()
                self._telling.recovered()
                return

    def _without(self, batch: list[Outgoing], error: UnwritableError) -> list[Outgoing]:
        log.error("%s; it is left out", error)
        self._counters.error(error)
        self._counters.failing("unwritable", told(error))
        for message in batch:
            if message is error.message:
                self._counters.add("sightings_lost", isinstance(message, Sighting))
                try:
                    self._unwritable(message, error)
                except Exception as why:  # the log names it, and the others are written
                    log.error("it cannot be set aside: %s", told(why))
                    self._counters.error(why)
        return [message for message in batch if message is not error.message]

    def _pause(self) -> None:
        with self._change:
            closing, limit = self._closing, self._backoff.next(random.random())
            if closing:
                limit = min(limit, 0.2)
            self._change.wait_for(lambda: self._closing is not closing, limit)


def _name(message: Outgoing) -> str:
    """A message's name in log lines."""
    what = type(message).__name__.lower()
    return f"{what} {getattr(message, 'id', '')} {getattr(message, 'label', '')}".rstrip()


def next_batch(waiting: Iterable[Outgoing]) -> list[Outgoing]:
    """Take from the front what is written together."""
    batch, size = [], 0
    for message in waiting:
        batch.append(message)
        size += len(message.jpeg) if isinstance(message, Evidence) else 1000
        if size >= _BATCH_BYTES:
            break
    return batch
