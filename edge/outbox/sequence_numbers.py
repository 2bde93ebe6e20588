"""Which numbers may be given to sightings: never one twice, also where a card lost what it said
was written.

A small file beside the database says below which number all that were given lie. Cheap cards
acknowledge a flush and lose the last few writes all the same when the power goes, those of this
file too. So a number is given only when a version of the file that covers it is followed by more
writes than such a card loses. A good stop writes down the very next number instead, so that a start
after it leaves none out; any other start goes on behind all that may have been given.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import NamedTuple

from edge.errors import OutboxError, ShortageError
from edge.system.files import read_whole, sync_folder, write_whole

LOST_WRITES = 16
"""A card is taken to lose fewer of the last blocks written than this."""

_AHEAD = 512
"""So many numbers, or what forty commits take, the file is ahead by: it is written when half of
them are used, and the version before covers the other half."""
_COMMITS_AHEAD = 40
_LARGE = 64
"""Numbers in a commit from which on the file is rather written more often."""

_MOST_BYTES = 200
READ_SECONDS, READ_TRIES = 10.0, 20
"""How long a disk that fails to read is tried, and how often."""
_FAILS_TO_READ = {
    *(errno.EIO, errno.EREMOTEIO, errno.ENODATA, errno.EILSEQ, errno.EBADMSG, errno.EUCLEAN),
    *(errno.ETIMEDOUT, errno.ESTALE),
}
"""What the kernel says of a disk; other errors are about what lies there."""
_END = 2**53
"""No number that every reader of JSON takes for itself lies beyond."""
_LEAST_TIME = 1_790_000_000
"""September 2026: a clock that shows less is not set."""


class _Record(NamedTuple):
    """What stands in the file."""

    number: int
    clean: bool
    """It is the very next number: the program stopped in good order."""


class Numbers:
    """The file ``outbox.db.seq``; it is read before the database is opened. Raises OutboxError."""

    def __init__(self, path: Path) -> None:
        self._file = path.with_name(path.name + ".seq")
        self._log = path.with_name(path.name + "-wal")
        self._written = self._covered = 0
        """Numbers below the first are covered by the file, below the second for certain."""
        self._commits = 0
        """Since the file was written."""
        self._found = self._read()

    def begin(self, following: int) -> tuple[int, int]:
        """Return the number that comes next, where the database would give `following`, and how
        many are skipped because they may have been used.
        """
        record = self._found
        if record is None:
            return following, 0
        number = max(following, record.number)
        return number, 0 if record.clean else number - following

    def cover(self, following: int, count: int) -> None:
        """See that so many numbers may be given from this one on. Raises OSError."""
        if not count:
            return
        end = following + count
        if self._commits >= LOST_WRITES:
            self._covered = self._written
        ahead = max(_AHEAD, _COMMITS_AHEAD * min(count, _LARGE))
        if end > self._written - ahead // 2:
            self._write(end + ahead)
        if end > self._covered:
            self._write_over()

    def committed(self) -> None:
        """Count a commit that was synced: a write or more."""
        self._commits += 1

    def forget(self) -> None:
        """Take the file as gone: the next number is covered by a new one."""
        self._written = self._covered = self._commits = 0

    def end(self, following: int) -> None:
        """Write down the next number at a good stop. Raises OSError: the next start skips some."""
        if self._written:  # else none was given, and the file is as true as before
            self._write(following, clean=True)

    def _write(self, number: int, clean: bool = False) -> None:
        write_whole(self._file, _text(_Record(number, clean)))
        sync_folder(self._file.parent)
        self._written, self._commits = number, 0

    def _write_over(self) -> None:
        """Write the same once more, as often as it takes to have it on a card that lies."""
        text = _text(_Record(self._written, clean=False))
        opened = os.open(self._file, os.O_WRONLY)
        try:
            for _ in range(LOST_WRITES):
                os.pwrite(opened, text, 0)
                os.fdatasync(opened)
        finally:
            os.close(opened)
        self._covered = self._written

    def _read(self) -> _Record | None:
        try:
            words = self._patiently().decode("ascii").split()
            number = int(words[-1])
            if not 0 < number < _END:
                raise ValueError(f"{number} is not the number of a sighting")
        except FileNotFoundError:
            return None
        except ShortageError as error:
            raise OutboxError(f"{error}; try again") from error
        except (OSError, ValueError, IndexError):
            # Unreadable: seconds since 1970 are beyond any number given at one a second.
            return _Record(max(int(time.time()), _LEAST_TIME), clean=False)
        # The first version wrote nothing but a number; SQLite removes the log at a good stop.
        clean = words[0] == "next" or (len(words) == 1 and not self._log.exists())
        return _Record(number if len(words) > 1 or not clean else 0, clean)

    def _patiently(self) -> bytes:
        """Read the file, which a disk that fails to may give in a moment. Raises OSError."""
        for _ in range(READ_TRIES - 1):
            try:
                return read_whole(self._file, _MOST_BYTES)
            except OSError as error:
                if error.errno not in _FAILS_TO_READ:
                    raise
            time.sleep(READ_SECONDS / READ_TRIES)
        return read_whole(self._file, _MOST_BYTES)


def _text(record: _Record) -> bytes:
    """A record as a line of 64 bytes, whichever of the two it is."""
    return f"{'next' if record.clean else 'below'} {record.number}".ljust(63).encode() + b"\n"
