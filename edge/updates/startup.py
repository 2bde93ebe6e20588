"""Which model a start takes: one that was never confirmed has only so many starts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from edge.errors import StoreError, WheatearError
from edge.updates.record import Record, read
from edge.updates.store import RECORD, bundle_path

if TYPE_CHECKING:
    from pathlib import Path

    from edge.config import Model
    from edge.model.classifier import Classifier
    from edge.system.clock import Clock
    from edge.updates.store import Store

log = logging.getLogger(__name__)

Load = Callable[["Path"], "Classifier"]
"""Loads a bundle, as the device uses it. Raises WheatearError."""


def begin(store: Store, starts: int, clock: Clock) -> Record:
    """Count a start of a model on probation, on disk before anything of it is loaded; return from
    it where it had its `starts`. Gives what is to run.

    Where the disk refuses to count, a model on probation is not run.
    """

    def change(record: Record) -> Record:
        trial = record.probation
        if trial is None:
            return record
        if trial.starts >= starts:
            reason = f"it was started {starts} times and never confirmed"
            return record.returned(reason, clock.now())
        return msgspec.structs.replace(
            record, probation=msgspec.structs.replace(trial, starts=trial.starts + 1)
        )

    try:
        return store.change(change)
    except StoreError as error:
        log.error("%s; no model on probation is started", error)
    try:
        record = store.read()
    except StoreError:
        return Record()
    if record.probation is None:
        return record
    return msgspec.structs.replace(record, current=record.previous, previous=None, probation=None)


def open_current(
    store: Store, model: Model, load: Load, clock: Clock
) -> tuple[Classifier, str | None]:
    """Load the current model; where that fails the one before, and the factory's at last.

    Gives it and its id. The record follows where another than the current one was loaded.

    Raises:
        WheatearError: none can be loaded; that of the current one.
    """
    record = begin(store, model.update.starts, clock)
    first: WheatearError | None = None
    for id in dict.fromkeys((record.current, record.previous, None)):
        try:
            classifier = load(path_of(store, model, id))
        except WheatearError as error:
            log.error("%s cannot be used: %s", id or "the factory model", error)
            first = first or error
            continue
        if first is not None:
            _fell(store, record, id, first, clock)
        return classifier, id
    assert first is not None
    raise first


def current_path(model: Model) -> Path:
    """The bundle that a start would load first, without counting as one. Raises StoreError."""
    assert model.bundle is not None  # held by the configuration
    if model.store is None:
        return model.bundle
    current = read(model.store / RECORD).current
    return model.bundle if current is None else bundle_path(model.store, current)


def path_of(store: Store, model: Model, id: str | None) -> Path:
    """The bundle of a model; None is the factory's."""
    assert model.bundle is not None
    return model.bundle if id is None else store.path(id)


def _fell(store: Store, before: Record, id: str | None, error: WheatearError, clock: Clock) -> None:
    """Write down that another model than the current one runs."""

    def change(record: Record) -> Record:
        if record.current != before.current or record.current is None:
            return record
        fallen = record.returned(str(error), clock.now())
        return msgspec.structs.replace(fallen, current=id, previous=None)

    try:
        store.change(change)
    except StoreError as refused:
        log.error("%s", refused)
