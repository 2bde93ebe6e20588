"""Who says what was seen, with which model, and where."""

from __future__ import annotations

from collections.abc import Callable

from edge.messages.sighting import Location, ModelRef


class Identity:
    """What every sighting of this run says of its origin.

    `gps` gives the place by a receiver; `location` is the configured one, where there is no fix.
    """

    def __init__(
        self,
        device: str,
        boot: str,
        model: ModelRef,
        location: Location | None,
        gps: Callable[[], Location | None] = lambda: None,
        installation: str = "",
    ) -> None:
        self.device, self.boot, self.model = device, boot, model
        self.installation = installation
        self._location, self._gps = location, gps

    @property
    def location(self) -> Location | None:
        """Where the camera is now."""
        return self._gps() or self._location
