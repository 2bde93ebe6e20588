"""Power cuts of an outbox's log alone, made from copies of its files: these need no root.

Between two appends, which are synced, the log is written to without: by deletions, and by the next
append until it returns. Of the blocks that differ from when all was synced, some reach the disk.
"""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from random import Random
from typing import NamedTuple

from soak.cut_loads import outbox
from soak.cut_verdicts import Verdict, judge
from soak.promises import Appended, Journal
from soak.scenario import quiet

_FILES = ("", "-wal", ".seq")
_HEADER = 32
"""SQLite syncs a new header of the log before anything that follows it."""


class Copies:
    """Copies the files each time it is asked how many copies there are."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.copies: list[dict[str, bytes]] = []

    def __call__(self) -> int:
        """Copy; give the number of this copy."""
        copy = {}
        for suffix in _FILES:
            file = Path(f"{self._path}{suffix}")
            content = file.read_bytes() if file.exists() else b""
            before = self.copies[-1][suffix] if self.copies else b""
            copy[suffix] = before if before == content else content
        self.copies.append(copy)
        return len(self.copies) - 1


class Stretch(NamedTuple):
    """A copy that was synced, and a later one before the next sync."""

    synced: int
    later: int


def recorded_log(folder: Path, random: Random, length: float) -> tuple[Journal, Copies]:
    """Let an outbox be used, and copy it at each step."""
    folder.mkdir()
    copies = Copies(folder / "outbox.db")
    return outbox(folder, folder, copies, random, length), copies


def stretches(journal: Journal, copies: Copies) -> list[Stretch]:
    """The stretches in which only the log was written to since it was synced."""
    appended = [one for one in journal.promises if isinstance(one, Appended)]
    found = []
    for one, following in itertools.pairwise(appended):
        for later in range(one.done + 1, following.done + 1):
            old, new = copies.copies[one.done], copies.copies[later]
            if old[""] == new[""] and old["-wal"] != new["-wal"]:
                found.append(Stretch(one.done, later))
    return found


def cut(folder: Path, journal: Journal, copies: Copies, at: Stretch, random: Random) -> Verdict:
    """Leave some of the blocks unwritten that were not synced, and judge."""
    old, new = copies.copies[at.synced], copies.copies[at.later]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for suffix in _FILES:
        content = new[suffix]
        if suffix == "-wal":
            content = mixed(old[suffix], new[suffix], random)
        (folder / f"outbox.db{suffix}").write_bytes(content)
    with quiet():
        return judge("outbox", folder, journal, at.later - 1, lying=False)


def mixed(old: bytes, new: bytes, random: Random) -> bytes:
    """Take some blocks of the new content, and the others of the old."""
    size = max(len(old), len(new))
    step, share = random.choice((512, 4096)), random.random()
    found = bytearray(old.ljust(size, b"\0"))
    new = new.ljust(size, b"\0")
    differ = [at for at in range(0, size, step) if found[at : at + step] != new[at : at + step]]
    missing = random.choice(differ)  # else there is nothing to be seen
    for start in differ:
        if start != missing and random.random() < share:
            found[start : start + step] = new[start : start + step]
    found[:_HEADER] = new[:_HEADER]
    return bytes(found)
