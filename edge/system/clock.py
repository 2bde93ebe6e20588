"""Time: what the clock says, how far it can be trusted, and what it would have said before.

A field computer often starts with a wrong clock and learns the time later. So every time is held
against seconds since the computer started (``CLOCK_BOOTTIME``), which no setting of the clock
moves and which count on while the computer sleeps.
"""

from __future__ import annotations

import ctypes
import threading
import time
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import msgspec

from edge.messages.base import Clock as Quality

STEP_SECONDS = 0.2
"""From here on a change of the clock is a jump; NTP daemons slew away what is less."""

WRITTEN = datetime(2026, 11, 1, tzinfo=UTC)
"""It was later than this when the program was written."""

# adjtimex(2)
_TIME_ERROR = 5
"""What it gives while the clock is not synchronised."""
_UNKNOWN_MICROSECONDS = 16_000_000
"""The kernel's NTP_PHASE_LIMIT: the errors it reports while it does not know them."""


class Errors(msgspec.Struct, frozen=True):
    """How wrong the clock may be, in seconds; None: not known."""

    estimated: float | None = None
    """What the NTP daemon thinks; some (systemd-timesyncd) do not say."""
    largest: float | None = None
    """The kernel's bound: the daemon's, and half a millisecond more a second since it told it."""


class Era(msgspec.Struct, frozen=True):
    """A stretch of time without a jump of the clock."""

    since: float
    """Seconds since boot of its begin, or a little before it."""
    booted: datetime
    """When the computer started, by the clock of this era."""


class Clock(ABC):
    """The time, passed in wherever it is needed; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._eras: list[Era] = []
        self._observed = 0.0
        self.steps = 0
        """Jumps seen."""
        self.last_step_seconds: float | None = None
        """By how much the clock was put forward (or back: negative) by the last one."""

    @abstractmethod
    def now(self) -> datetime:
        """The time of day, UTC."""

    @abstractmethod
    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""

    def since_boot(self) -> float:
        """Seconds since the computer started, including time asleep; they never jump."""
        return self.monotonic()

    @abstractmethod
    def quality(self) -> Quality:
        """How far :meth:`now` can be trusted, if that is called after this.

        The other way round the clock may be set in between, and a wrong time pass for a right one.
        """

    def errors(self) -> Errors:
        """How wrong :meth:`now` may be."""
        return Errors()

    def booted(self) -> datetime:
        """When the computer started, by the clock as it is now; notices jumps.

        Whoever needs :meth:`seconds_since_boot` to be right calls this every second or so.
        """
        with self._lock:
            seconds, booted = self._read()
            if self._eras:
                jump = (booted - self._eras[-1].booted).total_seconds()
                if abs(jump) < STEP_SECONDS:
                    self._observed = seconds
                    return self._eras[-1].booted
                self.steps, self.last_step_seconds = self.steps + 1, round(jump, 3)
            self._eras.append(Era(self._observed, booted))
            self._observed = seconds
            return booted

    def seconds_since_boot(self, moment: datetime) -> float:
        """Seconds from the computer's start to a time that this clock gave.

        It may have jumped in between: the jumps that :meth:`booted` noticed are known.
        """
        return self._place(moment)[1]

    def restated(self, moment: datetime, booted: datetime | None = None) -> datetime:
        """Correct a time that this clock gave: what the clock as it is now would have shown then.

        Times of one message are told by the same `booted`: the clock may be set between two calls.
        """
        era, seconds = self._place(moment)
        booted = booted or self.booted()
        return moment if era.booted == booted else booted + timedelta(seconds=seconds)

    def told(self, moment: datetime) -> tuple[datetime, Quality]:
        """Correct a time that this clock gave, and say how far the result can be trusted.

        Never a time from before the clock was set with the word that it is right.
        """
        quality = self.quality()
        return self.restated(moment), quality

    def _read(self) -> tuple[float, datetime]:
        """Seconds since the computer started, and when it started, read at one moment."""
        while True:
            before, now, after = self.since_boot(), self.now(), self.since_boot()
            if after - before < STEP_SECONDS / 10:  # else something kept us waiting in between
                return after, now - timedelta(seconds=after)

    def _place(self, moment: datetime) -> tuple[Era, float]:
        """Find the era in which the clock gave this time, the latest that can be."""
        self.booted()
        with self._lock:
            eras, end = list(self._eras), self._observed + 1.0
        for era in reversed(eras):
            seconds = (moment - era.booted).total_seconds()
            if era.since - 1.0 <= seconds <= end:
                return era, seconds
            end = era.since + 1.0
        return eras[-1], (moment - eras[-1].booted).total_seconds()


def boot_seconds() -> float:
    """Seconds since the computer started, including time asleep where that is known (Linux)."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class SystemClock(Clock):
    """The computer's clock."""

    def __init__(self, root: Path = Path("/")) -> None:
        super().__init__()
        self._rtc = root / "sys/class/rtc/rtc0/hctosys"
        self._timesync = root / "run/systemd/timesync/synchronized"
        self._was_synced = False

    def now(self) -> datetime:
        """The time of day, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""
        return time.monotonic()

    def since_boot(self) -> float:
        """Seconds since the computer started, including time asleep."""
        return boot_seconds()

    def quality(self) -> Quality:
        """Ask the kernel and its files.

        ``synced``: the kernel is disciplined by NTP, PTP or GPS; ``holdover``: it was, since the
        computer started; ``rtc``: set at the start from a battery-backed clock; else ``unsynced``.
        """
        if kernel_time().synced:
            self._was_synced = True
            return "synced"
        # systemd-timesyncd's flag: in /run, so that it says nothing of an earlier start.
        if self._was_synced or self._timesync.exists():
            return "holdover"
        try:
            was_set = self._rtc.read_text("ascii").strip() == "1"
        except (OSError, UnicodeDecodeError):
            was_set = False
        # A clock whose battery is empty or was never put in is set from as well.
        return "rtc" if was_set and self.now() > WRITTEN else "unsynced"

    def errors(self) -> Errors:
        """How wrong the clock may be, according to the kernel."""
        return kernel_time().errors


def describe(clock: Clock) -> str:
    """In words, what a clock shows, and how far it can be trusted."""
    quality, errors = clock.quality(), clock.errors()
    told = f"{clock.now():%Y-%m-%d %H:%M:%S} UTC, {quality}"
    if quality == "synced":
        known = [
            f"{what} {error * 1e3:.1f} ms"
            for what, error in (("error about", errors.estimated), ("at most", errors.largest))
            if error is not None
        ]
        return ", ".join([told, *known])
    return f"{told}: what still waits when NTP sets the clock gets its right time"


class KernelTime(msgspec.Struct, frozen=True):
    """What the kernel says of its clock."""

    synced: bool
    errors: Errors = Errors()


class _Timex(ctypes.Structure):
    """The begin of ``struct timex`` (``linux/timex.h``), and more than its rest."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    ]


def kernel_time() -> KernelTime:
    """Ask the kernel (adjtimex(2), read only); NTP daemons and gpsd's users all report there."""
    found = _Timex()
    try:
        state: int = _libc().adjtimex(ctypes.byref(found))
    except (OSError, AttributeError):
        return KernelTime(synced=False)
    if not 0 <= state < _TIME_ERROR:
        return KernelTime(synced=False)
    known = [
        value / 1e6 if 0 < value < _UNKNOWN_MICROSECONDS else None
        for value in (found.esterror, found.maxerror)
    ]
    return KernelTime(synced=True, errors=Errors(*known))


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
