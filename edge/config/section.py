"""What all sections of the file share."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge.errors import ConfigError
from edge.text import read_text


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


def first_line(file: Path, setting: str) -> str:
    """Read a secret. Raises ConfigError."""
    try:
        return read_text(file).split("\n", 1)[0]
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{setting}: cannot read {file} ({error}); create it, readable by this program only"
        ) from error
