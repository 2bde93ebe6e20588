"""What is mounted where, and on which disk, as the kernel tells."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple


class Mount(NamedTuple):
    """A file system at its place."""

    point: str
    device: str
    """Major and minor number: ``179:2``."""
    kind: str
    options: dict[str, str]
    """Of the file system: ``upperdir`` and the like."""

    def disk(self, root: Path = Path("/")) -> Path:
        """The folder in /sys of the partition or disk that it lies on. It need not exist."""
        return (root / "sys/dev/block" / self.device).resolve()


class Mounts:
    """All that is mounted, looked up once. Raises OSError where the kernel does not tell."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._table = (root / "proc/self/mountinfo").read_text("utf-8", "surrogateescape")

    def of(self, folder: Path) -> Mount:
        """Find what a folder, or the one in which it would be made, is on.

        By the kernel's number of the mount, since device numbers differ from those of the mount on
        some file systems. Raises OSError, ValueError, IndexError where the kernel does not tell.
        """
        folder = folder.absolute()
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        opened = os.open(folder, os.O_PATH)
        try:
            told = (self._root / f"proc/self/fdinfo/{opened}").read_text("utf-8", "surrogateescape")
        finally:
            os.close(opened)
        number = re.findall(r"^mnt_id:\s*(\d+)$", told, re.MULTILINE)[0]
        (line,) = (line for line in self._table.split("\n") if line.startswith(f"{number} "))
        before, _, after = line.partition(" - ")
        kind, _source, options = after.split(" ", 2)
        pairs = (option.partition("=") for option in re.split(r"(?<!\\),", options))
        return Mount(
            point=_plain(before.split(" ")[4]),
            device=before.split(" ")[2],
            kind=kind,
            options={name: _plain(value) for name, _, value in pairs},
        )


def _plain(text: str) -> str:
    r"""Undo the kernel's escapes: ``\040`` is a space."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
