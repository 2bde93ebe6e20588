"""Numbers and names in sentences."""

from __future__ import annotations

from collections.abc import Iterable


def plural(count: int, one: str, many: str = "") -> str:
    """``1 photo``, ``2 photos``; `many` where more than an s is added."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def some(names: Iterable[str], most: int = 3) -> str:
    """The first few of many names."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
