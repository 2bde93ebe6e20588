"""Tables of a FlatBuffers file, read in place (https://flatbuffers.dev/internals)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TypeVar

from edge.errors import ModelError

_T = TypeVar("_T")
_EDGETPU = "edgetpu-custom-op"


def is_for_edgetpu(model: bytes) -> bool:
    """Whether the model holds the Edge TPU's operator.

    Raises:
        ModelError: not a TFLite file, or a damaged one.
    """
    return guarded(model, lambda root: any(c.text(1) == _EDGETPU for c in root.tables(1)))


def guarded(model: bytes, look: Callable[[Table], _T]) -> _T:
    """Return ``look(root table)`` of a TFLite file.

    Raises:
        ModelError: not a TFLite file, or a damaged one.
    """
    if model[4:8] != b"TFL3":
        raise ModelError("not a TFLite model: its identifier TFL3 is missing")
    try:
        return look(Table.root(model))
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise ModelError(f"damaged TFLite model: {error}") from error


class Table:
    """A FlatBuffers table: fields by number, absent fields as their default."""

    __slots__ = ("_data", "_position", "_vtable", "_vtable_size")

    def __init__(self, data: bytes, position: int) -> None:
        """Point at the table that starts at ``position``."""
        self._data = data
        self._position = position
        self._vtable = position - struct.unpack_from("<i", data, position)[0]
        if not 0 <= self._vtable < len(data):
            raise IndexError(f"table at {position} points outside the file")
        self._vtable_size = struct.unpack_from("<H", data, self._vtable)[0]

    @classmethod
    def root(cls, data: bytes, start: int = 0) -> Table:
        """The root table of the buffer that begins at ``start``."""
        return cls(data, start + struct.unpack_from("<I", data, start)[0])

    def _at(self, field: int) -> int | None:
        slot = 4 + 2 * field
        if slot + 2 > self._vtable_size:
            return None
        offset = struct.unpack_from("<H", self._data, self._vtable + slot)[0]
        return self._position + offset if offset else None

    def number(self, field: int, form: str, default: int = 0) -> int:
        """A scalar field; ``form`` is its struct letter."""
        at = self._at(field)
        return default if at is None else int(struct.unpack_from("<" + form, self._data, at)[0])

    def _target(self, field: int) -> int | None:
        at = self._at(field)
        return None if at is None else at + int(struct.unpack_from("<I", self._data, at)[0])

    def table(self, field: int) -> Table | None:
        """A table (or union) field, or None."""
        target = self._target(field)
        return None if target is None else Table(self._data, target)

    def vector(self, field: int) -> tuple[int, int]:
        """(position of the first element, count) of a vector field; (0, 0) without it."""
        target = self._target(field)
        if target is None:
            return 0, 0
        count = struct.unpack_from("<I", self._data, target)[0]
        if count > len(self._data):
            raise IndexError(f"vector of {count} elements in a file of {len(self._data)} bytes")
        return target + 4, count

    def tables(self, field: int) -> list[Table]:
        """A vector of tables."""
        start, count = self.vector(field)
        spots = (start + 4 * i for i in range(count))
        return [Table(self._data, at + struct.unpack_from("<I", self._data, at)[0]) for at in spots]

    def numbers(self, field: int, form: str) -> tuple[float, ...]:
        """A vector of scalars."""
        start, count = self.vector(field)
        return struct.unpack_from(f"<{count}{form}", self._data, start) if count else ()

    def integers(self, field: int, form: str) -> tuple[int, ...]:
        """A vector of whole numbers."""
        return tuple(map(int, self.numbers(field, form)))

    def text(self, field: int) -> str:
        """A string field, or ""."""
        start, count = self.vector(field)
        return self._data[start : start + count].decode("utf-8") if count else ""
