"""The models of a running device: takes new ones, watches over their probation, goes back.

One thread does all of it. It follows the record on disk, whoever changes it: a request, the
``wheatear model`` command in another process, or this thread itself.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from edge.counters import Episode
from edge.errors import (
    StoppedError,
    StoreError,
    UpdateBusyError,
    UpdateExpiredError,
    WheatearError,
)
from edge.journal import LOCAL
from edge.models.choice import Load, open_current, path_of
from edge.models.fetch import fetch, forget
from edge.models.install import check_free, install, outcome
from edge.models.jobs import Job, Jobs, by_request, conclude, expired_upload, public
from edge.models.ledger import Ledger
from edge.models.probation import Rhythm, done, failing
from edge.models.record import Outcome, Record
from edge.models.store import Store
from edge.models.upload import Upload

if TYPE_CHECKING:
    from types import TracebackType

    from edge.cameras import Frame
    from edge.classifier import Classification, Classifier
    from edge.clock import Clock
    from edge.config import Model
    from edge.counters import Counters
    from edge.life import Event
    from edge.models.progress import Teller
    from edge.models.switch import Switch

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.25
_STOP_SECONDS = 5.0
"""A disk that hangs is left behind; what is done can be cut off anywhere."""
_SOFTWARE = 70
"""EX_SOFTWARE of sysexits.h."""


class Models:
    """Opens the current model; then, as a context around the agent, keeps it up to date.

    `load` loads a bundle as the agent would; `end` ends a program whose model hangs in native code,
    which nothing else can end.
    """

    def __init__(
        self,
        store: Store,
        model: Model,
        load: Load,
        counters: Counters,
        clock: Clock,
        end: Callable[[], None] = lambda: os._exit(_SOFTWARE),
    ) -> None:
        self.store, self._model, self._load = store, model, load
        self._counters, self._clock, self._end = counters, clock, end
        self.upload = Upload(store.incoming, model.update.upload_seconds)
        self.jobs = Jobs(store)
        self._rhythm = Rhythm()
        self._running: str | None = None
        self._record = Record()
        self._seen: tuple[int, int, int] | None = None
        self._switch: Switch | None = None
        self._tell: Teller | None = None
        self._closing, self._news = threading.Event(), threading.Event()
        self._trouble = Episode("models", counters, log)
        self._thread = counters.crew.worker("models", self._run, self._closing.is_set)

    def open(self) -> Classifier:
        """Load what is to run. Raises WheatearError where nothing can be."""
        classifier, self._running = open_current(self.store, self._model, self._load, self._clock)
        return classifier

    def attach(self, switch: Switch, tell: Teller) -> None:
        """Say what judges frames and who is told of progress, before the thread starts."""
        self._switch, self._tell = switch, tell

    def watch(self, _frame: Frame, _found: Classification, _event: Event | None) -> None:
        """Count a classified frame; a watcher of the agent."""
        self._rhythm.frame(self._clock.monotonic())

    def accept(self, job: Job) -> None:
        """Begin an update; it goes on over restarts until it is over.

        Raises:
            UpdateBusyError: another is under way, or on probation.
            DownloadError: it names an upload that is not complete.
            StoreError: the disk refuses.
        """
        check_free(self.store)
        if job.source is None:
            with self.store.installing():
                self.upload.complete(job.sha256 or "")
                self.jobs.put(job)
        else:
            self.jobs.put(job)
        self._news.set()

    def wake(self) -> None:
        """Look at the record now."""
        self._news.set()

    def __enter__(self) -> Self:
        self._rhythm.begin(self._clock.monotonic())
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._closing.set()
        self._news.set()
        self._thread.join(_STOP_SECONDS)
        if kind is None:
            self._carry_over()

    def _carry_over(self) -> None:
        """Write down what a run in good order adds to a probation."""

        def change(record: Record) -> Record:
            trial = record.probation
            if trial is None or record.current != self._running:
                return record
            trial = msgspec.structs.replace(
                trial,
                starts=0,
                frames=trial.frames + self._rhythm.frames,
                seconds=trial.seconds + self._rhythm.seconds(self._clock.monotonic()),
            )
            return msgspec.structs.replace(record, probation=trial)

        with contextlib.suppress(StoreError):
            self.store.change(change)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._follow()
                self._judge()
                self._update()
                self._trouble.recovered()
            except StoppedError:
                return
            except WheatearError as error:
                self._trouble.failed(error)
            except Exception as error:  # a bug here must not end the watch over a probation
                log.exception("the models' thread failed; it goes on")
                self._trouble.failed(error)
            self._news.wait(_LOOK_SECONDS)
            self._news.clear()

    def _update(self) -> None:
        """Carry an accepted update out, up to its probation; it is over then, or came to nothing.

        While another process is at it, it waits.
        """
        if self.jobs.read() is None:
            self._expire_upload()
            return
        with contextlib.suppress(UpdateBusyError), self.store.installing():
            job = self.jobs.read()
            if job is not None:
                self._carry_out(job)

    def _carry_out(self, job: Job) -> None:
        limit = self._model.update.download_seconds
        ledger = Ledger(lambda s: self.jobs.spend(job.update, s), job.spent, limit)

        def stop() -> bool:
            ledger.tick()
            return self._closing.is_set() or self._cancelled(job) or ledger.over

        tell = self._told
        try:
            if stop():
                raise StoppedError
            done = install(
                self.store,
                self._model,
                self._fetched(job, ledger, stop),
                sha256=job.sha256,
                allow_downgrade=job.allow_downgrade,
                update=job.update,
                announce=lambda phase, proof: tell.phase(phase, job.update, proof),
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
        self._news.set()

    def _cancelled(self, job: Job) -> bool:
        known = self.jobs.read()
        return known is None or known.update != job.update or known.cancelled

    def _expired(self) -> UpdateExpiredError:
        return UpdateExpiredError(
            "it was not over within model.update.download_seconds = "
            f"{self._model.update.download_seconds:g}"
        )

    def _drop(self, job: Job) -> None:
        if job.source is None:
            self.upload.forget()
        else:
            forget(self.store.incoming)
        self.jobs.drop(job)

    def _come_to_nothing(self, job: Job, error: Exception) -> None:
        """Forget an update that came to nothing, and say why."""
        log.warning("a new model is not taken: %s", public(error, job))
        log.warning("why: %s", error, extra=LOCAL)
        self._counters.error(error)
        last = conclude(
            self.store, self.jobs, self.upload, job, error, self._clock.now(), self._told.proof
        )
        if last is not None:
            self._told.idle(last)

    def _expire_upload(self) -> None:
        """Drop an upload that nobody goes on with, and say so."""
        try:
            self.upload.expire()
        except UpdateExpiredError as error:
            log.warning("%s", error)
            last = expired_upload(error, self._clock.now())
            self.store.change(lambda record: msgspec.structs.replace(record, last=last))

    def _fetched(self, job: Job, ledger: Ledger, stop: Callable[[], bool]) -> Path:
        """Give the file of an update, from the network where it is not here yet."""
        if job.source is None:
            return self.upload.complete(job.sha256 or "")
        self._told.phase("fetching", job.update, None)
        return fetch(
            job.source,
            self.store.incoming,
            self._model.update,
            progress=self._told.fetched,
            stop=stop,
            spent=ledger.seconds,
        )

    @property
    def _told(self) -> Teller:
        assert self._tell is not None
        return self._tell

    def _follow(self) -> None:
        """Have the model judge that the record names, if it is another one."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        record = self._record = self.store.read()
        while record.current != self._running:
            record = self._started(record)
            try:
                classifier = self._load(path_of(self.store, self._model, record.current))
            except WheatearError as error:
                if record.current is None:
                    raise
                log.error("%s cannot be used: %s", record.current, error)
                record = self._return(record, str(error))
                continue
            self._exchange(classifier, record.current)
        self._seen, self._record = stamp, record
        if record.probation is None:
            self._told.idle(record.last)

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self.store.record_path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def _started(self, record: Record) -> Record:
        """Count a start on probation, and note how fast the model before was."""
        current, interval = record.current, self._rhythm.interval_seconds

        def change(record: Record) -> Record:
            trial = record.probation
            if trial is None or record.current != current:
                return record
            trial = msgspec.structs.replace(
                trial, starts=trial.starts + 1, interval_seconds=trial.interval_seconds or interval
            )
            return msgspec.structs.replace(record, probation=trial)

        return self.store.change(change)

    def _exchange(self, classifier: Classifier, id: str | None) -> None:
        """Have `classifier` take over with the next frame, and close the one before.

        Raises StoppedError where the device stops first.
        """
        assert self._switch is not None
        before = self._switch.classifier
        taken = self._switch.offer(classifier)
        while not taken.wait(0.2):
            if self._hangs():
                self._end()
            if self._closing.is_set() and self._switch.withdraw():
                classifier.close()
                raise StoppedError
        before.close()
        self._running = id
        self._rhythm.begin(self._clock.monotonic())

    def _hangs(self) -> bool:
        assert self._switch is not None
        return self._switch.busy_seconds > self._model.update.hang_seconds

    def _judge(self) -> None:
        """Confirm the current model where its probation is over, or return from it."""
        assert self._switch is not None
        record = self._record
        trial, settings, rhythm = record.probation, self._model.update, self._rhythm
        if trial is None or record.current != self._running:
            return
        hung = self._switch.busy_seconds
        reason = failing(trial, settings, rhythm, self._switch.failures, hung)
        if reason is not None:
            log.error("%s is returned from: %s", record.current, reason)
            self._return(record, reason)
            if hung > settings.hang_seconds:
                log.error("the program ends: its model hangs, and nothing else can end that")
                self._end()
            self._news.set()
            return
        share = done(trial, settings, rhythm, self._clock.monotonic())
        if share < 1.0:
            self._told.probation(record, share)
            return
        self._confirm(record)

    def _confirm(self, trial: Record) -> None:
        assert trial.current is not None
        entry = trial.models[trial.current]
        last = Outcome(
            name=entry.name,
            version=entry.version,
            result="confirmed",
            reason="",
            time=self._clock.now(),
            update=trial.update,
        )
        self.store.change(
            lambda record: (
                msgspec.structs.replace(record, probation=None, last=last)
                if record.current == trial.current
                else record
            )
        )
        log.info("%s is confirmed", trial.current)
        self._told.idle(last)

    def _return(self, failed: Record, reason: str) -> Record:
        """Write down that the model before is to run again, unless the record has moved on."""
        return self.store.change(
            lambda record: (
                record.returned(outcome(record, reason, self._clock.now()))
                if record.current == failed.current
                else record
            )
        )
