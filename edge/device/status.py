"""The verbs that belong to the device as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from edge.messages.base import Params, encode
from edge.messages.device import Info, State
from edge.messages.health import Health
from edge.messages.verbs import Status

if TYPE_CHECKING:
    from edge.device.health.reporter import Reporter


class StatusVerb:
    """Carries out ``status``; without `details` the place is left out."""

    def __init__(
        self,
        reporter: Reporter,
        health: Callable[[], Health],
        protocol: Callable[[], str | None],
        details: bool = False,
    ) -> None:
        self._reporter, self._health, self._protocol = reporter, health, protocol
        self._details = details

    def status(self, _: Params) -> Status:
        """Return info, state and health of this moment."""
        info, state = self._reporter.info(self._protocol() or ""), self._reporter.state()
        if not self._details:
            info, state = _without_place(info, state)
        return Status(info=msgspec.Raw(info), state=msgspec.Raw(state), health=self._health())


def _without_place(info: bytes, state: bytes) -> tuple[bytes, bytes]:
    """Take out where the device is."""
    about = msgspec.json.decode(info, type=Info)
    now = msgspec.json.decode(state, type=State)
    if now.latest is not None:
        now = replace(now, latest=replace(now.latest, location=None))
    return encode(replace(about, location=None)), encode(now)
