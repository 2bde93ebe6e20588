"""Which of two versions is newer. Pure."""

from __future__ import annotations

import re
from math import inf

_RELEASE = re.compile(r"[vV]?(\d+(?:\.\d+)*)")
_PART = re.compile(r"\d+|[A-Za-z]+")

Part = tuple[float, str]
Key = tuple[tuple[int, ...], bool, tuple[Part, ...]]


def key(version: str) -> Key:
    """A sort key that orders `version` among the versions of one model.

    The leading numbers count first, one by one, missing ones as 0 (``1.10`` is newer than ``1.9``,
    ``1.0`` equals ``1``). What follows makes it older than the plain number, as in Semantic
    Versioning 2.0.0 (11.3, 11.4) and PEP 440: ``1.0-dev`` < ``1.0-alpha`` < ``1.0rc1`` <
    ``1.0rc2`` < ``1.0``; only ``post`` makes it newer. What stands behind ``+`` does not count, nor
    does a ``v`` in front.
    """
    plain = version.partition("+")[0]
    found = _RELEASE.match(plain)
    numbers = [int(one) for one in found[1].split(".")] if found else []
    while numbers and not numbers[-1]:
        numbers.pop()
    rest = _PART.findall(plain[found.end() :] if found else plain)
    released = not rest or rest[0].lower() == "post"
    return tuple(numbers), released, tuple(_part(one.lower()) for one in rest)


def newer(version: str, than: str) -> bool:
    """Whether `version` is newer; versions that are equal or differ by ``+...`` are not."""
    return key(version) > key(than)


def _part(text: str) -> Part:
    """Numbers go before words, ``dev`` before both."""
    if text == "dev":
        return -inf, ""
    return (int(text), "") if text.isdigit() else (inf, text)
