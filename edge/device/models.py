"""The models of a device put together: what judges frames, and, where there is a store, what keeps
it up to date.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from edge.system.identity import device_id
from edge.updates.load import kept_bundles, open_classifier
from edge.updates.progress import ProgressTopic
from edge.updates.service import UpdateService
from edge.updates.store import open_store
from edge.updates.switch import ModelSwitch
from edge.updates.verbs import Verbs

if TYPE_CHECKING:
    from types import TracebackType

    from edge.cameras.reader import Reader
    from edge.config import Config
    from edge.device.health.reporter import Reporter
    from edge.feedback.feedback import Feedback
    from edge.mqtt.introduction import Introduction
    from edge.mqtt.requests import RequestServer
    from edge.sightings.identity import Identity
    from edge.sightings.watcher import Watcher
    from edge.system.bell import Bell
    from edge.system.clock import Clock
    from edge.system.counters import Counters
    from edge.system.handover import Handover


class DeviceModels:
    """Opens the model that is to run; as a context around the agent, follows what the store says.
    A bundle that `kept` holds is not opened again.

    Raises:
        WheatearError: no model can be loaded.
    """

    def __init__(self, config: Config, kept: Handover, counters: Counters, clock: Clock) -> None:
        self._config, self._clock = config, clock
        self._service: UpdateService | None = None
        load = kept_bundles(kept, config.model)
        if config.model.store is not None:
            self._service = UpdateService(open_store(config), config.model, load, counters, clock)
        opened = self._service.open() if self._service else open_classifier(config, load)
        self.switch = ModelSwitch(opened, config, clock, kept.leave)
        self.watchers: list[Watcher] = [self._service.watch] if self._service else []
        self._stack = ExitStack()

    def introductions(self, renew: Callable[[str], None]) -> list[Introduction]:
        """What the publisher retains; `renew` makes it publish a topic again."""
        if self._service is None:
            return []
        base = f"{self._config.broker.base_topic}/{device_id(self._config)}"
        progress = ProgressTopic(base, lambda: self.switch.running, self._clock, renew)
        self._service.attach(self.switch, progress)
        return [progress.introduction()]

    def serve(self, requests: RequestServer) -> None:
        """Take requests."""
        if self._service is not None:
            Verbs(self._service, self._config.model, self._clock).serve(requests)

    def __enter__(self) -> Self:
        if self._service is not None:
            self._stack.enter_context(self._service)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)


def keep_up(
    switch: ModelSwitch,
    identity: Identity,
    reporter: Reporter,
    feedback: Feedback,
    bell: Bell,
    frames: Reader,
) -> None:
    """Have everything that names the model follow the switch."""

    def follow() -> None:
        identity.model, reporter.model = switch.ref, switch.running
        feedback.exchange(switch.classifier)
        bell.renew()
        if switch.reframed:
            frames.reopen()

    switch.told.append(follow)
