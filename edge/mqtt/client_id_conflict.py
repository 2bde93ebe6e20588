"""Whether another client uses our id at the broker, which then ends one connection for the other.

MQTT 5 says so (reason code 0x8E). Under 3.1.1 the broker only hangs up: again and again, soon after
each connection, though no message is to blame.
"""

from __future__ import annotations

import logging

from edge.errors import LostError
from edge.mqtt.reason_codes import TAKEN_OVER
from edge.system.clock import Clock
from edge.system.counters import Counters

log = logging.getLogger(__name__)

_PROBLEM = "device id"
_SOON = 2.0
"""A connection was lost soon within so many of the longest waits between attempts."""
_OFTEN = 3
"""So often in a row is no accident."""
_QUIET = 5.0
"""So many of the longest waits without a loss, and the other one is gone."""


class Rivals:
    """Sees the pattern in how connections end; `longest` is the longest wait between attempts."""

    def __init__(self, client_id: str, longest: float, counters: Counters, clock: Clock) -> None:
        self._client_id, self._longest = client_id, longest
        self._counters, self._clock = counters, clock
        self._row = 0
        self._since: float | None = None
        """When the last loss of this kind was; None: there is no rival."""

    @property
    def there(self) -> bool:
        """Somebody else uses our id. Whoever comes back at once would only throw them out again."""
        return self._since is not None

    def ended(self, error: Exception | None, lasted: float, blameless: bool) -> None:
        """Learn how a connection ended, after how many seconds; `blameless`: no message of ours can
        have been the cause.
        """
        self.look()
        lost = error if isinstance(error, LostError) else None
        sure = lost is not None and lost.code == TAKEN_OVER
        soon = lasted < _SOON * self._longest
        if lost is not None and lost.hung_up and lost.code is None and blameless and soon:
            self._row += 1
        elif not sure:
            self._row = 0
        if sure or self._row >= _OFTEN:
            self._name(sure)

    def look(self) -> None:
        """See whether the other one is gone."""
        if self._since is None:
            return
        if self._clock.monotonic() - self._since > _QUIET * self._longest:
            self._since, self._row = None, 0
            self._counters.failing(_PROBLEM, None)
            log.info("no other client uses the id %s any more", self._client_id)

    def _name(self, sure: bool) -> None:
        text = (
            f"another client uses {self._client_id} at this broker, such as a device with a copied "
            "card: it took this connection over; give each its own device.id"
        )
        if not sure:
            text = (
                f"another client seems to use {self._client_id} at this broker, such as a device "
                f"with a copied card: {self._row} connections in a row were soon ended; give each "
                "its own device.id, or look at the broker's log for another reason"
            )
        if self._since is None:
            log.warning("%s: %s", _PROBLEM, text)
        self._since = self._clock.monotonic()
        self._counters.failing(_PROBLEM, text)
