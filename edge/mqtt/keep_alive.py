"""Whether something on the way to the broker ends connections on which nothing is said.

Load balancers and the address translation of mobile networks do, some after less than the time
between two pings. Then pings come more often.
"""

from __future__ import annotations

import logging

from edge.errors import LostError

log = logging.getLogger(__name__)

_LEAST_SECONDS = 1.0
"""Less than this is no limit on quiet: something else ended the connection."""
_ALIKE = 0.1
"""Two connections in a row that were quiet for as long, to this share, are no accident."""


class Quiet:
    """Learns how often to ping from how connections end; `keepalive_seconds` is what is asked for.

    What is learned outlives connections.
    """

    def __init__(self, keepalive_seconds: int) -> None:
        self.keepalive_seconds = keepalive_seconds
        """Between two pings, or anything else."""
        self._before: float | None = None

    def ended(self, error: Exception) -> None:
        """Learn how a connection ended on which nothing was under way."""
        lost = error if isinstance(error, LostError) and error.hung_up else None
        quiet = lost.quiet_seconds if lost and lost.code is None else None
        before, self._before = self._before, quiet
        if quiet is None or before is None or min(quiet, before) < _LEAST_SECONDS:
            return
        if abs(quiet - before) > _ALIKE * max(quiet, before):
            return
        often = max(1, int(min(quiet, before) / 2))
        if often < self.keepalive_seconds:
            self.keepalive_seconds, self._before = often, None
            log.warning(
                "silent connections end after %.0f s, as if a load balancer on the way ended them: "
                "from now on a ping is sent every %d s; set broker.keepalive_seconds = %d",
                quiet,
                often,
                often,
            )
