"""What is retained about the device, and published on every connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Introduction(NamedTuple):
    """A retained message about the device, published on every connection and when renewed."""

    topic: str
    """The whole topic."""
    payload: Callable[[], bytes | None]
    """What to say, called on the publisher's thread; empty: take away what is retained; None: say
    nothing."""
    acknowledged: Callable[[], None] = lambda: None
    """Called on the publisher's thread when the broker has taken it."""
