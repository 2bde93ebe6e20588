"""Configuration changed from afar: kept beside the outbox, tried out, taken back by itself.

The configuration file belongs to whoever set the device up and is never written. What a request
changes lies in one file of its own, which holds what is in force, what was before, and whether it
is still on trial. It is only ever replaced whole, so that a power cut at any moment leaves one
complete state or the other (:class:`edge.system.record_file.RecordFile`).
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from edge.config import Config, load_config, parse_config, redacted
from edge.device.changeable_settings import check_afar
from edge.errors import (
    ConfigError,
    RecordError,
    RequestDeniedError,
    ShortageError,
    StaleRevisionError,
)
from edge.system.record_file import RecordFile
from edge.text.encodings import read_text, text_of

log = logging.getLogger(__name__)

NAME = "config-changes.json"
MOST_STARTS = 3
"""So often a configuration on trial may start without proving itself."""


class Changes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is in force in place of the file, or on top of it."""

    toml: str | None = None
    """The text of a whole configuration; None: the file's."""
    settings: dict[str, Any] = {}
    """Settings by path, such as ``decision.agreeing_frames``, in the order of their setting."""

    def __bool__(self) -> bool:
        return self.toml is not None or bool(self.settings)


class ChangeRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of the file on disk."""

    schema: Literal[1] = 1
    """Another one is another program's: read as damaged."""
    current: Changes = Changes()
    previous: Changes = Changes()
    """To go back to."""
    starts: int | None = None
    """So often it was started with while on trial; None: it has proved itself."""
    taken_back: str | None = None
    """Why the last change was taken back."""
    taken_back_at: datetime | None = None


