"""Databases damaged at random pages: what stood elsewhere is saved, in order, and the rest counted.

An outbox is filled, emptied from the front and filled again, as in the field. Then pages of its
file and of its log are overwritten with nonsense, zeros or another page, or the file is cut short.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from random import Random

import msgspec

from edge.errors import OutboxDamagedError
from edge.messages.base import new_id
from edge.messages.examples import EXAMPLES
from edge.messages.sighting import Evidence, Sighting
from edge.outbox.outbox import Outbox
from edge.outbox.rows import Kind, Row
from edge.outbox.sql import PAGE_BYTES
from edge.outbox.sqlite_wal import Log, damage
from soak.scenario import Options, Round, chance, quiet
from soak.week import START

DAMAGES_A_ROUND = 50
COUNTED = (
    "databases", "set aside", "broken off", "messages", "saved", "lost", "came again", "altered",
)  # fmt: skip
_ROWS_A_PAGE = 8
"""More sightings than fit on a page; a lost page of a picture costs that picture."""
_MESSAGES_A_COMMIT = 30
_JPEG = b"\xff\xd8" + bytes(9_000) + b"\xff\xd9"


def rounds(options: Options) -> int:
    """Fifty databases a round."""
    return -(-options.damages // DAMAGES_A_ROUND)


def play(number: int, folder: Path, options: Options) -> Round:
    """Damage databases and hold what is left against what was there."""
    random = chance(options, "damage", number)
    count = min(DAMAGES_A_ROUND, options.damages - number * DAMAGES_A_ROUND)
    counts = dict.fromkeys(COUNTED, 0)
    problems: list[str] = []
    with quiet():
        for turn in range(count):
            place = folder / str(turn)
            place.mkdir()
            found = _one(place, random, counts)
            problems += [f"{place}: {problem}" for problem in found]
    return Round(counts=counts, problems=tuple(problems))


def _one(folder: Path, random: Random, counts: dict[str, int]) -> list[str]:
    path = folder / "outbox.db"
    before, ever, committed = *filled(path, random), _committed(path)
    pages, cut, in_log = damaged(path, random)
    # SQLite takes the log up to there, as after a power cut.
    broken_off = in_log and (bool(damage(path)) or _committed(path) < committed)
    problems = []
    try:
        outbox = Outbox(path)
    except OutboxDamagedError as error:  # it must open, whatever was damaged
        return [f"cannot be opened: {error}"]
    with outbox:
        after = waiting_rows(outbox)
        aside = [one for one in folder.iterdir() if ".damaged-" in one.name]
        salvaged, lost = outbox.salvaged, outbox.lost
        given_out = outbox.append(EXAMPLES["Sighting"])  # type: ignore[arg-type]
    known = {row.row: row for row in before}
    came_again = [row for row in after if row.row not in known and ever.get(row.row) == row]
    counts["databases"] += 1
    counts["set aside"] += bool(aside)
    counts["broken off"] += broken_off
    counts["messages"] += len(before)
    counts["came again"] += len(came_again)
    after = [row for row in after if row not in came_again]
    counts["saved"] += len(after)
    counts["lost"] += len(before) - len(after)
    altered = sum(row != known.get(row.row) for row in after)
    counts["altered"] += altered
    if altered > _ROWS_A_PAGE * pages:
        problems.append(f"{altered} messages came out that were not put in")
    if [row.row for row in after] != sorted(row.row for row in after):
        problems.append("messages came out in another order")
    # The log's commits stand in the headers of its pages: one of those can cost a transaction.
    most = _ROWS_A_PAGE * pages + in_log * _MESSAGES_A_COMMIT
    if not cut and not broken_off and len(after) < len(before) - most:
        problems.append(f"{pages} damaged pages cost {len(before) - len(after)} messages")
    if aside and salvaged != len(after) + len(came_again):
        problems.append(f"{salvaged} are said to be saved, {len(after)} are there")
    gone = len(set(known) - {row.row for row in after})
    if not in_log and lost > gone + altered:
        problems.append(f"{lost} are said to be lost, not {gone}")
    if given_out <= max((_seq(row) for row in before), default=0):
        problems.append(f"number {given_out} was given out again")
    return problems


def filled(path: Path, random: Random) -> tuple[list[Row], dict[int, Row]]:
    """Fill an outbox with a history; give what waits in it, and all that ever did."""
    ever: dict[int, Row] = {}
    with Outbox(path, delete_seconds=0) as outbox:
        for _ in range(random.randint(1, 5)):
            for _ in range(random.randint(1, 20)):
                outbox.append_many(
                    [_message(random) for _ in range(random.randint(1, _MESSAGES_A_COMMIT))]
                )
            waiting = waiting_rows(outbox)
            ever |= {row.row: row for row in waiting}
            outbox.delete(row.row for row in waiting[: random.randint(0, len(waiting))])
        outbox.append_many([_message(random) for _ in range(_MESSAGES_A_COMMIT)])
        waiting = waiting_rows(outbox)
        # Closing would empty the log; a power cut does not.
        kept = {one: one.read_bytes() for one in path.parent.iterdir()}
    if random.random() < 0.5:
        kept = {}
    for one, content in kept.items():
        if not one.name.endswith("-shm"):
            one.write_bytes(content)
    return waiting, ever | {row.row: row for row in waiting}


def _message(random: Random) -> Sighting | Evidence:
    if random.random() < 0.1:
        return Evidence(id=new_id(), time=START, jpeg=_JPEG)
    later = START + timedelta(seconds=random.randint(0, 100_000))
    example = msgspec.structs.replace(EXAMPLES["Sighting"], id=new_id(), time=later)
    assert isinstance(example, Sighting)
    return example


def damaged(path: Path, random: Random) -> tuple[int, bool, bool]:
    """Damage the file or its log; give how many pages, whether it was cut short,
    and whether it was the log."""
    log = Path(f"{path}-wal")
    file = log if log.exists() and random.random() < 0.7 else path
    content = bytearray(file.read_bytes())
    if file is path and random.random() < 0.1:
        file.write_bytes(content[: random.randrange(len(content))])
        return 0, True, False
    pages = random.randint(1, 4)
    for _ in range(pages):
        start = random.randrange(0, max(1, len(content) - PAGE_BYTES), PAGE_BYTES)
        size = random.choice((1, 16, 512, PAGE_BYTES))
        at = start + random.randrange(PAGE_BYTES - size + 1)
        other = random.randrange(0, max(1, len(content) - size))
        content[at : at + size] = random.choice(
            (random.randbytes(size), bytes(size), bytes(content[other : other + size]))
        )[: max(0, len(content) - at)]
    file.write_bytes(content)
    return pages, False, file is log


def _committed(path: Path) -> int:
    """Count the pages in the log up to its last commit."""
    try:
        with Path(f"{path}-wal").open("rb") as file:
            return Log(file).committed
    except FileNotFoundError:
        return 0


def waiting_rows(outbox: Outbox) -> list[Row]:
    """All that waits. Damage that only shows then is repaired like damage found at the start."""
    try:
        return all_rows(outbox)
    except OutboxDamagedError:
        return all_rows(outbox)


def all_rows(outbox: Outbox) -> list[Row]:
    """All that waits, in order. Raises OutboxDamagedError."""
    rows: list[Row] = []
    while page := outbox.page(rows[-1].row if rows else 0, 1000):
        rows += page
    return rows


def _seq(row: Row) -> int:
    return msgspec.json.decode(row.payload)["seq"] if row.kind is Kind.SIGHTING else 0
