"""Files that appear whole, or not at all, also when the power goes; and names that hold none."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
from pathlib import Path

from edge.errors import ShortageError
from edge.system.resource_limits import SHORTAGES

log = logging.getLogger(__name__)

MOST_BYTES = 16_000_000
"""More than any small file of the device's own ever holds."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""The disk is full, or what this user may fill of it."""


def read_whole(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """Read a file, whatever lies under its name: a pipe would be waited for, and what is larger
    than it can be takes all memory.

    Raises:
        ShortageError: it cannot be opened just now, which says nothing about the file.
        OSError: it is not there, cannot be read, is no file, or is larger than it can be.
    """
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in SHORTAGES:
            raise ShortageError(f"cannot open {path} just now: {error.strerror}") from error
        raise
    try:
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a file", os.fspath(path))
        if found.st_size > most_bytes:
            raise OSError(errno.EFBIG, f"it holds more than {most_bytes:,} bytes", os.fspath(path))
        with open(opened, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(opened)


def write_whole(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write a file so that its name always shows all of `data`, or what was there before.

    The data is on disk on return; its name is after :func:`sync_folder`. `mode` is what the file
    may be used for at most, from its first byte on. What is no file does not keep one from being
    written: it is put aside. Raises OSError.
    """
    temporary = path.with_name(path.name + ".new")
    opened = _create(temporary, mode)
    try:
        with open(opened, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(opened)
        try:
            os.replace(temporary, path)
        except IsADirectoryError:
            put_aside(path)
            os.replace(temporary, path)
    except BaseException:  # what a full disk took of it is room that others lack
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _create(path: Path, mode: int) -> int:
    """Open a new file in the place of whatever a cut left there, made by whomever."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        return os.open(path, flags, mode)
    except FileExistsError:
        path.unlink(missing_ok=True)
        return os.open(path, flags, mode)


def put_aside(path: Path) -> Path:
    """Rename what lies where a file of the device belongs, and say so; give its new name.

    Raises OSError.
    """
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.aside-{number}")):
        number += 1
    os.rename(path, aside)
    log.error("%s is not one of the device's files; it is kept as %s", path, aside)
    return aside


def sync_folder(folder: Path) -> None:
    """Make new and changed names in a folder survive a power cut. Raises OSError."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def stamp(path: Path) -> tuple[int, int, int] | None:
    """What tells one content of a file from another; None: it is not there, or cannot be seen."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def is_readable(path: Path) -> bool:
    """Whether the disk can read all of a database and of its log, as far as they exist.

    Not of an open one: SQLite's locks would go.
    """
    for one in (path, path.with_name(f"{path.name}-wal")):
        try:
            with one.open("rb", buffering=0) as file:
                while file.read(1 << 20):
                    pass
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True
