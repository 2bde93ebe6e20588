"""Outboxes after power cuts and damage, opened in three ways: ours, plain SQLite, its `.recover`.

The same files each time: a third of them as a power cut leaves them (:mod:`soak.log_cuts`), the
others with pages of file or log overwritten, or the file cut short (:mod:`soak.damage`). What was
there before is known. The program `sqlite3` must be one that can recover, else it is left out.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec

from edge.errors import OutboxError
from edge.outbox.outbox import Outbox
from edge.outbox.rows import Kind, Row
from soak.control import messages
from soak.damage import damaged, filled, waiting_rows
from soak.log_cuts import mixed, recorded_log, stretches
from soak.promises import Appended
from soak.scenario import Options, Round, chance, quiet

_A_ROUND = 50
_LENGTH = 0.3
WAYS = ("ours", "plain", "recover")
Known = tuple[Any, Any]
"""Id and number of a sighting."""
COLUMNS = ("databases", "messages", "kept", "again", "wrong", "twice", "unopened", "ms")


class Before(NamedTuple):
    """What was there."""

    waiting: set[Known]
    """What must be there still, as far as it can be read."""
    ever: set[Known]
    """With those that were delivered before, and may come again."""


def rounds(options: Options) -> int:
    """Fifty databases a round; none without the program."""
    if shutil.which("sqlite3") is None:
        sys.stderr.write(
            "NO RECOVERY COMPARED: sqlite3 is not installed: apt-get install sqlite3\n"
        )
        return 0
    return -(-options.recoveries // _A_ROUND)


@cache
def no_recover() -> str:
    """Why SQLite's program cannot recover here; "" where it can."""
    if shutil.which("sqlite3") is None:
        return "sqlite3 is not installed: apt-get install sqlite3"
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sound.db"
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE found (row)")
        said = subprocess.run(
            ["sqlite3", path, ".recover"], capture_output=True, check=False, text=True
        )
    if "CREATE TABLE found" in said.stdout:
        return ""
    return "this sqlite3 cannot read a sound file that way, as that of Debian 12: Debian 13's can"


def play(number: int, folder: Path, options: Options) -> Round:
    """Make files, and recover each in three ways."""
    random = chance(options, "recovery", number)
    count = min(_A_ROUND, options.recoveries - number * _A_ROUND)
    counts: Counter[str] = Counter()
    kind = "cut" if number % 3 == 0 else "damaged"
    make = _cuts(folder, random) if kind == "cut" else _damages(random)
    for turn in range(count):
        place = folder / str(turn)
        place.mkdir()
        before = make(place)
        for way, recover in _ways().items():
            copy = folder / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(place, copy, ignore=shutil.ignore_patterns("*-shm"))
            with quiet():
                _compare(counts, f"{kind}, {way}: ", recover, copy / "outbox.db", before)
        shutil.rmtree(place)
    return Round(counts=dict(counts), problems=_behind(counts, kind))


def _ways() -> dict[str, Callable[[Path], list[Known]]]:
    ways: dict[str, Callable[[Path], list[Known]]] = {"ours": _ours, "plain": _plain}
    return ways if no_recover() else {**ways, "recover": _recover}


def _behind(counts: Counter[str], kind: str) -> tuple[str, ...]:
    """Name it where ours keeps less than SQLite does by itself, all in all."""
    ours, others = counts[f"{kind}, ours: kept"], WAYS[1:]
    return tuple(
        f"{kind}: ours keeps {ours} messages, {way} {counts[f'{kind}, {way}: kept']}"
        for way in others
        if counts[f"{kind}, {way}: kept"] > ours
    )


def _compare(
    counts: Counter[str],
    name: str,
    recover: Callable[[Path], list[Known]],
    path: Path,
    before: Before,
) -> None:
    """Recover in one way and count what came of it."""
    started = time.perf_counter()
    try:
        found = recover(path)
    except (OutboxError, sqlite3.Error, subprocess.SubprocessError, OSError, TypeError):
        found = []
        counts[f"{name}unopened"] += 1
    counts[f"{name}ms"] += round(1000 * (time.perf_counter() - started))
    counts[f"{name}databases"] += 1
    counts[f"{name}messages"] += len(before.waiting)
    each = set(found)
    counts[f"{name}kept"] += len(each & before.waiting)
    counts[f"{name}again"] += len(each & before.ever - before.waiting)
    counts[f"{name}wrong"] += len(each - before.ever)
    counts[f"{name}twice"] += len(found) - len(each)


def _ours(path: Path) -> list[Known]:
    with Outbox(path) as box:
        return _known(waiting_rows(box))


def _known(rows: Iterable[Row]) -> list[Known]:
    found = [msgspec.json.decode(row.payload) for row in rows if row.kind is Kind.SIGHTING]
    return [(one.get("id"), one.get("seq")) for one in found]


def _plain(path: Path) -> list[Known]:
    return [(one.get("id"), one.get("seq")) for one in messages(path).sightings]


def _recover(path: Path) -> list[Known]:
    """Have the program write what it finds as SQL, and run that into a new file."""
    fresh = path.with_name("recovered.db")
    said = _shell(path, ".recover")
    _shell(fresh, said=said)
    return _plain(fresh)


def _shell(path: Path, *commands: str, said: bytes = b"") -> bytes:
    command = ["sqlite3", str(path), *commands]
    run = subprocess.run(command, input=said, capture_output=True, timeout=60, check=False)
    return run.stdout


def _cuts(folder: Path, random: Random) -> Callable[[Path], Before]:
    """Return what makes an outbox as a power cut leaves it, and says what was promised."""
    journal, copies = recorded_log(folder / "live", random, _LENGTH)
    places = stretches(journal, copies)
    appended = [one for one in journal.promises if isinstance(one, Appended)]
    ever = {known for one in appended for known in one.numbers.items()}

    def make(place: Path) -> Before:
        at = random.choice(places)
        old, new = copies.copies[at.synced], copies.copies[at.later]
        for suffix, content in new.items():
            kept = mixed(old[suffix], content, random) if suffix == "-wal" else content
            (place / f"outbox.db{suffix}").write_bytes(kept)
        return Before(set(journal.due(at.later - 1).sightings.items()), ever)

    return make


def _damages(random: Random) -> Callable[[Path], Before]:
    """Return what makes a damaged outbox, and says what was in it."""

    def make(place: Path) -> Before:
        waiting, ever = filled(place / "outbox.db", random)
        damaged(place / "outbox.db", random)
        return Before(set(_known(waiting)), set(_known([*waiting, *ever.values()])))

    return make


def report(played: Sequence[Round]) -> str:
    """A table, in Markdown: a row for each way and kind of damage."""
    lines = [f"| files | way | {' | '.join(COLUMNS)} each |", "|---" * (len(COLUMNS) + 2) + "|"]
    for kind in ("cut", "damaged"):
        for way in WAYS:
            sums = {
                what: sum(one.counts.get(f"{kind}, {way}: {what}", 0) for one in played)
                for what in COLUMNS
            }
            if sums["databases"]:
                sums["ms"] //= sums["databases"]
                lines.append(f"| {kind} | {way} | {' | '.join(f'{n:,}' for n in sums.values())} |")
    return "\n".join(lines)