class ChangedConfiguration:
    """The configuration of a device: the file, and what requests have changed.

    Not safe for several threads, but for reading :attr:`record`.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.record = ChangeRecord()
        self._kept: RecordFile[ChangeRecord] | None = None
        self.config: Config | None = None
        """What is in force."""

    @property
    def trying(self) -> bool:
        """What is in force has not proved itself yet."""
        return self.record.starts is not None

    def load(self) -> Config:
        """Return the configuration to start with; each call counts as a start of one on trial.

        Raises:
            ConfigError: the file itself is missing or wrong. What was changed from afar never keeps
                a device from starting: where it does not fit the file any more, it is set aside.
                What cannot be opened just now is another matter: it stays, and so does the error.
        """
        base = load_config(self._file)
        self._kept = _kept(base)
        self._read()
        if self.record.starts is not None:
            self._count_start(self.record.starts)
        try:
            self.config = self._apply(self.record.current, base)
        except (ConfigError, RequestDeniedError) as error:
            self._set_aside(str(error))
            self.config = base
        if self.record.current:
            log.info("changed from afar: %s", self.changed())
        return self.config

    def peek(self) -> Config:
        """Return what would be in force, without writing anything.

        Raises:
            ConfigError: the file is wrong, or what was changed from afar does not fit it.
            RequestDeniedError: a change touches what the file alone may say.
        """
        base = load_config(self._file)
        try:
            self.record = _kept(base).read() or ChangeRecord()
        except ShortageError as error:
            raise ConfigError(f"{error}; try again") from error
        except RecordError as error:
            raise ConfigError(
                f"{error}; the next start sets it aside and goes on with {self._file} alone"
            ) from error
        return self._apply(self.record.current, base)

    def revision(self) -> str:
        """16 hexadecimal digits that distinguish this configuration from others."""
        assert self.config is not None
        plain = msgspec.to_builtins(self.config, enc_hook=str)
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]

    def changed(self) -> str:
        """Name what was changed from afar."""
        current = self.record.current
        whole = ["a whole configuration"] if current.toml is not None else []
        return ", ".join([*whole, *current.settings])

    def plain(self) -> dict[str, Any]:
        """The configuration in force, without secrets; where ``requests.details`` is not set,
        without place, user name and folders either.
        """
        assert self.config is not None
        return redacted(self.config, details=self.config.requests.details)

    def change(self, revision: str, settings: dict[str, Any] | None, toml: str | None) -> bool:
        """Check a change whole, and write it down as on trial; False where it changes nothing.

        `settings` are put on top of what is in force (None takes one back); `toml` takes the place
        of everything, the empty text going back to the file. The program has to start again.

        Raises:
            StaleRevisionError: what is in force is not what the asker saw, or is on trial.
            ConfigError: it is no valid configuration, or cannot be written.
            RequestDeniedError: it touches what only a person at the device may change.
        """
        if self.trying:
            raise StaleRevisionError(
                "a change is on trial; ask again when config/get says that it is confirmed"
            )
        if revision != self.revision():
            raise StaleRevisionError(
                f"revision {revision!r} is not in force, {self.revision()!r} is; read config/get, "
                "and decide again"
            )
        if settings is not None:
            changes = _put(self.record.current, settings)
        else:
            changes = Changes(toml or None)
        config = self._apply(changes, load_config(self._file))
        if config == self.config and changes == self.record.current:
            return False
        self._write(ChangeRecord(current=changes, previous=self.record.current, starts=0))
        return True

    def confirm(self) -> None:
        """Keep what is on trial. Raises ConfigError where that cannot be written down."""
        self._write(msgspec.structs.replace(self.record, starts=None, taken_back=None))
        log.info("the changed configuration works and is kept")

    def take_back(self, why: str, at: datetime | None = None) -> None:
        """Go back to what was before; the program has to start again.

        Should the disk refuse, this run of the program goes back all the same.
        """
        record = ChangeRecord(
            current=self.record.previous,
            previous=self.record.previous,
            taken_back=why,
            taken_back_at=at,
        )
        log.warning("the changed configuration is taken back: %s", why)
        try:
            self._write(record)
        except ConfigError as error:
            log.error("%s", error)
            self.record = record

    def _count_start(self, starts: int) -> None:
        if starts >= MOST_STARTS:
            self.take_back(f"the device started with it {starts} times, and it never proved itself")
            return
        try:
            self._write(msgspec.structs.replace(self.record, starts=starts + 1))
        except ConfigError as error:
            self.take_back(f"its starts cannot be counted: {error}")

    def _read(self) -> None:
        assert self._kept is not None
        self.record = ChangeRecord()
        try:
            self.record = self._kept.read() or ChangeRecord()
        except ShortageError as error:
            raise ConfigError(f"{error}; try again") from error
        except RecordError as error:
            self._set_aside(error.why)

    def _set_aside(self, why: str) -> None:
        """Keep what cannot be used under another name, and go on with the file alone."""
        assert self._kept is not None
        aside = self._kept.set_aside(".refused")
        log.error("%s is set aside as %s: %s", self._kept.path, aside.name, why)
        self.record = ChangeRecord(taken_back=f"set aside as {aside.name}: {why}")

    def _write(self, record: ChangeRecord) -> None:
        assert self._kept is not None
        try:
            self._kept.replace(record)
        except RecordError as error:
            raise ConfigError(
                f"{error}; free disk space, or give this user the right to write"
            ) from error
        self.record = record

    def _apply(self, changes: Changes, base: Config) -> Config:
        """Put changes on the file, which says `base`. Raises ConfigError, RequestDeniedError."""
        if not changes:
            return base
        folder = self._file.resolve().parent
        try:
            text = read_text(self._file) if changes.toml is None else text_of(changes.toml.encode())
            raw = tomllib.loads(text)
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"not TOML: {error}") from error
        for path, value in changes.settings.items():
            _set(raw, path, value)
        config = parse_config(raw, folder, "the changed configuration")
        check_afar(base, config)
        return config


def _kept(config: Config) -> RecordFile[ChangeRecord]:
    return RecordFile(config.outbox.path.with_name(NAME), ChangeRecord)


def _put(current: Changes, settings: dict[str, Any]) -> Changes:
    """Put settings on top of earlier ones; None takes an earlier one back."""
    merged = dict(current.settings)
    for path, value in settings.items():
        kept = {
            name: v
            for name, v in merged.items()
            if name != path and not name.startswith(f"{path}.")
        }
        if value is not None:
            kept[path] = value
        elif len(kept) == len(merged):
            raise ConfigError(
                f"{path} was not changed from afar, so there is nothing to take back; changed are: "
                f"{', '.join(merged) or 'none'}"
            )
        merged = kept
    return Changes(current.toml, merged)


def _set(raw: dict[str, Any], path: str, value: object) -> None:
    *tables, last = path.split(".")
    for i, name in enumerate(tables):
        raw = raw.setdefault(name, {})
        if not isinstance(raw, dict):
            raise ConfigError(f"{path}: {'.'.join(tables[: i + 1])} is not a table")
    raw[last] = copy.deepcopy(value)
