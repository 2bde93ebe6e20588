"""A file that looks damaged is looked at again before anything new takes its place."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from open_files import open_files
from samples import drain, sighting

from edge.errors import OutboxDamagedError, OutboxError
from edge.outbox import file as outbox_file
from edge.outbox.outbox import Outbox
from edge.outbox.rows import Row, read_rows

COUNT = 5


class Disk:
    """One that gives a file's true bytes after so many waits; `waits` are their seconds."""

    def __init__(self, path: Path, true: bytes, after: int) -> None:
        self.path, self._true, self._after = path, true, after
        self.waits: list[float] = []

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.waits.append(seconds)
        if len(self.waits) == self._after:
            self.path.unlink()
            self.path.write_bytes(self._true)


@pytest.fixture
def disk(tmp_path, monkeypatch) -> Callable[..., Disk]:
    """Make disks: what they give looks damaged, or cannot be opened; and can be read, or not."""

    def make(after: int, readable: bool, damaged: bool = True) -> Disk:
        path = tmp_path / "o.db"
        with Outbox(path) as outbox:
            outbox.append_many([sighting() for _ in range(COUNT)])
        made = Disk(path, path.read_bytes(), after)
        path.unlink()
        if damaged:
            path.write_bytes(b"no database" * 1000)
        else:
            path.symlink_to(path)
        monkeypatch.setattr(outbox_file, "is_readable", lambda _: readable)
        monkeypatch.setattr(time, "sleep", made.wait)
        return made

    return make


def aside(folder: Path) -> int:
    """Count what was set aside for damaged."""
    return len(list(folder.glob("*.damaged-*")))


@pytest.mark.parametrize(
    ("after", "readable", "damaged", "waits"),
    [
        (1, True, True, [0.0]),
        (1, False, True, [0.5]),
        (19, False, True, [0.5] * 19),
        (19, False, False, [0.5] * 19),
    ],
)
def test_what_comes_right_in_time_is_opened_as_it_is(
    disk, tmp_path, after, readable, damaged, waits
):
    """A disk that cannot read it has ten seconds; what can be read is looked at once more."""
    found = disk(after, readable, damaged)
    with Outbox(found.path) as outbox:
        assert drain(outbox) == list(range(1, COUNT + 1))
    assert found.waits == waits
    assert aside(tmp_path) == 0


@pytest.mark.parametrize(("readable", "waits"), [(True, [0.0]), (False, [0.5] * 20)])
def test_what_stays_damaged_is_set_aside(disk, tmp_path, readable, waits):
    """The device goes on in a new file."""
    found = disk(1000, readable)
    with Outbox(found.path) as outbox:
        assert drain(outbox) == []
    assert found.waits == waits
    assert aside(tmp_path) == 1


@pytest.mark.parametrize(("readable", "waits"), [(True, []), (False, [0.5] * 19)])
def test_what_stays_closed_is_told(disk, tmp_path, readable, waits):
    """Nothing is known to be damaged: it stays where it is."""
    found = disk(1000, readable, damaged=False)
    with pytest.raises(OutboxError):
        Outbox(found.path)
    assert found.waits == waits
    assert aside(tmp_path) == 0


def read(outbox: Outbox, error: Exception) -> OutboxError:
    """Have reading end with an error; return what is made of it."""

    left = [error]

    def fails_once(rows: Iterable[tuple[Any, ...]], path: Path) -> list[Row]:
        found = read_rows(rows, path)
        if left:
            raise left.pop()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edge.outbox.outbox.read_rows", fails_once)
        with pytest.raises(OutboxError) as found:
            outbox.page()
    return found.value


def told(outbox: Outbox, code: int) -> OutboxError:
    """Have SQLite end with an error; return what is made of it."""
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = code
    return read(outbox, error)


def test_a_sound_file_that_was_called_malformed_is_gone_on_with(tmp_path, monkeypatch):
    """Once a minute; so soon again it is damaged, however sound it seems, and its content saved."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append_many([sighting() for _ in range(COUNT)])
        before = open_files()
        for code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CORRUPT | 1 << 8):
            said = told(outbox, code)
            assert not isinstance(said, OutboxDamagedError)
            assert "failed to read" in str(said)
            assert outbox.depth().waiting == COUNT
            assert open_files() <= before
            now += 60
        told(outbox, sqlite3.SQLITE_CORRUPT)
        assert aside(tmp_path) == 0
        now += 59.9
        assert isinstance(told(outbox, sqlite3.SQLITE_CORRUPT), OutboxDamagedError)
        assert aside(tmp_path) == 1
        assert outbox.salvaged == COUNT
        assert open_files() <= before
        assert drain(outbox) == list(range(1, COUNT + 1))


def test_what_is_no_database_is_replaced_at_once(tmp_path):
    """Nothing that comes and goes makes it so."""
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append_many([sighting() for _ in range(COUNT)])
        assert isinstance(told(outbox, sqlite3.SQLITE_NOTADB), OutboxDamagedError)
        assert aside(tmp_path) == 1
        assert drain(outbox) == list(range(1, COUNT + 1))


def test_a_file_that_is_damaged_indeed_is_replaced_at_the_first_error(tmp_path, connections):
    """It is told for what it is."""
    path = tmp_path / "o.db"
    with Outbox(path) as outbox:
        outbox.append_many([sighting() for _ in range(COUNT)])
        connections.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with path.open("r+b") as file:
            file.write(bytes(100))
        assert isinstance(told(outbox, sqlite3.SQLITE_CORRUPT), OutboxDamagedError)
        assert aside(tmp_path) == 1
        assert outbox.append(sighting()) > COUNT


@pytest.mark.parametrize(
    ("number", "cure"), [(errno.EFBIG, "LimitFSIZE="), (errno.EIO, "be writa")]
)
def test_a_limit_on_files_is_told_for_what_it_stops_only(tmp_path, number, cure):
    """Other errors beside the outbox are not its doing."""
    with Outbox(tmp_path / "o.db") as outbox:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            assert cure in str(read(outbox, OSError(number, os.strerror(number))))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
