"""The power cut at random points of what the disk was asked to write, and what is promised then.

A load runs on a file system of its own, below which every write and every flush is recorded
(:mod:`soak.recorder`). A cut keeps all up to the last flush, and of later writes all, none, some
blocks or sectors, or a torn beginning. Every fifth cut is that of a card that lies: the last 1 to
15 requests are lost although it said that they were written. The disk is mounted as after a cut,
what is on it is opened and held against what was promised; beside it a copy is opened with plain
SQLite and judged by the same promises. Needs root, FUSE and loop devices.

``python -m soak.powercuts FOLDER --cut N`` does one cut of a kept folder again, and leaves what was
on the disk in ``FOLDER/cut-N``.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import msgspec

from soak.cut_loads import LOADS
from soak.cut_verdicts import Verdict, judge
from soak.filesystems import FILE_SYSTEMS, absent, impossible
from soak.loopback import loop_device, mounted
from soak.promises import Journal
from soak.recording import LYING, LYING_WRITES, MODES, Cutter, Recording, recorded
from soak.scenario import Options, Round, chance, quiet

MOST_CUTS_A_ROUND = 500
PROCESSES = 2
_LYING_EVERY = 5
_EXAMPLES = 20
COLUMNS = (
    "cuts", "lost", "used twice", "out of order", "set aside", "half", "unopened", "untold gaps",
    "control lost", "control used twice", "control not ok", "with gaps", "unmountable",
)  # fmt: skip
"""Counted for each file system and load; those of lying cards bear that in front."""


class Cut(msgspec.Struct, frozen=True):
    """One cut of a recording."""

    number: int
    after: int
    """Requests that the kernel made until then."""
    kept: int
    """Of which these are known to the disk; fewer where it lies."""
    mode: str


class Task(msgspec.Struct, frozen=True):
    """What was recorded in a folder, in ``task.json``."""

    file_system: str
    load: str
    seed: str
    cuts: int


def rounds(options: Options) -> int:
    """A round for each file system and load, or several; none where power cannot be cut."""
    if reason := impossible():
        sys.stderr.write(f"NO POWER CUTS: {reason}\n")
        return 0
    for name in FILE_SYSTEMS:
        if reason := absent(name):
            sys.stderr.write(f"NO POWER CUTS ON {name}: {reason}\n")
    return _shares(options)


def _shares(options: Options) -> int:
    pairs = len(_pairs())
    return pairs * max(1, math.ceil(options.cuts / pairs / MOST_CUTS_A_ROUND))


def _pairs() -> list[tuple[str, str]]:
    present = [name for name in FILE_SYSTEMS if not absent(name)]
    return [(name, load) for load, name in product(LOADS, present)]


def play(number: int, folder: Path, options: Options) -> Round:
    """Record a load, then cut the power during it again and again."""
    pairs = _pairs()
    name, load = pairs[number % len(pairs)]
    seed = f"{options.seed}/powercuts/{number}"
    cuts = math.ceil(options.cuts / _shares(options))
    return record_and_cut(
        Task(name, load, seed, cuts), folder, chance(options, "powercuts", number)
    )


def record_and_cut(
    task: Task, folder: Path, random: Random, length: float = 1.0, processes: int = PROCESSES
) -> Round:
    """Play a round with a load that goes on so long, by a factor."""
    with in_memory(folder) as place:
        (place / "other").mkdir()
        (place / "task.json").write_bytes(msgspec.json.encode(task))
        with quiet(), recorded(task.file_system, place) as (disk, count):
            journal = LOADS[task.load](disk, place / "other", count, random, length)
        journal.write(place)
        cuts = planned(task, journal)
        if processes == 1:
            found = cut_all(place, cuts)
        else:
            with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
                shares = [cuts[part::processes] for part in range(processes)]
                parts = pool.map(cut_all, [place] * processes, shares)
                found = [one for part in parts for one in part]
        return _round(task, found)


@contextlib.contextmanager
def in_memory(folder: Path) -> Iterator[Path]:
    """Work in memory, where there is such a folder; keep what was recorded of a bad round."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield folder
        return
    with TemporaryDirectory(prefix="powercuts-", dir=memory) as name:
        yield Path(name)
        for file in ("empty.img", "log", "journal.json", "task.json"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(Path(name) / file, folder)


def planned(task: Task, journal: Journal) -> list[Cut]:
    """The cuts, those of a lying card last, each kind in the order of the recording."""
    honest, lying = [], []
    for number in range(task.cuts):
        random = Random(f"{task.seed}/{number}")
        after = random.randint(journal.opened, journal.ended)
        if number % _LYING_EVERY == _LYING_EVERY - 1:
            kept = max(journal.opened, after - random.randint(1, LYING_WRITES))
            lying.append(Cut(number, after, kept, LYING))
        else:
            honest.append(Cut(number, after, after, random.choice(MODES)))
    honest.sort(key=lambda cut: cut.kept)
    lying.sort(key=lambda cut: cut.kept)
    return honest + lying


def cut_all(folder: Path, cuts: Sequence[Cut], keep: bool = False) -> list[tuple[Cut, Verdict]]:
    """Make each disk, mount it and judge what is on it."""
    task = msgspec.json.decode((folder / "task.json").read_bytes(), type=Task)
    recording, journal = Recording(folder), Journal.read(folder)
    found = []
    with quiet(), TemporaryDirectory(prefix="cut-", dir=folder) as name:
        place = Path(name)
        for lies in (False, True):
            cutter = Cutter(recording, place / "disk.img")
            for cut in cuts:
                if (cut.mode == LYING) is lies:
                    random = Random(f"{task.seed}/{cut.number}/writes")
                    cutter.cut(cut.kept, random, "all" if lies else cut.mode)
                    kept = folder / f"cut-{cut.number}" if keep else None
                    found.append((cut, _one(task, place, journal, cut, kept)))
    return found


def _one(task: Task, place: Path, journal: Journal, cut: Cut, keep: Path | None) -> Verdict:
    copy, one = place / "copy", FILE_SYSTEMS[task.file_system]
    shutil.rmtree(copy, ignore_errors=True)
    verdict = Verdict()
    try:
        with (
            loop_device(place / "disk.img") as device,
            mounted(device, place / "mount", one.kind, one.options) as disk,
        ):
            # Pictures are what a camera put there, and most of the files.
            left_out = shutil.ignore_patterns("lost+found", "photos")
            shutil.copytree(disk, copy, ignore=left_out)
    except (OSError, shutil.Error) as error:
        verdict.wrong("unmountable", f"it cannot be mounted, or not be read: {error}")
        return verdict
    if keep:
        shutil.copytree(copy, keep)
    lying = cut.mode == LYING
    return judge(task.load, copy, journal, cut.after, lying)


def _round(task: Task, found: Sequence[tuple[Cut, Verdict]]) -> Round:
    counts: dict[str, int] = {}
    gap, problems = 0, []
    for cut, verdict in found:
        lying = f"{LYING}: " if cut.mode == LYING else ""
        verdict.counts["cuts"] += 1
        verdict.counts["with gaps"] += verdict.gap > 0
        gap = max(gap, verdict.gap)
        for what, count in verdict.counts.items():
            key = f"{lying}{what}"
            counts[key] = counts.get(key, 0) + count
        where = f"{task.file_system} {task.load}, cut {cut.number} ({cut.mode} after {cut.after})"
        problems += [f"{where}: {problem}" for problem in verdict.problems]
    if len(problems) > _EXAMPLES:
        problems[_EXAMPLES:] = [f"and {len(problems) - _EXAMPLES} more"]
    return Round(
        counts={what: count for what, count in counts.items() if count or what in COLUMNS},
        largest={"numbers left out": gap},
        problems=tuple(problems),
    )


def report(played: Sequence[Round]) -> str:
    """A table, in Markdown: a row for each file system and load."""
    pairs = _pairs()
    both = [*COLUMNS, *(f"{LYING}: {what}" for what in ("cuts", "used twice", "out of order"))]
    both += [f"{LYING}: unopened"]
    lines = [f"| file system | load | {' | '.join(both)} |", "|---" * (len(both) + 2) + "|"]
    for at, (name, load) in enumerate(pairs):
        mine = played[at :: len(pairs)]
        if mine:
            sums = [sum(one.counts.get(what, 0) for one in mine) for what in both]
            lines.append(f"| {name} | {load} | {' | '.join(f'{one:,}' for one in sums)} |")
    return "\n".join(lines)


def main() -> int:
    """Do one cut of a kept folder again."""
    parser = argparse.ArgumentParser(prog="python -m soak.powercuts", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="as kept by: python -m soak --only powercuts")
    parser.add_argument("--cut", type=int, required=True, help="as named in the problem")
    chosen = parser.parse_args()
    task = msgspec.json.decode((chosen.folder / "task.json").read_bytes(), type=Task)
    cuts = planned(task, Journal.read(chosen.folder))
    found = cut_all(chosen.folder, [cut for cut in cuts if cut.number == chosen.cut], keep=True)
    one = _round(task, found)
    sys.stdout.write("\n".join(one.problems or ("all as promised",)) + "\n")
    return int(bool(one.problems))


if __name__ == "__main__":
    sys.exit(main())
