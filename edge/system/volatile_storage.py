"""Whether what is written into a folder is still there after the computer's next start."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from edge.system.mounts import Mounts

_IN_MEMORY = frozenset(("tmpfs", "ramfs", "devtmpfs"))
_MEMORY_DISKS = re.compile(r"(zram|ram)\d+")
_DEPTH = 4
"""Overlays on overlays that are looked through."""


class Storage(NamedTuple):
    """What a folder lies on."""

    disk: Path | None = None
    """The folder in /sys of the partition or disk; None: the kernel does not tell."""
    fleeting: str | None = None
    """Why what is written there is gone with the computer's next start; None: it stays, or nothing
    is known."""


def storage(folder: Path, root: Path = Path("/")) -> Storage:
    """What `folder`, which need not exist yet, lies on.

    Memory is a tmpfs, a disk of memory (zram), and an overlay whose changes lie in one: so
    Raspberry Pi OS keeps its card from being written. Raises nothing.
    """
    disk = None
    try:
        mounts = Mounts(root)
        disk = mounts.of(folder).disk(root)
        return Storage(disk, _fleeting(folder, root, mounts, _DEPTH))
    except (OSError, ValueError, IndexError):  # a kernel that does not tell
        return Storage(disk)


def _fleeting(folder: Path, root: Path, mounts: Mounts, depth: int) -> str | None:
    mount = mounts.of(folder)
    disk = mount.disk(root).name
    if mount.kind in _IN_MEMORY:
        where = f"in memory ({mount.kind} on {mount.point})"
    elif _MEMORY_DISKS.fullmatch(disk):
        where = f"in memory ({disk} on {mount.point})"
    elif mount.kind == "overlay" and (upper := mount.options.get("upperdir")):
        # Of a name that is not there nothing can be told: inside a container it is the host's.
        above = Path(upper)
        if not depth or not above.is_dir() or not _fleeting(above, root, mounts, depth - 1):
            return None
        where = f"on an overlay that keeps its changes in memory ({upper})"
    else:
        return None
    return (
        f"{folder} lies {where}: whatever is in it is lost when the computer restarts or its power "
        "fails; name a folder on a disk"
    )
