"""What a device says of an update: the retained topic ``update``."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from edge.messages.base import encode
from edge.messages.updates import ModelUpdate, UpdatePhase
from edge.mqtt.introduction import Introduction

if TYPE_CHECKING:
    from edge.messages.device import RunningModel
    from edge.messages.updates import Outcome
    from edge.system.clock import Clock
    from edge.updates.proof import Proof
    from edge.updates.record import Record

_STEP = 5.0
"""Percent from one message to the next."""


class ProgressTopic:
    """Writes :class:`~edge.messages.updates.ModelUpdate`; `running` says which model judges now.

    `renew` has the topic published again.
    """

    def __init__(
        self,
        base: str,
        running: Callable[[], RunningModel],
        clock: Clock,
        renew: Callable[[str], None],
    ) -> None:
        self.topic, self._device = f"{base}/update", base.rpartition("/")[2]
        self._running, self._clock, self._renew = running, clock, renew
        self._lock = threading.Lock()
        self.proof: Proof | None = None
        """What is known of the model on its way."""
        self._said = self._message("idle")

    def introduction(self) -> Introduction:
        """What the publisher retains."""
        return Introduction(self.topic, self._payload)

    def phase(self, phase: UpdatePhase, update: str | None, proof: Proof | None) -> None:
        """Publish that a phase begins."""
        self.proof = proof
        known = {"name": proof.name, "version": proof.version} if proof else {}
        self._say(self._message(phase, update=update, **known))

    def fetched(self, done: int, total: int | None) -> None:
        """Publish how far the download is."""
        if total:
            self._percent(100.0 * done / total)

    def probation(self, record: Record, share: float) -> None:
        """Publish how far a probation is."""
        assert record.current is not None
        entry = record.models[record.current]
        if self._said.phase != "probation":
            self._say(
                self._message(
                    "probation", update=record.update, name=entry.name, version=entry.version
                )
            )
        self._percent(100.0 * share)

    def idle(self, last: Outcome | None) -> None:
        """Publish that nothing is under way, and how the last one ended."""
        self.proof = None
        if last is None:
            self._say(self._message("idle"))
            return
        self._say(
            self._message(
                "idle",
                update=last.update,
                name=last.name or None,
                version=last.version or None,
                result=last.result,
                reason=last.reason,
            )
        )

    def _percent(self, percent: float) -> None:
        said = self._said.percent
        if said is None or abs(percent - said) >= _STEP:
            rounded = round(percent, 1)
            self._say(
                msgspec.structs.replace(self._said, percent=rounded, update_percentage=rounded)
            )

    def _message(self, phase: UpdatePhase, **known: str | None) -> ModelUpdate:
        fields = {"title": "", "installed_version": "", "latest_version": "", **known}
        return msgspec.convert(
            {
                "device": self._device,
                "time": self._clock.now(),
                "phase": phase,
                "in_progress": phase != "idle",
                **fields,
            },
            ModelUpdate,
        )

    def _say(self, message: ModelUpdate) -> None:
        with self._lock:
            self._said = msgspec.structs.replace(message, time=self._clock.now())
        self._renew(self.topic)

    def _payload(self) -> bytes:
        """The last message, with the model that judges at this moment."""
        with self._lock:
            said = self._said
        running = self._running()
        coming = said.version if said.in_progress else None
        return encode(
            msgspec.structs.replace(
                said,
                title=running.name,
                installed_version=running.version,
                latest_version=coming or running.version,
            )
        )
