"""What comes out of damaged outboxes: by SQLite's own means, and by reading page by page.

The databases and their damage are those of `soak/damage.py`. All ways get the same bytes. A message
counts as saved where it waited before and comes out as it was put in; one that comes out changed is
no message. The `sqlite3` program's `.recover` is no way: it needs a table (`sqlite_dbpage`) that
neither Python's SQLite nor Debian's program has.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.harness import Options
from benchmarks.result import Figure, pair
from edge.errors import OutboxDamagedError
from edge.outbox.outbox import Outbox
from edge.outbox.rows import Row, read_rows
from edge.outbox.sql import PAGE
from soak.damage import damaged, filled

SOURCES = ("edge/outbox/*.py", "soak/damage.py")
MATERIAL = ()

_STEP = 64
"""Rows that are asked for at once; around an error, one by one."""
_BEYOND = 3_000
"""Rows that are asked for, more than any of these databases ever had."""


def run(data: Path, options: Options) -> tuple[Figure, ...]:  # noqa: ARG001
    """Damage databases, and count what each way gets out of those with a damaged file or log."""
    count = 5 if options.tiny else 400
    random = Random(1)
    saved: dict[str, dict[str, list[float]]] = {}
    logging.disable(logging.ERROR)
    try:
        for _ in range(count):
            with tempfile.TemporaryDirectory(dir=options.out, prefix="recovery-") as folder:
                where, found = compare(Path(folder), random)
                for way, part in found.items():
                    saved.setdefault(where, defaultdict(list))[way].append(part)
    finally:
        logging.disable(logging.NOTSET)
    return tuple(
        pair(
            f"messages saved, damage in the {where}",
            "%",
            ("page by page", _mean(parts["page by page"])),
            (way, _mean(parts[way])),
            note=f"mean of {len(parts[way])} databases",
        )
        for where, parts in saved.items()
        for way in parts
        if way != "page by page"
    )


def _mean(parts: list[float]) -> list[float]:
    return [100 * sum(parts) / len(parts)] if parts else []


def compare(folder: Path, random: Random) -> tuple[str, dict[str, float]]:
    """Damage one database; say where, and which part of its messages each way gets out."""
    made = folder / "made"
    made.mkdir()
    before, _ = filled(made / "outbox.db", random)
    _, cut, in_log = damaged(made / "outbox.db", random)
    there = {row.row: row for row in before}
    found = {}
    for way, read in WAYS.items():
        place = folder / "tried"
        shutil.copytree(made, place)
        rows = {row.row: row for row in read(place / "outbox.db")}
        found[way] = sum(rows.get(row) == one for row, one in there.items()) / len(there)
        shutil.rmtree(place)
    return "log" if in_log else "file, cut short" if cut else "file", found


def _by_outbox(path: Path) -> list[Row]:
    """Read it as the device does."""
    with Outbox(path) as outbox:
        for _ in range(3):
            with contextlib.suppress(OutboxDamagedError):
                return outbox.page(0, _BEYOND)
    return []


def _by_open(path: Path) -> Iterator[Row]:
    """Open it and read from the first row until an error."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as db:
        for values in db.execute(PAGE, (0, _BEYOND)):
            yield from _sound(values)


def _by_rows(path: Path) -> Iterator[Row]:
    """Ask for ranges of rows, and for single ones where a range has an error."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        for first in range(0, _BEYOND, _STEP):
            try:
                yield from _range(db, first, _STEP)
            except sqlite3.Error:
                for one in range(first, first + _STEP):
                    with contextlib.suppress(sqlite3.Error):
                        yield from _range(db, one, 1)


def _range(db: sqlite3.Connection, first: int, count: int) -> list[Row]:
    query = PAGE.replace("ORDER", "AND row <= ? ORDER")
    found = db.execute(query, (first, first + count, count)).fetchall()
    return [row for values in found for row in _sound(values)]


def _sound(values: tuple[Any, ...]) -> list[Row]:
    try:
        return read_rows([values], Path())
    except OutboxDamagedError:
        return []


WAYS: dict[str, Callable[[Path], Any]] = {
    "page by page": _by_outbox,
    "opening it": _by_open,
    "rows one by one": _by_rows,
}
