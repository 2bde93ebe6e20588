"""Files that appear whole, or not at all, also when the power goes."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write a file so that its name always shows all of `data`, or what was there before.

    The data is on disk on return; its name is after :func:`sync_folder`. `mode` is what the file
    may be used for at most, from its first byte on. Raises OSError.
    """
    temporary = path.with_name(path.name + ".new")
    if mode != 0o666:
        temporary.unlink(missing_ok=True)
    with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def sync_folder(folder: Path) -> None:
    """Make new and changed names in a folder survive a power cut. Raises OSError."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
