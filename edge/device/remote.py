"""The program as seen from afar: its configuration, its log, a restart.

:class:`Remote` lives as long as the process; the device inside it (:func:`edge.device.app.run`) is
built anew for a changed configuration.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from edge.device.config_changes import ChangedConfiguration
from edge.device.log_tail import LogTail
from edge.errors import ConfigError
from edge.messages.base import Params
from edge.messages.device import ConfigState
from edge.messages.requests import CONFIG_GET, CONFIG_SET, LOG, RESTART
from edge.messages.verbs import ConfigNow, ConfigSetParams, ConfigTaken
from edge.mqtt.requests import RequestServer
from edge.mqtt.transactions import NAME, Memory
from edge.system.clock import Clock
from edge.system.counters import Counters
from edge.system.resource_limits import begin

log = logging.getLogger(__name__)

Wish = Literal["end", "reload", "restart"]
_LOOK_SECONDS = 0.1
_LOOK_AGAIN_SECONDS = 5.0


class Control:
    """Ends the device, and says what comes then; a signal wins over requests."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.wish: Wish = "end"
        self._signalled = False

    def end(self) -> None:
        """End for good; may be called by a signal's handler."""
        self._signalled, self.wish = True, "end"
        self.stop.set()

    def again(self, wish: Wish) -> None:
        """End, and begin again: in this process (``reload``) or as a new one (``restart``)."""
        if not self._signalled:
            self.wish = wish
            self.stop.set()

    def begin(self) -> None:
        """Forget the last wish before the device runs again."""
        if not self._signalled:
            self.wish = "end"
            self.stop.clear()


class Remote:
    """What outlives one run of the device inside the process."""

    def __init__(
        self, configuration: ChangedConfiguration, control: Control, log_tail: LogTail
    ) -> None:
        self._memory: Memory | None = None
        self._configuration, self._control, self._log_tail = configuration, control, log_tail
        self._seconds, self._reachable = 0.0, True
        self._hangs: threading.Timer | None = None

    def memory(self, outbox: Path) -> Memory:
        """Open the record of requests already carried out, kept beside the outbox."""
        if self._memory is None:
            self._memory = Memory(outbox.with_name(NAME))
        return self._memory

    def serve(self, requests: RequestServer, confirm_seconds: float) -> None:
        """Carry out ``config/get``, ``config/set``, ``log`` and ``restart``."""
        self._seconds, self._reachable = confirm_seconds, requests.topics is not None
        requests.on(CONFIG_GET, self._get)
        requests.on(CONFIG_SET, self._set)
        requests.on(LOG, self._log_tail.log)
        requests.on(RESTART, self._restart)

    def stays(self) -> bool:
        """Whether the process runs the device again when it has ended."""
        return self._control.wish != "end"

    def state(self) -> ConfigState:
        """The configuration in force, for `info`."""
        record = self._configuration.record
        return ConfigState(
            revision=self._configuration.revision(),
            trying=self._configuration.trying,
            changed=tuple(record.current.settings),
            replaced=record.current.toml is not None,
            taken_back=record.taken_back,
            taken_back_at=record.taken_back_at,
        )

    @contextmanager
    def opening(self, seconds: float, give_up: Callable[[], object]) -> Iterator[None]:
        """Call `give_up` where a device on trial does not get as far as :meth:`trial` in time: a
        driver that hangs while it is opened never comes back with an error.
        """
        if self._configuration.trying:
            self._hangs = threading.Timer(seconds, give_up)
            self._hangs.daemon = True
            begin(self._hangs)
        try:
            yield
        finally:
            self._opened()

    def _opened(self) -> None:
        if self._hangs is not None:
            self._hangs.cancel()

    @contextmanager
    def trial(
        self, counters: Counters, clock: Clock, look: Callable[[], object], tell: Callable[[], None]
    ) -> Iterator[None]:
        """Watch over a configuration on trial while the device runs.

        It has proved itself once the camera gave a frame that was classified, the broker
        acknowledged a message, and the device can be asked again. Otherwise it is taken back.
        `look` takes a picture now, `tell` tells that :meth:`state` has changed.
        """
        self._opened()
        over = threading.Event()
        thread = counters.crew.worker(
            "trial", lambda: self._try(counters, clock, look, tell, over), lambda: True
        )
        if self._configuration.trying:
            thread.start()
        try:
            yield
        finally:
            over.set()
            if thread.is_alive():
                thread.join()

    def _try(
        self,
        counters: Counters,
        clock: Clock,
        look: Callable[[], object],
        tell: Callable[[], None],
        over: threading.Event,
    ) -> None:
        deadline, due = clock.monotonic() + self._seconds, 0.0
        while not over.wait(_LOOK_SECONDS):
            lacking = self._lacking(counters)
            if not counters["frames_classified"] and clock.monotonic() >= due:
                look()  # a camera that rests until the morning would not prove itself
                due = clock.monotonic() + _LOOK_AGAIN_SECONDS
            try:
                if not lacking:
                    self._configuration.confirm()
                    tell()
                    return
            except ConfigError as error:
                lacking = [str(error)]
            if clock.monotonic() > deadline:
                why = f"within {self._seconds:g} s {' and '.join(lacking)}"
                if problems := counters.problems():
                    why += f" ({'; '.join(problems)})"
                self._configuration.take_back(why, clock.now())
                self._control.again("reload")
                return

    def _get(self, _: Params) -> ConfigNow:
        return ConfigNow(
            revision=self._configuration.revision(),
            state=self.state(),
            config=self._configuration.plain(),
        )

    def _set(self, params: ConfigSetParams) -> ConfigTaken:
        if (params.changes is None) == (params.toml is None):
            raise ConfigError('give one of "changes" and "toml"')
        changed = self._configuration.change(params.revision, params.changes, params.toml)
        if changed:
            self._control.again("reload")
        return ConfigTaken(
            state="trying" if changed else "unchanged", confirm_seconds=self._seconds
        )

    def _restart(self, _: Params) -> dict[str, str]:
        log.info("restarting, as asked")
        self._control.again("restart")
        return {}

    def _lacking(self, counters: Counters) -> list[str]:
        """What a configuration on trial has not shown yet, in words."""
        wanted = {
            "frames_classified": "no frame was classified",
            "introduced": "the broker acknowledged nothing",
        }
        if self._reachable:
            wanted["subscribed"] = "the broker granted no subscription"
        return [text for name, text in wanted.items() if not counters[name]]
