"""Looks into an outbox and leaves everything as it is: beside a running device, and without one."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from pathlib import Path
from urllib.parse import quote

from edge.errors import OutboxError
from edge.outbox_schema import wrap
from edge.state_lock import is_held

_WAITING = """SELECT waiting + (SELECT count(*) FROM message WHERE row >= next_row) FROM total"""
_WAITING_FIRST = "SELECT waiting FROM total"
"""Of a file of the first version."""
_BESIDE = "mode=ro&readonly_shm=1"
"""With the index of the log that its device left, which is read and not trusted."""


def look(path: Path) -> str:
    """Say how many messages wait in an outbox, and what of it could not be looked at.

    Nothing is written beside it. Raises OutboxError, StateError.
    """
    try:
        return f"{waiting(path)} waiting"
    except _NoRoomError as error:
        count = _count(path, "mode=ro&immutable=1")
        return f"{count} waiting, without what stands in its log, which was not looked at: {error}"


def waiting(path: Path) -> int:
    """Count the messages that wait in an outbox; 0 where there is none.

    Nothing is written, and no file appears beside it. Raises OutboxError, StateError.
    """
    if not path.exists():
        return 0
    if is_held(path.parent):
        return _count(path, "mode=ro", whole=False)  # a check would hold up its log
    if not _has_log(path):
        return _count(path, "mode=ro&immutable=1")
    try:
        if Path(f"{path}-shm").exists():
            return _count(path, _BESIDE)
        return _count_in_copy(path)
    except OutboxError:
        if is_held(path.parent):  # it was started meanwhile, and writes
            return _count(path, "mode=ro", whole=False)
        raise


class _NoRoomError(OutboxError):
    """A copy cannot be made."""


def _count_in_copy(path: Path) -> int:
    """Bring together file and log without an index, which SQLite does by writing beside them."""
    try:
        with tempfile.TemporaryDirectory(prefix="wheatear-") as folder:
            copy = Path(folder) / "outbox.db"
            for suffix in ("", "-wal"):
                shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
            return _count(copy, "mode=rw", path=path)
    except OutboxError:
        raise
    except OSError as error:
        why = error.strerror or error
        raise _NoRoomError(
            f"no copy can be made in the folder for temporary files: {why}"
        ) from error


def _has_log(path: Path) -> bool:
    try:
        return Path(f"{path}-wal").stat().st_size > 0
    except FileNotFoundError:
        return False
    except OSError as error:
        raise OutboxError(f"cannot look into {path}: {error.strerror or error}") from error


def _count(file: Path, options: str, whole: bool = True, path: Path | None = None) -> int:
    """Count what waits; before that see whether the file is sound, where it is to be `whole`."""
    try:
        db = sqlite3.connect(
            f"file:{quote(bytes(file.absolute()))}?{options}", uri=True, timeout=10
        )
        with contextlib.closing(db):
            if whole:
                found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
                if found != "ok":
                    raise sqlite3.DatabaseError(f"damaged: {found}")
            columns = [row[1] for row in db.execute("PRAGMA table_info(total)")]
            if not columns:  # its device is about to make it
                return 0
            query = _WAITING if "next_row" in columns else _WAITING_FIRST
            number = db.execute(query).fetchone()
            return int(number[0]) if number else 0
    except sqlite3.Error as error:
        raise wrap(error, path or file) from error
