"""One program writes to a folder of the device's state: the kernel sees to it.

The lock is one of ``flock(2)`` on the folder itself, so no file that somebody removes lets a second
one in. It goes with the process that holds it, however that ends, and is not passed on: a program
that replaces itself takes it anew. A small file in the folder says who held it last, and stays.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Self

from edge.errors import StateBusyError, StateError, os_errors_as
from edge.system.files import NO_ROOM, read_whole
from edge.text.printable import printable

if TYPE_CHECKING:
    from edge.config import Config

NAME = "wheatear.lock"
"""Of the file that says who holds a folder."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_FOLDER = os.O_DIRECTORY
"""To be read only; Python passes on no file that it opens."""
_PATIENCE_SECONDS = 1.0
"""Whoever only looks whether it is held, holds it for a moment."""
_MOST_BYTES = 300


def state_folders(config: Config) -> list[Path]:
    """The folders that a running device writes its state to, each once."""
    folders = [config.outbox.path.parent]
    if config.inbox.keep:
        folders.append(config.inbox.folder or config.outbox.path.parent / "inbox")
    if config.model.store is not None:
        folders.append(config.model.store)
    return list(dict.fromkeys(folders))


class StateLock:
    """Holds folders of state until it is closed, or the process ends."""

    def __init__(self) -> None:
        self._held: dict[tuple[int, int], int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def hold(self, folders: Iterable[Path]) -> None:
        """Hold these folders, made where they are missing, and no others any more; none at all
        where one is refused. A folder is known by what it is, not by its name.

        Raises:
            StateBusyError: another program holds one of them.
            StateError: one cannot be made, or locked.
        """
        wanted: dict[tuple[int, int], int] = {}
        try:
            for folder in folders:
                key = _identity(folder)
                if key not in wanted:
                    held = self._held.pop(key, None)
                    wanted[key] = held if held is not None else _lock(folder)
        except StateError:
            self._held |= wanted
            self.close()
            raise
        self.close()
        self._held = wanted

    def close(self) -> None:
        """Let all go; doing so twice is fine."""
        while self._held:
            os.close(self._held.popitem()[1])


def is_held(folder: Path) -> bool:
    """Whether a program holds a folder, writing nothing. Raises StateError."""
    with os_errors_as(StateError, f"cannot read {folder}"):
        try:
            opened = os.open(folder, _FOLDER)
        except FileNotFoundError:
            return False
    try:
        return not _taken(opened, folder, fcntl.LOCK_SH)
    finally:
        os.close(opened)


def holder(folder: Path) -> str:
    """In words, which program held a folder last."""
    try:
        told = read_whole(folder / NAME, _MOST_BYTES).decode("utf-8", "replace").strip()
    except OSError:
        told = ""
    return told or "another program"


def _identity(folder: Path) -> tuple[int, int]:
    cure = (
        "; give this user the right to, or name another folder (outbox.path, inbox.folder, "
        "model.store)"
    )
    with os_errors_as(StateError, f"cannot create {folder} for the device's state", cure):
        folder.mkdir(parents=True, exist_ok=True)
        found = folder.stat()
    return found.st_dev, found.st_ino


def _lock(folder: Path) -> int:
    """Lock a folder; give what holds the lock while it is open."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    with os_errors_as(StateError, f"cannot read {folder}"):
        opened = os.open(folder, _FOLDER)
    try:
        while not _taken(opened, folder):
            if time.monotonic() > deadline:
                raise StateBusyError(
                    f"{folder} is in use by {holder(folder)}; stop that first (systemctl stop "
                    "wheatear), or give each device folders of its own (outbox.path, "
                    "inbox.folder, model.store)"
                )
            time.sleep(0.05)
        _sign(folder)
    except BaseException:
        os.close(opened)
        raise
    return opened


def _taken(opened: int, folder: Path, how: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(opened, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise _no_lock(folder, error) from error
    return True


def _sign(folder: Path) -> None:
    """Write into the lock file who holds the folder, as far as the disk has room for that.

    Raises StateError where the folder takes no files.
    """
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    text = f"process {os.getpid()} ({printable(command)})\n".encode()[:_MOST_BYTES]
    path = folder / NAME
    try:
        opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        if error.errno in NO_ROOM or path.exists():  # made by root: who holds it is then unknown
            return
        raise StateError(
            f"cannot write to {folder}: {error.strerror or error}; the device keeps its state "
            "there: make it writable for this user, or name another folder"
        ) from error
    with contextlib.suppress(OSError):
        os.pwrite(opened, text, 0)
        os.ftruncate(opened, len(text))
    os.close(opened)


def _no_lock(folder: Path, error: OSError) -> StateError:
    if error.errno in _NO_LOCKS:
        return StateError(
            f"the file system of {folder} does not support locks ({error.strerror}), so nothing "
            "keeps two programs from spoiling each other's work; keep the device's state on a "
            "local disk"
        )
    return StateError(f"cannot lock {folder}: {error.strerror or error}")
