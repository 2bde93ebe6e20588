"""Files that appear whole or not at all, whoever writes beside us."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

import msgspec


def write_shared(path: Path, content: bytes) -> None:
    """Put a file in place so that no reader, no crash and no other writer ever sees half of it.

    (:func:`edge.system.files.write_whole` is for a file that one program alone writes.)
    """
    partial = path.with_name(f"{path.name}.{uuid4().hex}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """The same with a value as JSON, a line for each part of it."""
    write_shared(path, msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")
