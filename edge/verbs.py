"""The verbs that belong to the device as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from edge.messages import Health, Timings
from edge.requests import Params

if TYPE_CHECKING:
    from edge.health import Reporter


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What ``status`` gives: the three messages in which the device speaks of itself."""

    info: msgspec.Raw
    state: msgspec.Raw
    health: Health


class Overview:
    """Carries out ``status``; `measure` gives health, for the times of the last round."""

    def __init__(
        self,
        reporter: Reporter,
        measure: Callable[[Timings], Health],
        protocol: Callable[[], str | None],
    ) -> None:
        self._reporter, self._measure, self._protocol = reporter, measure, protocol
        self._timings = Timings(capture=0.0, preprocess=0.0, invoke=0.0, loop=0.0)

    def health(self, timings: Timings) -> Health:
        """Measure, remembering the times."""
        self._timings = timings
        return self._measure(timings)

    def now(self) -> Health:
        """Measure, with the times of the last round."""
        return self._measure(self._timings)

    def status(self, _: Params) -> Status:
        """Give info, state and health of this moment."""
        return Status(
            info=msgspec.Raw(self._reporter.info(self._protocol() or "")),
            state=msgspec.Raw(self._reporter.state()),
            health=self.now(),
        )
