"""Corrects the time of waiting messages once the clock is right.

A camera without a battery-backed clock starts at some time of the past. Its messages carry
seconds since the computer's start too, so when NTP has set the clock, those that still wait in the
outbox get the time that a right clock would have given them, and say ``retimed``. What went out
already stays as it is: ``booted`` in the retained ``info`` gives its time. Messages of an earlier
start of the computer keep theirs: nothing ties their seconds to this clock.

A message may reach the outbox after the clock was set and yet be of before: it was being made,
gathered or tried again meanwhile. And a full disk rewrites nothing. So all that is read to be sent
is put right then, whether or not the disk takes it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Self, TypeVar

import msgspec

from edge.config import Config, FolderCamera
from edge.errors import OutboxError
from edge.messages.base import Clock as Quality
from edge.messages.base import encode
from edge.messages.health import Health
from edge.messages.sighting import Sighting
from edge.outbox.outbox import Outbox
from edge.outbox.rows import Kind, Row
from edge.system.clock import Clock
from edge.system.counters import Counters, Episode
from edge.system.identity import boot_id
from edge.text.json_text import from_json

log = logging.getLogger(__name__)

_TICK_SECONDS = 1.0
_WAIT_SECONDS = 30.0
_PAGE_ROWS = 200
_WORSE: frozenset[Quality] = frozenset(("unsynced", "rtc", "holdover"))
_CLOCK = b'"clock":"'
"""How the field begins; within a text its quotes would be escaped."""
_WORSE_BYTES = tuple(f'{quality}"'.encode() for quality in sorted(_WORSE))

_sighting = msgspec.json.Decoder(Sighting)
_health = msgspec.json.Decoder(Health)

T = TypeVar("T", bound=Sighting | Health)


def retimed(message: T, boot: str, booted: datetime) -> T | None:
    """Return a message of this start with the time it should have; None where none is better.

    `booted` is when the computer started, by a clock that is right. What it says of other moments
    moves with its time.
    """
    if message.boot != boot or message.boot_seconds is None or message.clock not in _WORSE:
        return None
    right = booted + timedelta(seconds=message.boot_seconds)
    if isinstance(message, Health):
        return msgspec.structs.replace(message, time=right, clock="retimed")
    moved = right - message.time
    return msgspec.structs.replace(
        message,
        time=right,
        clock="retimed",
        since=message.since + moved if message.since else None,
        best_time=message.best_time + moved if message.best_time else None,
    )


def retime(outbox: Outbox, boot: str, booted: datetime, after: int = 0) -> tuple[int, int]:
    """Rewrite what waits beyond row `after`; give how many were, and the newest row looked at.

    From the newest back to the first page that holds other starts' messages only (some in between
    may be released dead letters), page by page, each in a transaction: a kill in the middle leaves
    the older ones for the next time. Raises OutboxError.
    """
    lives = [new for one in outbox.lives() if (new := retimed(one, boot, booted))]
    if lives:
        outbox.rewrite((), lives)
    count, newest, below = 0, after, None
    while page := outbox.newest(after, below, _PAGE_ROWS):
        newest = max(newest, page[0].row)
        below, ours, others = page[-1].row, False, False
        changes: list[tuple[Row, Sighting | Health]] = []
        for row in page:
            message = message_of(row)
            if message is None:
                continue
            ours, others = ours or message.boot == boot, others or message.boot != boot
            if better := retimed(message, boot, booted):
                changes.append((row, better))
        if changes:
            count += outbox.rewrite(changes)
        if others and not ours:
            break
    return count, newest


def message_of(row: Row) -> Sighting | Health | None:
    """Read a message; None where it has no time of its own, or is of another version."""
    try:
        if row.kind is Kind.SIGHTING:
            return from_json(row.payload, _sighting)
        if row.kind is Kind.HEALTH:
            return from_json(row.payload, _health)
    except msgspec.DecodeError:
        log.debug("row %d of the outbox is left as it is: %.80r", row.row, row.payload)
    return None


def looks_worse(row: Row) -> bool:
    """Whether a message may have a time that could be better; judged without decoding it."""
    if row.kind is Kind.IMAGE or (at := row.payload.find(_CLOCK)) < 0:
        return False
    return row.payload.startswith(_WORSE_BYTES, at + len(_CLOCK))


def _restated(row: Row, message: Sighting | Health) -> Row:
    """A copy of a row that holds another message."""
    time_ms = int(message.time.timestamp() * 1000)
    return msgspec.structs.replace(row, payload=encode(message), time_ms=time_ms)


class Retimer:
    """Watches the clock on a thread of its own, and has messages wait a while for it.

    `corrected` is called when the clock was set and what waited has been rewritten.
    """

    def __init__(
        self,
        outbox: Outbox,
        boot: str,
        clock: Clock,
        counters: Counters,
        wait_seconds: float,
        corrected: Callable[[], None],
        tick_seconds: float = _TICK_SECONDS,
    ) -> None:
        self._outbox, self._boot, self._clock = outbox, boot, clock
        self._counters, self._corrected = counters, corrected
        self._wait_seconds, self._tick_seconds = wait_seconds, tick_seconds
        self._trouble = Episode("retiming", counters, log)
        self._looked = 0
        self._settled = threading.Event()
        self._told: tuple[datetime, bool] | None = None
        self._give_up_at: float | None = None
        self._stop = threading.Event()
        self._thread = counters.crew.worker("clock", self._run, self._stop.is_set)

    @classmethod
    def of(
        cls,
        config: Config,
        outbox: Outbox,
        clock: Clock,
        counters: Counters,
        corrected: Callable[[], None],
    ) -> Self:
        """Make one as configured."""
        wait = config.broker.clock_wait_seconds
        if wait is None:
            wait = 0.0 if isinstance(config.camera, FolderCamera) else _WAIT_SECONDS
        return cls(outbox, boot_id(), clock, counters, wait, corrected)

    def __enter__(self) -> Self:
        """Look once now, then from the thread."""
        self.tick()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the thread; doing so twice is fine."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def hold(self) -> bool:
        """Whether messages should still wait for a right clock.

        A network that has just come up mostly brings the time along, seconds later. The waiting
        begins with the first call and happens once a run; it ends when the clock is right, or with
        the configured seconds.
        """
        if self._settled.is_set():
            return False
        now = self._clock.monotonic()
        if self._give_up_at is None:
            self._give_up_at = now + self._wait_seconds
        if now >= self._give_up_at:
            self._settled.set()
        return not self._settled.is_set()

    def righted(self, rows: Sequence[Row]) -> list[Row]:
        """Return waiting rows as they are to be sent now: with the right time, if that is known.

        They are rewritten in the outbox too; where the disk refuses that, :meth:`tick` says so.
        """
        if self._clock.quality() != "synced":
            return list(rows)
        booted = self._clock.booted()
        better = {
            row.row: (row, new)
            for row in rows
            if looks_worse(row)
            and (message := message_of(row))
            and (new := retimed(message, self._boot, booted))
        }
        if better:
            with contextlib.suppress(OutboxError):
                self._counters.add("retimed", self._outbox.rewrite(list(better.values())))
        return [_restated(*better[row.row]) if row.row in better else row for row in rows]

    def tick(self) -> None:
        """Look at the clock once, and rewrite what was added since the last time if it is right."""
        quality = self._clock.quality()
        booted = self._clock.booted()  # in this order: a clock is set first, and then called synced
        synced = quality == "synced"
        if synced:
            self._rewrite(booted)
        if quality != "unsynced":
            self._settled.set()
        told, self._told = self._told, (booted, synced)
        if told is not None and told != self._told:
            self._corrected()

    def _rewrite(self, booted: datetime) -> None:
        try:
            count, self._looked = retime(self._outbox, self._boot, booted, self._looked)
        except OutboxError as error:
            self._trouble.failed(error)
            return
        self._trouble.recovered()
        if count:
            self._counters.add("retimed", count)
            log.info("the clock is right: %d waiting messages got the right time", count)

    def _run(self) -> None:
        while not self._stop.wait(self._tick_seconds):
            try:
                self.tick()
            except Exception as error:  # a bug must not end the watch for good
                log.exception("the clock's watch failed; it goes on")
                self._trouble.failed(error)
