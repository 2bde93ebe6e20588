"""Carries an accepted update out, up to its probation."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge.errors import (
    StoppedError,
    StoreError,
    UpdateBusyError,
    UpdateExpiredError,
    WheatearError,
)
from edge.system.local_lines import LOCAL
from edge.updates.elapsed import Ledger
from edge.updates.fetch import fetch, forget
from edge.updates.install import install
from edge.updates.jobs import Job, Jobs, by_request, conclude, expired_upload, public
from edge.updates.upload import Upload

if TYPE_CHECKING:
    from edge.config import Model
    from edge.system.clock import Clock
    from edge.system.counters import Counters
    from edge.updates.progress import ProgressTopic
    from edge.updates.store import Store

log = logging.getLogger(__name__)


class Updater:
    """Fetches, proves and installs what was accepted, and says how it ends."""

    def __init__(
        self,
        store: Store,
        model: Model,
        jobs: Jobs,
        upload: Upload,
        counters: Counters,
        clock: Clock,
        tell: ProgressTopic,
    ) -> None:
        self._store, self._model, self._jobs, self._upload = store, model, jobs, upload
        self._counters, self._clock, self._tell = counters, clock, tell

    def work(self, closing: Callable[[], bool]) -> None:
        """Carry an accepted update out; it is over then, or came to nothing. While another process
        is at it, it waits. Without one, drop an upload that nobody goes on with.

        Raises:
            StoppedError: `closing` came first; the next run goes on with it.
            StoreError: the disk refuses.
        """
        if self._jobs.read() is None:
            self._expire_upload()
            return
        with contextlib.suppress(UpdateBusyError), self._store.installing():
            job = self._jobs.read()
            if job is not None:
                self._carry_out(job, closing)

    def _carry_out(self, job: Job, closing: Callable[[], bool]) -> None:
        limit = self._model.update.download_seconds
        ledger = Ledger(lambda s: self._jobs.spend(job.update, s), job.spent, limit)

        def stop() -> bool:
            ledger.tick()
            return closing() or self._cancelled(job) or ledger.over

        try:
            if stop():
                raise StoppedError
            done = install(
                self._store,
                self._model,
                self._fetched(job, ledger, stop),
                sha256=job.sha256,
                allow_downgrade=job.allow_downgrade,
                update=job.update,
                announce=lambda phase, proof: self._tell.phase(phase, job.update, proof),
                stop=stop,
            )
            log.info("%s is proved and goes on probation", done.id)
        except StoppedError:
            if not self._cancelled(job) and not ledger.over:
                ledger.settle()
                raise
            self._come_to_nothing(job, by_request() if self._cancelled(job) else self._expired())
        except (WheatearError, OSError) as error:
            self._come_to_nothing(job, error)
        else:
            self._drop(job)

    def _cancelled(self, job: Job) -> bool:
        try:
            known = self._jobs.read()
        except StoreError:  # not known now; it is asked again in a moment
            return False
        return known is None or known.update != job.update or known.cancelled

    def _expired(self) -> UpdateExpiredError:
        return UpdateExpiredError(
            "it did not end within model.update.download_seconds = "
            f"{self._model.update.download_seconds:g}"
        )

    def _fetched(self, job: Job, ledger: Ledger, stop: Callable[[], bool]) -> Path:
        """Return the file of an update, fetched from the network where it is not here yet."""
        if job.source is None:
            return self._upload.complete(job.sha256 or "")
        self._tell.phase("fetching", job.update, None)
        return fetch(
            job.source,
            self._store.incoming,
            self._model.update,
            progress=self._tell.fetched,
            stop=stop,
            spent=ledger.seconds,
        )

    def _drop(self, job: Job) -> None:
        if job.source is None:
            self._upload.forget()
        else:
            forget(self._store.incoming)
        self._jobs.drop(job)

    def _come_to_nothing(self, job: Job, error: Exception) -> None:
        """Forget an update that came to nothing, and say why."""
        log.warning("a new model is not taken: %s", public(error, job))
        log.warning("why: %s", error, extra=LOCAL)
        self._counters.error(error)
        last = conclude(
            self._store, self._jobs, self._upload, job, error, self._clock.now(), self._tell.proof
        )
        if last is not None:
            self._tell.idle(last)

    def _expire_upload(self) -> None:
        """Drop an upload that nobody goes on with, and say so."""
        try:
            self._upload.expire()
        except UpdateExpiredError as error:
            log.warning("%s", error)
            last = expired_upload(error, self._clock.now())
            self._store.change(lambda record: msgspec.structs.replace(record, last=last))
