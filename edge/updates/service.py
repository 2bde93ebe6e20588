"""The models of a running device: takes new ones, watches over their probation, goes back.

One thread does all of it. It follows the record on disk, whoever changes it: a request, the
``wheatear model`` command in another process, or this thread itself.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from edge.errors import StoppedError, WheatearError
from edge.system.counters import Episode
from edge.updates.follower import Follower
from edge.updates.install import check_free
from edge.updates.jobs import Job, Jobs
from edge.updates.startup import Load, open_current
from edge.updates.store import Store
from edge.updates.updater import Updater
from edge.updates.upload import Upload

if TYPE_CHECKING:
    from types import TracebackType

    from edge.cameras import Frame
    from edge.config import Model
    from edge.model.classifier import Classification, Classifier
    from edge.sightings.visits import Event
    from edge.system.clock import Clock
    from edge.system.counters import Counters
    from edge.updates.progress import ProgressTopic
    from edge.updates.switch import ModelSwitch

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.25
_STOP_SECONDS = 5.0
"""A disk that hangs is left behind; what is done can be cut off anywhere."""
_SOFTWARE = 70
"""EX_SOFTWARE of sysexits.h."""


def end_program() -> None:
    """End this process at once, with the status of a fault in a program."""
    os._exit(_SOFTWARE)


class UpdateService:
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
        end: Callable[[], None] = end_program,
    ) -> None:
        self.store, self._model, self._load = store, model, load
        self._counters, self._clock, self._end = counters, clock, end
        self.upload = Upload(store.incoming, model.update.upload_seconds)
        self.jobs = Jobs(store)
        self._running: str | None = None
        self.follower: Follower | None = None
        """Has the model judge that the record names; None until :meth:`attach`."""
        self.updater: Updater | None = None
        """Carries accepted updates out; None until :meth:`attach`."""
        self.news = threading.Event()
        """Set: the thread looks now, and not only in a moment."""
        self._closing = threading.Event()
        self._trouble = Episode("models", counters, log)
        self._thread = counters.crew.worker("models", self._run, self._closing.is_set)

    def open(self) -> Classifier:
        """Load what is to run. Raises WheatearError where nothing can be."""
        classifier, self._running = open_current(self.store, self._model, self._load, self._clock)
        return classifier

    def attach(self, switch: ModelSwitch, tell: ProgressTopic) -> None:
        """Set what judges frames and who hears of progress, before the thread starts."""
        store, model, clock = self.store, self._model, self._clock
        self.follower = Follower(
            store, model, self._load, clock, switch, tell, self._running, self._end
        )
        self.updater = Updater(store, model, self.jobs, self.upload, self._counters, clock, tell)

    def watch(self, _frame: Frame, _found: Classification, _event: Event | None) -> None:
        """Count a classified frame; a watcher of the agent."""
        assert self.follower is not None
        self.follower.rhythm.frame(self._clock.monotonic())

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
        self.news.set()

    def wake(self) -> None:
        """Look at the record now."""
        self.news.set()

    def __enter__(self) -> Self:
        assert self.follower is not None
        self.follower.rhythm.begin(self._clock.monotonic())
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        assert self.follower is not None
        self._closing.set()
        self.news.set()
        self._thread.join(_STOP_SECONDS)
        if kind is None:
            self.follower.carry_over()

    def _run(self) -> None:
        follower, updater, closing = self.follower, self.updater, self._closing.is_set
        assert follower is not None
        assert updater is not None
        while not closing():
            try:
                follower.follow(closing)
                follower.judge()
                updater.work(closing)
                self._trouble.recovered()
            except StoppedError:
                pass  # or it was an update alone that stopped: it goes on
            except WheatearError as error:
                self._trouble.failed(error)
            except Exception as error:  # a bug here must not end the watch over a probation
                log.exception("the models' thread failed; it goes on")
                self._trouble.failed(error)
            self.news.wait(_LOOK_SECONDS)
            self.news.clear()
