"""The verbs of models: ``models``, and those below ``model/``: ``install``, ``chunk``, ``cancel``,
``rollback``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.errors import UpdateBusyError, UpdateError
from edge.messages.base import Params, new_id
from edge.messages.requests import (
    MODEL_CANCEL,
    MODEL_CHUNK,
    MODEL_INSTALL,
    MODEL_ROLLBACK,
    MODELS,
)
from edge.messages.updates import (
    Accepted,
    Cancelled,
    Chunk,
    InstallParams,
    Listed,
    RolledBack,
    UploadProgress,
)
from edge.updates.fetch import Source, check_source
from edge.updates.install import check_keys, factory, roll_back
from edge.updates.jobs import Job, cancel
from edge.updates.service import UpdateService

if TYPE_CHECKING:
    from edge.config import Model
    from edge.mqtt.requests import RequestServer
    from edge.system.clock import Clock


_CANCEL_SECONDS = 5.0
"""How long ``model/cancel`` waits for the end before it answers."""


class Verbs:
    """Carries the verbs out."""

    def __init__(self, models: UpdateService, model: Model, clock: Clock) -> None:
        self._models, self._model, self._clock = models, model, clock

    def serve(self, requests: RequestServer) -> None:
        """Take the verbs."""
        requests.on(MODELS, self.models)
        requests.on(MODEL_INSTALL, self.install)
        requests.on(MODEL_CHUNK, self.chunk)
        requests.on(MODEL_CANCEL, self.cancel)
        requests.on(MODEL_ROLLBACK, self.roll_back)

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

    def chunk(self, chunk: Chunk) -> UploadProgress:
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
