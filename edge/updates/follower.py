"""Has the model judge that the record names, and watches over its probation."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from edge.errors import StoppedError, StoreError, WheatearError
from edge.messages.updates import Probation
from edge.system.files import stamp
from edge.updates.probation import Rhythm, done, failing
from edge.updates.record import Record
from edge.updates.startup import Load, path_of

if TYPE_CHECKING:
    from edge.config import Model
    from edge.model.classifier import Classifier
    from edge.system.clock import Clock
    from edge.updates.progress import ProgressTopic
    from edge.updates.store import Store
    from edge.updates.switch import ModelSwitch

log = logging.getLogger(__name__)


class Follower:
    """Follows the record, whoever changes it; `running` is the id of what judges at the beginning.

    `load` loads a bundle, `end` ends a program whose model hangs in native code. All but
    `rhythm` belongs to one thread.
    """

    def __init__(
        self,
        store: Store,
        model: Model,
        load: Load,
        clock: Clock,
        switch: ModelSwitch,
        tell: ProgressTopic,
        running: str | None,
        end: Callable[[], None],
    ) -> None:
        self._store, self._model, self._load, self._clock = store, model, load, clock
        self._switch, self._tell, self._running, self._end = switch, tell, running, end
        self._record = Record()
        self._seen: tuple[int, int, int] | None = None
        self.rhythm = Rhythm()
        """Of the frames that the model classifies."""

    def follow(self, closing: Callable[[], bool]) -> None:
        """Have the model judge that the record names, if it is another one.

        Raises:
            StoppedError: `closing` came first.
            WheatearError: the record cannot be read or written, or no model can be loaded.
        """
        seen = stamp(self._store.record_path)
        if seen == self._seen:
            return
        record = self._record = self._store.read()
        while record.current != self._running:
            record = self._started(record)
            try:
                classifier = self._load(path_of(self._store, self._model, record.current))
            except WheatearError as error:
                if record.current is None:
                    raise
                log.error("%s cannot be used: %s", record.current, error)
                record = self._return(record, str(error))
                continue
            self._exchange(classifier, record.current, closing)
        self._seen, self._record = seen, record
        if record.probation is None:
            self._tell.idle(record.last)

    def judge(self) -> None:
        """Confirm the current model where its probation is over, or return from it.

        Raises StoreError.
        """
        record, settings, rhythm = self._record, self._model.update, self.rhythm
        trial = record.probation
        if trial is None or record.current != self._running:
            return
        hung = self._switch.busy_seconds
        reason = failing(trial, settings, rhythm, self._switch.failures, hung)
        if reason is not None:
            log.error("%s is taken back: %s", record.current, reason)
            self._return(record, reason)
            if hung > settings.hang_seconds:
                log.error("the program ends, because its model hangs and nothing else can stop it")
                self._end()
            return
        share = done(trial, settings, rhythm, self._clock.monotonic())
        if share < 1.0:
            self._tell.probation(record, share)
            return
        self._confirm(record)

    def carry_over(self) -> None:
        """Write down what a run in good order adds to a probation."""

        def more(trial: Probation) -> Probation:
            return msgspec.structs.replace(
                trial,
                starts=0,
                frames=trial.frames + self.rhythm.frames,
                seconds=trial.seconds + self.rhythm.seconds(self._clock.monotonic()),
            )

        with contextlib.suppress(StoreError):
            self._on_trial(self._running, more)

    def _started(self, record: Record) -> Record:
        """Count a start on probation, and note how fast the model before was."""
        interval = self.rhythm.interval_seconds

        def more(trial: Probation) -> Probation:
            known = trial.interval_seconds
            return msgspec.structs.replace(
                trial, starts=trial.starts + 1, interval_seconds=known or interval
            )

        return self._on_trial(record.current, more)

    def _on_trial(self, id: str | None, more: Callable[[Probation], Probation]) -> Record:
        """Change the probation of a model, unless the record has moved on. Raises StoreError."""

        def change(record: Record) -> Record:
            if record.probation is None or record.current != id:
                return record
            return msgspec.structs.replace(record, probation=more(record.probation))

        return self._store.change(change)

    def _exchange(
        self, classifier: Classifier, id: str | None, closing: Callable[[], bool]
    ) -> None:
        """Have `classifier` take over with the next frame, and close the one before.

        Raises StoppedError where the device stops first.
        """
        before = self._switch.classifier
        taken = self._switch.offer(classifier)
        while not taken.wait(0.2):
            if self._switch.busy_seconds > self._model.update.hang_seconds:
                self._end()
            if closing() and self._switch.withdraw():
                classifier.close()
                raise StoppedError
        before.close()
        self._running = id
        self.rhythm.begin(self._clock.monotonic())

    def _confirm(self, trial: Record) -> None:
        last = trial.outcome("confirmed", "", self._clock.now())
        self._store.change(
            lambda record: (
                msgspec.structs.replace(record, probation=None, last=last)
                if record.current == trial.current
                else record
            )
        )
        log.info("%s is confirmed", trial.current)
        self._tell.idle(last)

    def _return(self, failed: Record, reason: str) -> Record:
        """Write down that the model before is to run again, unless the record has moved on."""
        return self._store.change(
            lambda record: (
                record.returned(reason, self._clock.now())
                if record.current == failed.current
                else record
            )
        )
