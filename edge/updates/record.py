"""Which model runs, which ran before, and whether the new one has held up: one small file."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec

from edge.errors import RecordError, ShortageError, StoreError
from edge.messages.updates import ModelEntry, Outcome, Probation, UpdateResult
from edge.system.record_file import RecordFile

SCHEMA_VERSION = 1


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file. ``None`` as a model is the factory's: the configured bundle."""

    schema: int = SCHEMA_VERSION
    current: str | None = None
    previous: str | None = None
    probation: Probation | None = None
    """None: the current model is confirmed."""
    update: str | None = None
    """Id of the update that brought the current model."""
    models: dict[str, ModelEntry] = {}
    """What is in the store, by id."""
    last: Outcome | None = None

    def outcome(self, result: UpdateResult, reason: str, now: datetime) -> Outcome:
        """What became of the update that brought the current model."""
        assert self.current is not None
        entry = self.models[self.current]
        return Outcome(
            name=entry.name,
            version=entry.version,
            result=result,
            reason=reason,
            time=now,
            update=self.update,
        )

    def returned(self, reason: str, now: datetime) -> Record:
        """The record after going back to the previous model."""
        last = self.outcome("returned", reason, now)
        return msgspec.structs.replace(
            self, current=self.previous, previous=None, probation=None, last=last
        )


def read(path: Path) -> Record:
    """Read a record; one that was never written is empty. Raises StoreError."""
    try:
        record = RecordFile(path, Record).read() or Record()
    except (RecordError, ShortageError) as error:
        raise StoreError(str(error)) from error
    if record.schema != SCHEMA_VERSION:
        raise StoreError(f"{path} has schema {record.schema}; {SCHEMA_VERSION} is known here")
    known = {None, *record.models}
    if record.current not in known or record.previous not in known:
        raise StoreError(f"{path} is damaged (it names a model that it does not list)")
    return record


def write(path: Path, record: Record) -> None:
    """Put `record` in the place of the one before, on disk on return. Raises StoreError."""
    try:
        RecordFile(path, Record).replace(record)
    except RecordError as error:
        raise StoreError(str(error)) from error


def set_aside(path: Path) -> Path:
    """Move a damaged record out of the way, for people to look at; give where it is then, which is
    where it was if the disk refuses. Never raises.
    """
    return RecordFile(path, Record).set_aside(".damaged")
