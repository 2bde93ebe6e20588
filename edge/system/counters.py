"""What the threads of the program count, and failures that are logged once."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from edge.messages.health import Spread
from edge.system.histogram import Histogram
from edge.system.threads import Crew
from edge.text.printable import printable, told


class Counters:
    """Counts by name and errors by class; safe to use from several threads.

    `crew` are the threads; one that ends unexpectedly is a failure for good.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._failing: dict[str, str] = {}
        self._notes: dict[str, str] = {}
        self._times: dict[str, Histogram] = {}
        self._totals: dict[str, tuple[int, float]] = {}
        self.crew = Crew(self.failing)

    def add(self, name: str, count: int = 1) -> None:
        """Count."""
        with self._lock:
            self._counts[name] += count

    def __getitem__(self, name: str) -> int:
        with self._lock:
            return self._counts[name]

    def took(self, name: str, milliseconds: float) -> None:
        """Count how long something took."""
        with self._lock:
            times = self._times.get(name)
            if times is None:
                times = self._times[name] = Histogram()
            times.add(milliseconds)

    def spread(self, name: str) -> Spread | None:
        """Return how the times since the last call are spread, and begin anew."""
        with self._lock:
            times = self._times.pop(name, None)
            if times is None:
                return None
            count, total = self._totals.get(name, (0, 0.0))
            self._totals[name] = (count + times.count, total + times.sum)
            return times.spread()

    def total(self, name: str) -> tuple[int, float]:
        """How often something was timed since the start, and the sum in milliseconds."""
        with self._lock:
            count, total = self._totals.get(name, (0, 0.0))
            times = self._times.get(name)
            return (count + times.count, total + times.sum) if times else (count, total)

    def error(self, error: BaseException) -> None:
        """Count an error by the name of its class."""
        with self._lock:
            self._errors[type(error).__name__] += 1

    def errors(self) -> dict[str, int]:
        """The errors since the start, by class name."""
        with self._lock:
            return dict(self._errors)

    def failing(self, what: str, why: str | None) -> None:
        """Note that `what` is failing now, or (`why` None) works again."""
        with self._lock:
            if why is None:
                self._failing.pop(what, None)
            else:
                self._failing[what] = printable(why)

    def is_failing(self, what: str) -> bool:
        """Whether `what` is failing now."""
        with self._lock:
            return what in self._failing

    def failing_now(self) -> tuple[str, ...]:
        """The names of what is failing now, without the reasons."""
        with self._lock:
            return tuple(sorted(self._failing))

    def problems(self) -> tuple[str, ...]:
        """What is failing now, in words."""
        with self._lock:
            return tuple(f"{what}: {why}" for what, why in sorted(self._failing.items()))

    def note(self, what: str, text: str | None) -> None:
        """Note a state that is no failure, or (`text` None) its end."""
        with self._lock:
            if text is None:
                self._notes.pop(what, None)
            else:
                self._notes[what] = printable(text)

    def noted(self, what: str) -> str | None:
        """The note on `what`, or None."""
        with self._lock:
            return self._notes.get(what)


class Episode:
    """A thing that fails for a while and recovers: logged at the start and at the end only.

    Every failure is counted. A failure of another class within the episode is logged too.
    """

    def __init__(self, what: str, counters: Counters, log: logging.Logger) -> None:
        self._what, self._counters, self._log = what, counters, log
        self._class: type[BaseException] | None = None
        self._since = 0.0
        self._count = 0

    def failed(self, error: BaseException) -> None:
        """Count a failure; log it if it is the first of its class in this episode."""
        self._counters.error(error)
        self._counters.failing(self._what, why := told(error))
        if self._class is None:
            self._since, self._count = time.monotonic(), 0
        self._count += 1
        if type(error) is not self._class:
            self._class = type(error)
            self._log.warning("%s: %s: %s", self._what, type(error).__name__, why)

    @contextmanager
    def over(self, *kinds: type[BaseException]) -> Iterator[None]:
        """Note whether what is done meanwhile fails by an error of these kinds, which ends here."""
        try:
            yield
        except kinds as error:
            self.failed(error)
        else:
            self.recovered()

    def recovered(self) -> bool:
        """End the episode; True where there was one."""
        if self._class is None:
            return False
        self._class = None
        self._counters.failing(self._what, None)
        self._log.info(
            "%s works again after %.0f s and %d failures",
            self._what,
            time.monotonic() - self._since,
            self._count,
        )
        return True


class Backoff:
    """Growing waits: doubled with every failure, with jitter, up to a maximum."""

    def __init__(self, min_seconds: float, max_seconds: float) -> None:
        self._min, self._max = min_seconds, max_seconds
        self._next = min_seconds

    def next(self, random: float) -> float:
        """Return the seconds to wait; `random` from 0 to 1 spreads them between half and whole.

        Spreading keeps a field of cameras from knocking all at once on a broker that came back.
        """
        wait = self._next
        self._next = min(self._next * 2, self._max)
        return wait * (0.5 + 0.5 * random)

    def rest(self) -> None:
        """Wait the maximum next time."""
        self._next = self._max

    def reset(self) -> None:
        """Begin again at the minimum."""
        self._next = self._min
