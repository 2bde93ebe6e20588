"""Requests that are not carried out: counted, told now and then, answered within bounds.

Whoever may publish can send any number of them. So none costs a line in the log, nor an answer,
nor anything of what others may ask.
"""

from __future__ import annotations

import logging

from edge.errors import RequestError
from edge.system.clock import Clock
from edge.system.counters import Counters
from edge.system.token_bucket import Bucket

log = logging.getLogger(__name__)

ANSWERS = 10
"""Refusals that are answered at once; then one in a second."""
FLOOD = 60
"""Refusals within a minute from which on they are a problem that the device tells."""
_TELL_SECONDS = 3600.0
_FLOOD_SECONDS = 60.0
_PROBLEM = "requests"


class Refusals:
    """Counts refusals; for the thread that takes requests in, but for :meth:`look`.

    Answers to strangers and to those who showed the right token are bounded apart, so that nobody
    without the token keeps a refusal from whoever has it.
    """

    def __init__(self, topics: str, counters: Counters, clock: Clock) -> None:
        self._topics, self._counters, self._clock = topics, counters, clock
        self._strangers = Bucket(1.0, ANSWERS)
        self._known = Bucket(1.0, ANSWERS)
        self._untold = 0
        self._told: float | None = None
        self._since, self._count = clock.monotonic(), 0

    def add(self, verb: str, error: RequestError, known: bool) -> bool:
        """Count one; True where it may be answered. `known`: the token was right."""
        self._counters.add("requests_refused")
        self.look()
        self._count += 1
        if self._count >= FLOOD:
            self._counters.failing(
                _PROBLEM,
                f"{FLOOD} or more within a minute were refused, such as {verb!r} ({error}); find "
                f"who publishes below {self._topics}, and deny it in the broker's access list",
            )
        self._tell(verb, error)
        return (self._known if known else self._strangers).take(self._clock.monotonic())

    def look(self) -> None:
        """See whether a flood is over."""
        now = self._clock.monotonic()
        if now - self._since < _FLOOD_SECONDS:
            return
        if self._count < FLOOD:
            self._counters.failing(_PROBLEM, None)
        self._since, self._count = now, 0

    def _tell(self, verb: str, error: RequestError) -> None:
        now = self._clock.monotonic()
        self._untold += 1
        if self._told is not None and now - self._told < _TELL_SECONDS:
            return
        more = f"; {self._untold - 1} more since the last such line" if self._untold > 1 else ""
        log.warning("request %r is not carried out: %s%s", verb, error, more)
        self._told, self._untold = now, 0
