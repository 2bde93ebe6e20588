"""What all sections of the file share."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge.errors import ConfigError


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


def first_line(file: Path, setting: str) -> str:
    """Read a secret. Raises ConfigError."""
    try:
        return file.read_text("utf-8").split("\n", 1)[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{setting}: cannot read {file} ({error}); create it, readable by this program only"
        ) from error
