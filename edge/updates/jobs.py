"""The update that was accepted: on disk until it is over, so that a start goes on with it."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from edge.errors import (
    RecordError,
    ShortageError,
    StoreError,
    UnreachableError,
    UpdateBusyError,
    UpdateCancelledError,
    UpdateError,
    UpdateExpiredError,
    os_errors_as,
)
from edge.messages.updates import Cancelled, Outcome, UpdateResult
from edge.system.files import sync_folder
from edge.system.record_file import RecordFile
from edge.text.url import shown
from edge.updates import fetch
from edge.updates.fetch import Source
from edge.updates.record import Record

if TYPE_CHECKING:
    from edge.updates.proof import Proof
    from edge.updates.store import Store
    from edge.updates.upload import Upload

log = logging.getLogger(__name__)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """An update that was accepted."""

    update: str
    source: Source | None
    """None: the upload named by ``sha256``."""
    sha256: str | None
    allow_downgrade: bool
    spent: float = 0.0
    """Seconds that it took until now, over all runs of the program."""
    cancelled: bool = False
    """Somebody asked for its end."""


class Jobs:
    """The one update there is. Asking for its end only renames its file: a full disk takes that."""

    def __init__(self, store: Store) -> None:
        self._store = store
        private = 0o600  # addresses hold secrets
        self._file = RecordFile(store.incoming / "job.json", Job, private)
        self._cancelled = RecordFile(store.incoming / "job.cancelled.json", Job, private)
        self._over: str | None = None

    def read(self) -> Job | None:
        """Return the update; None: there is none. Raises StoreError: that is not known just now."""
        for file in (self._file, self._cancelled):
            try:
                job = file.read()
            except ShortageError as error:
                raise StoreError(str(error)) from error
            except RecordError as error:
                log.error("%s; what it names is given up", error)
                with contextlib.suppress(RecordError):
                    file.remove()
                continue
            if job is not None and job.update != self._over:
                return msgspec.structs.replace(job, cancelled=file is self._cancelled)
        return None

    def put(self, job: Job) -> None:
        """Begin one. Raises UpdateBusyError, StoreError."""
        with self._store.locked():
            if self.read() is not None:
                raise UpdateBusyError("another update is under way; wait for its end, or cancel it")
            self._write(job)

    def spend(self, update: str, seconds: float) -> None:
        """Write down how long an update took until now. Raises StoreError."""
        with self._store.locked():
            job = self.read()
            if job is not None and job.update == update and not job.cancelled:
                self._write(msgspec.structs.replace(job, spent=seconds))

    def cancel(self) -> Job | None:
        """Ask for the end, on disk on return; None: there is none. Raises StoreError."""
        with self._store.locked():
            job = self.read()
            if job is None or job.cancelled:
                return job
            with os_errors_as(StoreError, f"cannot rename {self._file.path}"):
                os.replace(self._file.path, self._cancelled.path)
                sync_folder(self._file.path.parent)
            return msgspec.structs.replace(job, cancelled=True)

    def drop(self, job: Job) -> None:
        """Forget an update that is over, for this run even where the disk refuses."""
        with self._store.locked():
            self._over = job.update
            for file in (self._file, self._cancelled):
                with contextlib.suppress(RecordError):
                    file.remove()

    def _write(self, job: Job) -> None:
        try:
            self._file.replace(job)
        except RecordError as error:
            raise StoreError(str(error)) from error


def public(error: Exception, job: Job) -> str:
    """Why an update ended, in words fit for whoever asks from afar."""
    if isinstance(error, UnreachableError) and job.source is not None:
        return (
            f"{shown(job.source.url)} cannot be fetched; the device's own log says why, and no "
            "request can read that line"
        )
    return str(error)


def conclude(
    store: Store,
    jobs: Jobs,
    upload: Upload,
    job: Job,
    error: Exception,
    now: datetime,
    proof: Proof | None = None,
) -> Outcome | None:
    """Forget an update that came to nothing, and write down why; None: it is in already, as a kill
    came after its last step. Called within ``store.installing()``; a full disk does not hold it up.
    """
    ended = isinstance(error, UpdateCancelledError | UpdateExpiredError)
    if job.source is None:
        upload.forget()
    elif ended:
        fetch.forget(store.incoming)
    last = Outcome(
        name=proof.name if proof else "",
        version=proof.version if proof else "",
        result=_result(error),
        reason=public(error, job),
        time=now,
        update=job.update,
    )

    def change(record: Record) -> Record:
        if record.update == job.update:
            return record
        return msgspec.structs.replace(record, last=last)

    told: Outcome | None = last
    try:
        if store.change(change).update == job.update:
            told = None
    except StoreError as refused:
        log.error("how an update ended is not written down: %s", refused)
    jobs.drop(job)
    return told


def expired_upload(error: UpdateExpiredError, now: datetime) -> Outcome:
    """The outcome of an upload that was dropped."""
    return Outcome(name="", version="", result="expired", reason=str(error), time=now)


def _result(error: Exception) -> UpdateResult:
    if isinstance(error, UpdateCancelledError):
        return "cancelled"
    return "expired" if isinstance(error, UpdateExpiredError) else "refused"


def cancel(
    store: Store,
    jobs: Jobs,
    upload: Upload,
    now: datetime,
    wait_seconds: float,
    sleep: Callable[[float], object] = time.sleep,
) -> Cancelled:
    """End what is under way: an update by request, else an upload. Waits up to `wait_seconds` for
    whatever carries the update out to leave it.

    Raises:
        UpdateError: nothing is under way, or the update is past its last step.
        StoreError: the disk refuses.
    """
    job = jobs.cancel()
    if job is None:
        return _drop_upload(store, upload)
    for _ in range(max(1, round(wait_seconds / 0.1))):
        with contextlib.suppress(UpdateBusyError), store.installing():
            if (left := jobs.read()) is not None and left.update == job.update:
                conclude(store, jobs, upload, left, by_request(), now)
            if store.read().update == job.update:
                raise UpdateError(
                    "the update is past its last step; a rollback goes back to the previous model"
                )
            return Cancelled(update=job.update, upload=None, ended=True)
        sleep(0.1)
    return Cancelled(update=job.update, upload=None, ended=False)


def by_request() -> UpdateCancelledError:
    """The error that ends an update that somebody cancelled."""
    return UpdateCancelledError("cancelled by request; the previous model goes on")


def _drop_upload(store: Store, upload: Upload) -> Cancelled:
    with store.installing():
        sha256 = upload.forget()
    if sha256 is None:
        trial = store.read()
        raise UpdateError(
            f"no update is under way; {trial.current} is on probation, and a rollback takes it back"
            if trial.probation
            else "no update is under way, and no upload is here"
        )
    return Cancelled(update=None, upload=sha256, ended=True)
