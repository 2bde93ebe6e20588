"""Where the outbox's open file is: under its name, under another one, or under none any more.

Linux lets an open file be deleted: all goes on, and is gone when the program ends.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from edge.outbox.file_swap import discard, finish_exchange, replacement, set_aside


class FileLocation:
    """Remembers which files were opened under a name: a database and its log."""

    def __init__(self, path: Path) -> None:
        self._path, self._log = path, Path(f"{path}-wal")
        # Not opened as SQLite opens them: closing another descriptor of a file would let go its
        # locks.
        self._file: int | None = os.open(path, os.O_PATH)
        self._log_file: int | None = None
        try:
            with contextlib.suppress(FileNotFoundError):
                self._log_file = os.open(self._log, os.O_PATH)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Forget them; doing so twice is fine."""
        for opened in (self._file, self._log_file):
            if opened is not None:
                os.close(opened)
        self._file = self._log_file = None

    @property
    def deleted(self) -> bool:
        """The database has no name any more."""
        return _deleted(self._path, self._file)

    @property
    def log_deleted(self) -> bool:
        """Its log has no name any more."""
        return _deleted(self._log, self._log_file)

    @property
    def moved(self) -> bool:
        """The name leads to nothing or to something else, and the database lies elsewhere: renamed,
        or on a file system that is not mounted here any more.
        """
        return self._file is not None and not _there(self._path, self._file) and not self.deleted


def _deleted(path: Path, opened: int | None) -> bool:
    # Some file systems count no names at all, so it is looked at too.
    return opened is not None and os.fstat(opened).st_nlink == 0 and not _there(path, opened)


def _there(path: Path, opened: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(opened))
    except OSError:
        return False


def write_again(path: Path, db: sqlite3.Connection) -> None:
    """Put a copy of an open database whose file was deleted under the name that it had; what lies
    there now is set aside.

    Raises OutboxError, OSError, sqlite3.Error: nothing is changed, and it may be tried again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = replacement(path)
    discard(fresh)
    with contextlib.closing(sqlite3.connect(fresh)) as copy:
        db.backup(copy)
    if path.exists():
        set_aside(path)
    finish_exchange(path)
