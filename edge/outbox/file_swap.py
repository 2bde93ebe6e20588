"""The exchange of the outbox's file for a new one, whole at every moment, and the old one kept."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from edge.errors import OutboxError, os_errors_as
from edge.system.files import put_aside, sync_folder


def set_aside(path: Path) -> Path:
    """Rename the file and its log, so that a person can look at them; give the new name."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    number = 0
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{path}{suffix}", f"{aside}{suffix}")
    return aside


def clear_names(path: Path) -> None:
    """Put aside what is no file and lies where the database and its log belong; a link that leads
    nowhere stays: what it leads to may come back. Raises OSError.
    """
    for one in (path, Path(f"{path}-wal"), Path(f"{path}-shm"), replacement(path)):
        if one.exists() and not one.is_file():
            put_aside(one)


def finish_exchange(path: Path) -> None:
    """Put the file made of a damaged one in its place, now or after a cut of the power.

    Raises OutboxError.
    """
    fresh = replacement(path)
    what, cure = f"cannot replace the damaged outbox {path}", f"; {path.parent} must be writable"
    with os_errors_as(OutboxError, what, cure):
        if not fresh.exists():
            return
        if path.exists():
            discard(fresh)  # it may not be whole
        else:
            set_aside(path)  # a log without its file must not be taken for that of the new one
            os.replace(fresh, path)
            sync_folder(path.parent)


def replacement(path: Path) -> Path:
    """The path at which the replacement of a damaged file is built."""
    return path.with_name(path.name + ".salvaged")


def discard(path: Path) -> None:
    """Remove a database that was never used, with its log."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
