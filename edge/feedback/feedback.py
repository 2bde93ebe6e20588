"""What a camera in the field is learned from, put together: the inbox and the drift."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from edge.errors import RequestError
from edge.feedback.drift import DriftMeter
from edge.feedback.inbox import PictureInbox
from edge.feedback.picture_store import PictureStore
from edge.messages.base import Params
from edge.messages.feedback import DriftReport, PictureParams, PicturePart
from edge.messages.requests import DRIFT, INBOX_GET

if TYPE_CHECKING:
    from pathlib import Path

    from edge.cameras import Frame
    from edge.config import Config
    from edge.model.classifier import Classification, Classifier
    from edge.mqtt.requests import RequestServer
    from edge.sightings.identity import Identity
    from edge.sightings.visits import Event
    from edge.system.clock import Clock
    from edge.system.counters import Counters

_CHUNK = 48_000


def inbox_folder(config: Config) -> Path:
    """Where kept pictures lie."""
    return config.inbox.folder or config.outbox.path.parent / "inbox"


class Feedback:
    """Holds what watches the frames; use it as a context, around the threads of the program.

    `tell` is called when there is something for the publisher to send.
    """

    def __init__(
        self,
        config: Config,
        classifier: Classifier,
        identity: Identity,
        counters: Counters,
        clock: Clock,
        tell: Callable[[], None],
    ) -> None:
        self.inbox: PictureInbox | None = None
        settings, folder, labels = config.inbox, inbox_folder(config), classifier.labels
        if settings.keep:
            self.inbox = PictureInbox(
                settings,
                lambda: PictureStore(folder, settings.max_bytes, settings.min_free_bytes),
                identity,
                labels,
                counters,
                clock,
                tell,
            )
        self._made_of = config, counters, clock
        self.drift = _drift_of(classifier, config, counters, clock)
        self._stack = ExitStack()

    def watch(self, frame: Frame, found: Classification, event: Event | None) -> None:
        """Look at a classified frame; a watcher of the agent."""
        if self.inbox is not None:
            self.inbox.watch(frame, found, event)
        if self.drift is not None:
            self.drift.watch(frame, found, event)

    def serve(self, requests: RequestServer) -> None:
        """Register the verbs."""
        requests.on(DRIFT, self._drift)
        requests.on(INBOX_GET, self._picture)

    def __enter__(self) -> Self:
        self._stack.callback(lambda: self.drift.close() if self.drift is not None else None)
        if self.inbox is not None:
            self.inbox.start()
            self._stack.callback(self.inbox.close)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def exchange(self, classifier: Classifier) -> None:
        """Go on with the frames of another model, on the agent's thread.

        What was counted with the one before is not kept: it is compared with photos of its own.
        """
        if self.inbox is not None:
            self.inbox.exchange(classifier.labels)
        self.drift = _drift_of(classifier, *self._made_of)

    def health(self) -> dict[str, object]:
        """The parts of health about kept pictures and drift."""
        return {
            "inbox": self.inbox.health() if self.inbox is not None else None,
            "drift": self.drift.value() if self.drift is not None else None,
        }

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until what may be sent today is sent; False where it is not in time."""
        return self.inbox is None or self.inbox.flush(timeout_seconds)

    def _drift(self, _: Params) -> DriftReport:
        if self.drift is None:
            raise RequestError(
                "drift is not measured: drift.measure is off, or the bundle has no reference"
            )
        return self.drift.report()

    def _picture(self, asked: PictureParams) -> PicturePart:
        if self.inbox is None:
            raise RequestError("no picture is kept: inbox.keep is off")
        item, jpeg = self.inbox.read(asked.id)
        part = jpeg[asked.offset : asked.offset + _CHUNK]
        return PicturePart(item=item, offset=asked.offset, jpeg=part)


def _drift_of(
    classifier: Classifier, config: Config, counters: Counters, clock: Clock
) -> DriftMeter | None:
    """Open what measures drift for a model; None where that is not asked for or not possible."""
    if not config.drift.measure or classifier.reference is None:
        return None
    return DriftMeter(
        config.drift,
        classifier.reference,
        classifier.input,
        classifier.labels,
        classifier.model_info.sha256,
        config.outbox.path.with_name("drift.json"),
        counters,
        clock,
    )
