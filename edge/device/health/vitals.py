"""What health says beside the counters: spreads of times, starts, the link, the oldest message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from edge.device.health.starts import Starts
from edge.errors import OutboxError
from edge.messages.health import Health, Spreads, Timings
from edge.outbox.outbox import Outbox
from edge.system.clock import Clock
from edge.system.counters import Counters
from edge.system.link import link

Measure = Callable[[Timings], Health]


class Vitals:
    """Adds to what the reporter measures; spreads are those between the last two reports."""

    def __init__(
        self,
        starts: Starts,
        outbox: Outbox,
        counters: Counters,
        clock: Clock,
        root: Path = Path("/"),
    ) -> None:
        self._starts, self._outbox, self._counters = starts, outbox, counters
        self._clock, self._root = clock, root
        self._spreads = Spreads()

    def reported(self, measure: Measure) -> Measure:
        """Give `measure` for the health message: its spreads begin anew with each."""

        def report(timings: Timings) -> Health:
            self._spreads = Spreads(
                **{name: self._counters.spread(name) for name in Spreads.__struct_fields__}
            )
            return measure(timings)

        return report

    def health(self, measure: Measure) -> Measure:
        """Give `measure` with what is known here filled in."""

        def measured(timings: Timings) -> Health:
            health = measure(timings)
            return msgspec.structs.replace(
                health,
                spreads=self._spreads,
                program=self._starts.health(),
                link=link(self._root),
                outbox=msgspec.structs.replace(health.outbox, oldest_seconds=self._oldest()),
            )

        return measured

    def _oldest(self) -> float | None:
        """Give the age of the oldest waiting message, by its time; None: nothing waits."""
        try:
            page = self._outbox.page(limit=1)
        except OutboxError:
            return None
        now = self._clock.now().timestamp()
        return round(max(0.0, now - page[0].time_ms / 1000), 3) if page else None
