"""What keeps a device's state: which card, and whether its files are those that were there before.

A card's copy in another card, and files put back from a backup, know nothing of the numbers that
were given out since. So whoever finds another card or other files gives numbers a new name.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from edge.system.state_lock import NAME as LOCK
from edge.system.volatile_storage import Storage

_GETVERSION = 0x80087601 if struct.calcsize("l") == 8 else 0x80047601
"""FS_IOC_GETVERSION of Linux: a number that the file system draws for each new file."""
_SERIALS = ("device/cid", "device/serial", "device/wwid", "wwid", "serial")


class Keeping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Words that change when what keeps the state does; None: nothing is told."""

    card: str | None = None
    """Of the card or disk: what its maker gave it."""
    file: str | None = None
    """Of the file that says who holds the folder. It is made once and written to at each start, so
    a copy that is put back replaces it."""
    boot: str | None = None
    """The computer's start, where nothing in the folder outlives it."""

    def another(self, now: Keeping) -> bool:
        """Whether it is certain that something else keeps the state now."""
        pairs = ((self.card, now.card), (self.file, now.file))
        # What was written to disk and shows in memory was hidden by each start before, too.
        return any(a and b and a != b for a, b in pairs) or now.boot not in (None, self.boot)

    def along(self, now: Keeping) -> Keeping:
        """What is known now, completed by what was known before."""
        return Keeping(now.card or self.card, now.file or self.file, now.boot or self.boot)


def keeping(folder: Path, storage: Storage, boot: str, hashed: Callable[[str], str]) -> Keeping:
    """Look at what keeps `folder`; the maker's number is told as `hashed` only."""
    card = None if storage.disk is None else _serial(storage.disk)
    return Keeping(
        card=card and hashed(card),
        file=_mark(folder / LOCK),
        boot=boot if storage.fleeting else None,
    )


def _serial(part: Path) -> str | None:
    """Read the number of the disk, or of the one that a partition is on."""
    for disk in (part, part.parent):
        for name in _SERIALS:
            with suppress(OSError):
                if found := (disk / name).read_text("utf-8", "replace").strip(" \0\n"):
                    return found
    return None


def _mark(file: Path) -> str | None:
    """What tells a file from a copy; None where its file system draws no numbers."""
    try:
        with open(file, "rb", opener=lambda path, _: os.open(path, os.O_NONBLOCK)) as opened:
            drawn = struct.unpack("l", fcntl.ioctl(opened, _GETVERSION, struct.pack("l", 0)))[0]
            inode = os.fstat(opened.fileno()).st_ino
    except OSError:
        return None
    return f"{inode}-{drawn & 0xFFFFFFFF:x}" if drawn & 0xFFFFFFFF else None
