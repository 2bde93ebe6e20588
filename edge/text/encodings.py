"""Text files of people and their editors: UTF-8, with or without a byte order mark, or UTF-16.

Windows' editors and shells write marks, UTF-16 and CR LF; none of it is part of the text.
"""

from __future__ import annotations

import codecs
from pathlib import Path

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is how it begins
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(file: Path) -> str:
    """Read a text file; lines end with ``\\n``. Raises OSError; ValueError: it is no text."""
    return text_of(file.read_bytes())


def text_of(data: bytes) -> str:
    """Decode text; lines end with ``\\n``.

    Raises:
        ValueError: it is none; the message says why, and the cure, and fits behind a file's name.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in data:
        raise ValueError(
            "it holds zero bytes: UTF-16 without a byte order mark, or not text; save it as UTF-8"
        )
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"byte {error.start + 1} ({data[error.start : error.start + 1].hex()}) is not "
            f"{encoding.removesuffix('-sig').upper()}; save it as UTF-8"
        ) from error
    if "\0" in text:
        raise ValueError("it holds NUL characters and is not text")
    return text.replace("\r\n", "\n").replace("\r", "\n")
