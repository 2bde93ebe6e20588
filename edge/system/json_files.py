"""Small JSON files of the device's own, read whatever became of them."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from edge.system.files import read_whole
from edge.text.json_text import from_json

Stored = TypeVar("Stored")


def read_json(path: Path, type: type[Stored]) -> Stored:
    """Read a file as what it is to hold.

    Raises:
        ShortageError: it cannot be opened just now; it is to stay as it is.
        OSError: it is not there, is no file, or cannot be read.
        msgspec.DecodeError: it holds something else, whatever that is.
    """
    return from_json(read_whole(path), msgspec.json.Decoder(type))
