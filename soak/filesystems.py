"""The file systems that are tried, as a device's card may have them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class FileSystem(NamedTuple):
    """How one is made and mounted."""

    kind: str
    """As the kernel calls it."""
    make: tuple[str, ...]
    package: str
    """Of Debian, with the program that makes it."""
    options: str = ""
    """Of the mount. XFS refuses a second copy of a disk otherwise."""
    megabytes: int = 48


FILE_SYSTEMS = {
    # Blocks of 4 KiB, as a card's has them: so small a disk would get smaller ones.
    "ext4": FileSystem("ext4", ("mkfs.ext4", "-q", "-F", "-b", "4096"), "e2fsprogs"),
    "ext4-1k": FileSystem("ext4", ("mkfs.ext4", "-q", "-F", "-b", "1024"), "e2fsprogs"),
    "ext4-data": FileSystem(
        "ext4", ("mkfs.ext4", "-q", "-F", "-b", "4096"), "e2fsprogs", "data=journal"
    ),
    "ext4-commit": FileSystem(
        "ext4", ("mkfs.ext4", "-q", "-F", "-b", "4096"), "e2fsprogs", "commit=60"
    ),
    "ext3": FileSystem("ext3", ("mkfs.ext3", "-q", "-F", "-b", "4096"), "e2fsprogs"),
    "xfs": FileSystem("xfs", ("mkfs.xfs", "-q", "-f"), "xfsprogs", "nouuid", 320),
    "btrfs": FileSystem("btrfs", ("mkfs.btrfs", "-q", "-f"), "btrfs-progs", megabytes=128),
    "f2fs": FileSystem("f2fs", ("mkfs.f2fs", "-q", "-f"), "f2fs-tools", megabytes=64),
}


def absent(name: str) -> str:
    """What is missing for a file system, and what to do; "" where it can be tried."""
    one = FILE_SYSTEMS[name]
    known = {line.split()[-1] for line in Path("/proc/filesystems").read_text().splitlines()}
    if one.kind not in known:
        return f"this kernel has no {one.kind}"
    if shutil.which(one.make[0], path=PATH) is None:
        return f"{one.make[0]} is not installed: apt-get install {one.package}"
    return ""


def impossible() -> str:
    """Why no power can be cut here, and what to do; "" where it can."""
    if os.geteuid() != 0:
        return "it needs root, to mount file systems: run it with sudo"
    for path in ("/dev/fuse", "/dev/loop-control"):
        if not Path(path).exists():
            return f"{path} is missing: the kernel, or this container, must have FUSE and loop"
    return absent("ext4")


def make(name: str, image: Path) -> None:
    """Make an empty file system in a sparse file. Raises OSError: its program says no, and why."""
    one = FILE_SYSTEMS[name]
    with image.open("wb") as file:
        file.truncate(one.megabytes << 20)
    environment = {**os.environ, "PATH": PATH}
    done = subprocess.run(
        [*one.make, image], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise OSError(f"{one.make[0]} makes no file system: {done.stderr.strip()}")
