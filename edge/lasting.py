"""Whether what is written into a folder is still there after the computer's next start."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

_IN_MEMORY = frozenset(("tmpfs", "ramfs", "devtmpfs"))
_MEMORY_DISKS = re.compile(r"(zram|ram)\d+")
_DEPTH = 4
"""Overlays on overlays that are looked through."""


class _Mount(NamedTuple):
    point: str
    device: str
    """Major and minor number: ``179:2``."""
    kind: str
    options: dict[str, str]


def fleeting(folder: Path, root: Path = Path("/")) -> str | None:
    """Say why what is written into `folder` is gone with the computer's next start; None where it
    stays, or nothing is known. The folder need not be there yet.

    Memory is a tmpfs, a disk of memory (zram), and an overlay whose changes lie in one: so
    Raspberry Pi OS keeps its card from being written. Raises nothing.
    """
    try:
        return _fleeting(folder, root, _DEPTH)
    except (OSError, ValueError, IndexError):  # a kernel that does not tell
        return None


def _fleeting(folder: Path, root: Path, depth: int) -> str | None:
    mount = _mount(_existing(folder), root)
    disk = (root / "sys/dev/block" / mount.device).resolve().name
    if mount.kind in _IN_MEMORY:
        where = f"in memory ({mount.kind} on {mount.point})"
    elif _MEMORY_DISKS.fullmatch(disk):
        where = f"in memory ({disk} on {mount.point})"
    elif mount.kind == "overlay" and (upper := mount.options.get("upperdir")):
        # Of a name that is not there nothing can be told: inside a container it is the host's.
        if not depth or not Path(upper).is_dir() or not _fleeting(Path(upper), root, depth - 1):
            return None
        where = f"on an overlay that keeps its changes in memory ({upper})"
    else:
        return None
    return (
        f"{folder} lies {where}: whatever is in it is lost when the computer restarts or its power "
        "fails; name a folder on a disk"
    )


def _existing(folder: Path) -> Path:
    """Give the folder, or the one in which it would be made."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _mount(folder: Path, root: Path) -> _Mount:
    """Find what is mounted there. By the kernel's number of the mount, since device numbers differ
    from those of the mount on some file systems."""
    opened = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        told = (root / f"proc/self/fdinfo/{opened}").read_text("utf-8", "surrogateescape")
    finally:
        os.close(opened)
    number = re.findall(r"^mnt_id:\s*(\d+)$", told, re.MULTILINE)[0]
    table = (root / "proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    (line,) = (line for line in table.split("\n") if line.startswith(f"{number} "))
    before, _, after = line.partition(" - ")
    kind, _source, options = after.split(" ", 2)
    pairs = (option.partition("=") for option in re.split(r"(?<!\\),", options))
    return _Mount(
        point=_plain(before.split(" ")[4]),
        device=before.split(" ")[2],
        kind=kind,
        options={name: _plain(value) for name, _, value in pairs},
    )


def _plain(text: str) -> str:
    r"""Undo the kernel's escapes: ``\040`` is a space."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
