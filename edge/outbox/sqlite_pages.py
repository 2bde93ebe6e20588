"""Reads the pages of an SQLite file one by one, also where SQLite gives the file up.

As its file format is described (https://www.sqlite.org/fileformat2.html, sections 1.6, 2.1 and 4):
pages of the write-ahead log come before those of the file, a leaf of a table is known by its first
byte, and no page is needed to find another one. So damage costs what stands on the damaged pages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from edge.outbox.sqlite_wal import PAGE_SIZES, Log, read_at

_HEADER_BYTES = 100  # before the first page's tree
_LEAF, _INDEX_LEAF, _INTERIOR = 0x0D, 0x0A, 0x05
_DEEPEST = 20
"""A tree has fewer levels, unless its pages point in a circle."""

Record = tuple[Any, ...]


class Pages:
    """The newest committed version of every page of a database file and its log.

    With `behind`, of pages that SQLite does not take only such as are sound; `as_sqlite`: none of
    them. `page_bytes` is what to read by where the file itself does not say.

    Raises OSError where the file cannot be read.
    """

    def __init__(
        self, path: Path, behind: bool = False, page_bytes: int = 0, as_sqlite: bool = False
    ) -> None:
        self._file = path.open("rb")
        log = Path(f"{path}-wal")
        self._log = log.open("rb") if log.exists() else None
        stated = page_bytes or int.from_bytes(read_at(self._file, 16, 2), "big")
        known = stated if stated in PAGE_SIZES else None
        found = Log(self._log, known) if self._log else None
        self.certain = known is not None or (found is not None and bool(found.places))
        """The file or its log says how large a page is; else it is guessed."""
        self.bytes = known or (found.page_bytes if found else PAGE_SIZES[0])
        """Of a page."""
        self._in_log = (found.taken if as_sqlite else found.places) if found else {}
        if found and behind:
            self._in_log |= found.behind
        self.behind = sorted(found.behind) if found else []
        """Numbers of the pages of which SQLite does not take a version in the log."""
        size = path.stat().st_size // self.bytes
        # Pages that the file does not have yet are all in the log: a larger number is damage.
        most = size + len(self._in_log)
        self.count = max([size, *(number for number in self._in_log if number <= most)])
        """Numbers of pages are 1 to this."""

    def __getitem__(self, number: int) -> bytes:
        """A page's bytes, zeros where the disk cannot read them or the file has ended."""
        file, at = self._file, (number - 1) * self.bytes
        if self._log and number in self._in_log:
            file, at = self._log, self._in_log[number]
        return read_at(file, at, self.bytes)

    def unused(self) -> set[int]:
        """The pages on the list of free ones; empty where the list itself is damaged."""
        trunk, total = struct.unpack_from(">II", self[1], 32)
        found = set[int]()
        while 1 < trunk <= self.count and trunk not in found:
            found.add(trunk)
            page = self[trunk]
            following, count = struct.unpack_from(">II", page)
            found.update(struct.unpack_from(f">{min(count, self.bytes // 4 - 2)}I", page, 8))
            trunk = following
        return found if len(found) == total else set()

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._log:
            self._log.close()


def records(pages: Pages, numbers: Iterable[int] | None = None) -> Iterator[tuple[int, int, int]]:
    """Yield (page, place in it, row) of each record on a table's leaf that is in use.

    `numbers` are the pages to look at; all if None.
    """
    unused = pages.unused()
    for number in range(1, pages.count + 1) if numbers is None else numbers:
        if number in unused:
            continue
        page = pages[number]
        for at in _cells(page, number, _LEAF):
            try:
                _, at_row = _varint(page, at)
                row, _ = _varint(page, at_row)
            except IndexError:
                continue
            yield number, at, row


def index_records(pages: Pages) -> Iterator[Record]:
    """Yield the records on the leaves of indexes and of tables WITHOUT ROWID."""
    unused = pages.unused()
    for number in range(1, pages.count + 1):
        if number not in unused:
            page = pages[number]
            for at in _cells(page, number, _INDEX_LEAF):
                found = _read(pages, page, at, skip=0)
                if found is not None:
                    yield found


