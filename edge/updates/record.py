"""Which model runs, which ran before, and whether the new one has held up: one small file."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from edge.errors import StoreError
from edge.messages.updates import Entry, Outcome, Probation
from edge.system.files import put_aside, sync_folder, write_whole
from edge.system.json_files import read_json
from edge.text.printable import encoded

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
    models: dict[str, Entry] = {}
    """What is in the store, by id."""
    last: Outcome | None = None

    def returned(self, outcome: Outcome) -> Record:
        """Give the record after going back to the previous model."""
        return msgspec.structs.replace(
            self, current=self.previous, previous=None, probation=None, last=outcome
        )


def read(path: Path) -> Record:
    """Read a record; one that was never written is empty. Raises StoreError."""
    try:
        record = read_json(path, Record)
    except FileNotFoundError:
        return Record()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    except msgspec.MsgspecError as error:
        raise StoreError(f"{path} is damaged ({error})") from error
    if record.schema != SCHEMA_VERSION:
        raise StoreError(f"{path} has schema {record.schema}; {SCHEMA_VERSION} is known here")
    known = {None, *record.models}
    if record.current not in known or record.previous not in known:
        raise StoreError(f"{path} is damaged (it names a model that it does not list)")
    return record


def write(path: Path, record: Record) -> None:
    """Put `record` in the place of the one before, on disk on return. Raises StoreError."""
    try:
        write_whole(path, encoded(record))
        sync_folder(path.parent)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error


def set_aside(path: Path) -> Path:
    """Move a damaged record out of the way, for people to look at; give where it is then, which is
    where it was if the disk refuses. Never raises.
    """
    aside = path.with_name(path.name + ".damaged")
    try:
        os.replace(path, aside)
    except OSError:  # such as a folder, where a file has that name already
        with contextlib.suppress(OSError):
            return put_aside(path)
        return path
    return aside
