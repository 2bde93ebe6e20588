"""The verbs of models: ``models``, and those below ``model/``: ``install``, ``chunk``, ``cancel``,
``rollback``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from edge.errors import UpdateBusyError, UpdateError
from edge.messages.base import new_id
from edge.model.bundle.manifest import Sha256
from edge.mqtt.requests import Params, Requests
from edge.updates.fetch import Source, check_source
from edge.updates.install import check_keys, factory, roll_back
from edge.updates.jobs import Cancelled, Job, cancel
from edge.updates.record import Entry, Outcome, Probation
from edge.updates.service import Models
from edge.updates.upload import Chunk, Progress

if TYPE_CHECKING:
    from edge.config import Model
    from edge.system.clock import Clock


class InstallParams(Params, frozen=True, kw_only=True):
    """What ``model/install`` takes: a URL, or the hash of a complete upload."""

    url: Annotated[str, Meta(max_length=2000)] | None = None
    """Where to fetch it, http or https. Unset: what came by ``model/chunk``."""
    sha256: Sha256 | None = None
    """Of the bundle file."""
    size: Annotated[int, Meta(ge=1)] | None = None
    """Bytes of the bundle file."""
    allow_downgrade: bool = False
    """Take an older or equal version, too."""


_CANCEL_SECONDS = 5.0
"""How long ``model/cancel`` waits for the end before it answers."""


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """What ``model/install`` gives at once; the rest is told on ``update``."""

    accepted: bool
    update: str
    """The id that the messages on ``update`` carry."""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """What ``models`` gives."""

    current: str | None
    """Id of what runs; null: the factory model."""
    previous: str | None
    """Id of what ``model/rollback`` goes back to; null: the factory model."""
    probation: Probation | None
    """Null: the current model is confirmed."""
    factory: Entry | None
    models: dict[str, Entry]
    last: Outcome | None


class RolledBack(msgspec.Struct, frozen=True, kw_only=True):
    """What ``model/rollback`` gives."""

    current: str | None
    """Id of what runs with the next frame; null: the factory model."""


class Verbs:
    """Carries the verbs out."""

    def __init__(self, models: Models, model: Model, clock: Clock) -> None:
        self._models, self._model, self._clock = models, model, clock

    def install(self, params: InstallParams) -> Accepted:
        """Accept an update."""
        check_keys(self._model)
        source = None
        if params.url is not None:
            source = Source(url=params.url, sha256=params.sha256, size=params.size)
            check_source(source, self._model.update)
        elif params.sha256 is None:
            raise UpdateError("give a url, or the sha256 of what came by model/chunk")
        job = Job(
            update=new_id(),
            source=source,
            sha256=params.sha256,
            allow_downgrade=params.allow_downgrade,
        )
        self._models.accept(job)
        return Accepted(accepted=True, update=job.update)

    def chunk(self, chunk: Chunk) -> Progress:
        """Take a piece of a bundle."""
        check_keys(self._model)
        with self._models.store.installing():
            if self._models.jobs.read() is not None:
                raise UpdateBusyError("an update is under way; wait for its end")
            return self._models.upload.take(chunk)

    def models(self, _: Params) -> Listed:
        """List what is in the store."""
        record = self._models.store.read()
        return Listed(
            current=record.current,
            previous=record.previous,
            probation=record.probation,
            factory=factory(self._model),
            models=record.models,
            last=record.last,
        )

    def cancel(self, _: Params) -> Cancelled:
        """End what is under way."""
        models = self._models
        now = self._clock.now()
        return cancel(models.store, models.jobs, models.upload, now, _CANCEL_SECONDS)

    def roll_back(self, _: Params) -> RolledBack:
        """Go back one model."""
        record = roll_back(self._models.store, "asked for by request", self._clock.now())
        self._models.wake()
        return RolledBack(current=record.current)


def register(requests: Requests, verbs: Verbs) -> None:
    """Have the verbs carried out."""
    requests.on("models", Params, verbs.models)
    requests.on("model/install", InstallParams, verbs.install)
    requests.on("model/chunk", Chunk, verbs.chunk)
    requests.on("model/cancel", Params, verbs.cancel)
    requests.on("model/rollback", Params, verbs.roll_back)
