"""JSON from outside, or from a disk: whatever is wrong with it is one kind of error."""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")


def from_json(data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Read JSON as what `decoder` expects. Raises msgspec.DecodeError.

    Of bytes that are no UTF-8 within a text, and of what is nested too deeply, msgspec raises
    something else.
    """
    try:
        return decoder.decode(data)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error
