"""Puts a health message together: each part says what it knows, and the message is made once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edge.messages.health import Health, Spreads, Timings
from edge.system.counters import Counters

Part = Callable[[], Mapping[str, object]]
"""Returns fields of :class:`edge.messages.health.Health`; called on the agent's thread, on that of
requests and on that of Prometheus."""


class HealthMeter:
    """Measures how the device is. Mean times and spreads are those of the last report."""

    def __init__(self, parts: Sequence[Part], counters: Counters) -> None:
        self._parts, self._counters = parts, counters
        self._timings, self._spreads = Timings(), Spreads()

    def report(self, timings: Timings) -> Health:
        """Measure for the health message, for the mean times since the last one; spreads begin
        anew with each.
        """
        self._timings = timings
        self._spreads = Spreads(
            **{name: self._counters.spread(name) for name in Spreads.__struct_fields__}
        )
        return self.now()

    def now(self) -> Health:
        """Measure for whoever asks."""
        fields: dict[str, object] = {}
        for part in self._parts:
            fields |= part()
        return Health(milliseconds=self._timings, spreads=self._spreads, **fields)  # type: ignore[arg-type]
