"""Whether what is written into a folder is still there after the computer's next start."""

from __future__ import annotations

import re
from pathlib import Path

from edge.system.mounts import mount_of

_IN_MEMORY = frozenset(("tmpfs", "ramfs", "devtmpfs"))
_MEMORY_DISKS = re.compile(r"(zram|ram)\d+")
_DEPTH = 4
"""Overlays on overlays that are looked through."""


def fleeting(folder: Path, root: Path = Path("/")) -> str | None:
    """In words, why what is written into `folder` is gone after the computer's next start; None
    where it stays, or nothing is known. The folder need not exist yet.

    Memory is a tmpfs, a disk of memory (zram), and an overlay whose changes lie in one: so
    Raspberry Pi OS keeps its card from being written. Raises nothing.
    """
    try:
        return _fleeting(folder, root, _DEPTH)
    except (OSError, ValueError, IndexError):  # a kernel that does not tell
        return None


def _fleeting(folder: Path, root: Path, depth: int) -> str | None:
    mount = mount_of(folder, root)
    disk = mount.disk(root).name
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
