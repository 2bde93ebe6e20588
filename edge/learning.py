"""What a camera in the field is learned from, put together: the inbox."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec

from edge.inbox import Inbox
from edge.messages import Health, Timings
from edge.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path

    from edge.agent import Watcher
    from edge.clock import Clock
    from edge.config import Config
    from edge.counters import Counters
    from edge.sightings import Identity


def inbox_folder(config: Config) -> Path:
    """Give where kept pictures lie."""
    return config.inbox.folder or config.outbox.path.parent / "inbox"


class Learning:
    """Holds what watches the frames; use it as a context, around the threads of the program.

    `tell` is called when there is something for the publisher to send.
    """

    def __init__(
        self,
        config: Config,
        labels: tuple[str, ...],
        identity: Identity,
        counters: Counters,
        clock: Clock,
        tell: Callable[[], None],
    ) -> None:
        settings, folder = config.inbox, inbox_folder(config)
        self.watchers: list[Watcher] = []
        self.inbox: Inbox | None = None
        if settings.keep:
            self.inbox = Inbox(
                settings,
                lambda: Spool(folder, settings.max_bytes, settings.min_free_bytes),
                identity,
                labels,
                counters,
                clock,
                tell,
            )
            self.watchers.append(self.inbox.watch)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self.inbox is not None:
            self.inbox.start()
            self._stack.callback(self.inbox.close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._stack.close()

    def health(self, measure: Callable[[Timings], Health]) -> Callable[[Timings], Health]:
        """Give `measure` with what is known here filled in."""

        def measured(timings: Timings) -> Health:
            inbox = self.inbox.health() if self.inbox is not None else None
            return msgspec.structs.replace(measure(timings), inbox=inbox)

        return measured

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until what may be sent today is sent; False where it is not in time."""
        return self.inbox is None or self.inbox.flush(timeout_seconds)