def read(pages: Pages, number: int, at: int) -> Record | None:
    """The values of a table's record; None where it is not a sound one."""
    return _read(pages, pages[number], at, skip=1)


def table(pages: Pages, root: int, first: int = 0, depth: int = 0) -> Iterator[tuple[int, Record]]:
    """Yield row and values of a table's records from the row `first` on, in order, by its tree.

    Raises ValueError where a page or a record is none.
    """
    page = pages[root]
    header = _HEADER_BYTES if root == 1 else 0
    if page[header] == _LEAF:
        for at in _cells(page, root, _LEAF):
            row, _ = _varint(page, _varint(page, at)[1])
            if row >= first:
                record = _read(pages, page, at, skip=1)
                if record is None:
                    raise ValueError(f"page {root} holds no sound record at {at}")
                yield row, record
        return
    if page[header] != _INTERIOR or depth > _DEEPEST:
        raise ValueError(f"page {root} is none of a table")
    (count,) = struct.unpack_from(">H", page, header + 3)
    for at in struct.unpack_from(f">{count}H", page, header + 12):
        if _varint(page, at + 4)[0] >= first:
            yield from table(pages, int.from_bytes(page[at : at + 4], "big"), first, depth + 1)
    last = int.from_bytes(page[header + 8 : header + 12], "big")
    yield from table(pages, last, first, depth + 1)


def _read(pages: Pages, page: bytes, at: int, skip: int) -> Record | None:
    try:
        size, at = _varint(page, at)
        for _ in range(skip):  # the row
            _, at = _varint(page, at)
        content = _whole(pages, page, at, size)
        return _values(content) if content is not None else None
    except (IndexError, struct.error, UnicodeDecodeError):
        return None


def _cells(page: bytes, number: int, kind: int) -> Iterator[int]:
    """Yield the places of the cells of a page of this kind; nothing for a page of another kind."""
    header = _HEADER_BYTES if number == 1 else 0
    if page[header] != kind:
        return
    (count,) = struct.unpack_from(">H", page, header + 3)
    start = header + 8
    if start + 2 * count > len(page):
        return
    for at in struct.unpack_from(f">{count}H", page, start):
        if start + 2 * count <= at < len(page):
            yield at


def _whole(pages: Pages, page: bytes, at: int, size: int) -> bytes | None:
    """A record's bytes, those on overflow pages included; None where the chain breaks."""
    most, least = pages.bytes - 35, (pages.bytes - 12) * 32 // 255 - 23
    if size <= most:
        content = page[at : at + size]
        return content if len(content) == size else None
    local = least + (size - least) % (pages.bytes - 4)
    if local > most:
        local = least
    if size > pages.count * pages.bytes:
        return None
    whole = bytearray(page[at : at + local])
    (following,) = struct.unpack_from(">I", page, at + local)
    while len(whole) < size:
        if not 1 < following <= pages.count:
            return None
        more = pages[following]
        whole += more[4 : 4 + size - len(whole)]
        (following,) = struct.unpack_from(">I", more)
    return bytes(whole) if following == 0 else None


def _values(content: bytes) -> Record | None:
    """Decode a record: a header of types, then the values."""
    header, at = _varint(content, 0)
    types = []
    while at < header:
        kind, at = _varint(content, at)
        types.append(kind)
    values: list[Any] = []
    for kind in types:
        if kind >= 12:
            size = (kind - 12) // 2
            raw = content[at : at + size]
            values.append(raw.decode() if kind % 2 else raw)
        elif kind in (0, 8, 9):
            size = 0
            values.append((None, 0, 1)[max(0, kind - 7)])
        elif kind in (1, 2, 3, 4, 5, 6):
            size = (1, 2, 3, 4, 6, 8)[kind - 1]
            values.append(int.from_bytes(content[at : at + size], "big", signed=True))
        else:
            return None  # a fraction, or a type of the future: none of ours
        at += size
    return tuple(values) if at == len(content) else None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of one to nine bytes; give it and the place behind it."""
    value = 0
    for place in range(at, at + 8):
        byte = data[place]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + 1
    return value << 8 | data[at + 8], at + 9
