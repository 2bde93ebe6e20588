"""An error in the middle of what the outbox does, wherever it comes: tried again, all is well."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
from samples import drain, image, sighting, stored

import edge
from edge.messages.sighting import Evidence, Sighting
from edge.outbox.outbox import Depth, Outbox
from edge.outbox.rows import Kind, Row

NOW = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
OURS = tuple(
    str(Path(edge.__file__).with_name("outbox") / f"{name}.py")
    for name in ("outbox", "append_attempt", "file", "counts")
)


def failing(number: int, work: Callable[[], object]) -> bool:
    """Do something; memory runs out when the outbox makes this call. False: it makes fewer."""
    before, left = sys.gettrace(), number

    def trace(frame, event, value):
        nonlocal left
        if before is not None:
            before(frame, event, value)
        if frame.f_code.co_filename not in OURS:
            return None
        left -= event == "call"
        if event == "call" and left == 0:
            raise MemoryError
        return trace

    sys.settrace(trace)
    try:
        work()
    except MemoryError:
        return True
    finally:
        sys.settrace(before)
    return False


def each_call(work: Callable[[], object]) -> Iterator[int]:
    """Do something again and again, and let another call fail each time, until none does."""
    number = 1
    while failing(number, work):
        yield number
        number += 1
    assert number > 5


def begun(event: str) -> Sighting:
    """Make the first message of a life."""
    return msgspec.structs.replace(sighting("mite", NOW), phase="begin", event=event)


def single(label: str) -> Sighting:
    """Make a message of no life."""
    return msgspec.structs.replace(sighting(label, NOW), phase="single")


def check(outbox: Outbox, rows: list[Row]) -> None:
    """See that what the outbox says of itself is what is in it."""
    assert outbox.page(limit=1000) == rows
    assert outbox.depth() == Depth(len(rows), stored(rows))


def test_an_append_that_fails_anywhere_is_written_once(tmp_path):
    """With what came meanwhile, under numbers without a gap; counts, lives and hours are right."""
    messages: list[Sighting] = []
    with Outbox(tmp_path / "o.db") as outbox:

        def append() -> None:
            messages[:] = [begun(f"e{outbox.appended}"), single("ant")]
            outbox.append_many(messages)

        seq, lives = 0, []
        for at in each_call(append):
            messages.append(single("bee"))
            assert outbox.append_many(messages) == [seq + 1, seq + 2, seq + 3], at
            lives.append(messages[0].event)
            seq += 3
            rows = outbox.page(limit=1000)
            assert [json.loads(row.payload)["seq"] for row in rows] == list(range(1, seq + 1)), at
            check(outbox, rows)
            assert outbox.appended == seq, at
            assert [life.event for life in outbox.lives()] == lives, at
            (hour,) = outbox.hours(NOW)
            assert hour.labels == {"mite": seq // 3, "ant": seq // 3, "bee": seq // 3}, at
        rows, hours = outbox.page(limit=1000), outbox.hours(NOW)
    with Outbox(tmp_path / "o.db") as outbox:
        check(outbox, rows)
        assert outbox.hours(NOW) == hours


def test_what_an_append_that_fails_drops_is_counted_once(tmp_path):
    """Pictures make room, and every one of them is told."""
    with Outbox(tmp_path / "o.db", max_bytes=20_000) as outbox:
        messages: list[Evidence] = []

        def append() -> None:
            messages[:] = [image(9_000)]
            outbox.append_many(messages)

        for at in each_call(append):
            outbox.append_many(messages)
            rows = outbox.page()
            check(outbox, rows)
            assert len(rows) + outbox.dropped[Kind.IMAGE] == at
        assert outbox.dropped[Kind.IMAGE] > 5


def test_a_deletion_that_fails_anywhere_is_made_good(tmp_path):
    """What was taken for delivered is neither given again nor counted twice."""
    with Outbox(tmp_path / "o.db", delete_seconds=0) as outbox:
        outbox.append_many([sighting() for _ in range(200)])
        for at in each_call(lambda: outbox.delete([outbox.page(limit=1)[0].row])):
            left = outbox.page(limit=1000)
            if at % 2:
                outbox.tidy()
            outbox.delete([])
            assert outbox.page(limit=1000) == left, at
            check(outbox, left)
        left = outbox.page(limit=1000)
        assert len(left) < 190
    with Outbox(tmp_path / "o.db") as outbox:
        check(outbox, left)


def test_rewriting_that_fails_anywhere_is_done_or_not(tmp_path):
    """Rows, hours and bytes tell the same story; tried again, all has the new time."""
    later = NOW + timedelta(hours=2)
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append_many([single("ant") for _ in range(3)])

        def rewrite() -> None:
            rows = outbox.page()
            times = (later, NOW) if rows[0].time_ms == int(NOW.timestamp() * 1000) else (NOW, later)
            changes = [
                (row, msgspec.structs.replace(json_sighting(row), time=times[0])) for row in rows
            ]
            outbox.rewrite(changes)

        for at in each_call(rewrite):
            outbox.tidy()
            rows = outbox.page()
            check(outbox, rows)
            hours = Counter(row.time_ms // 3_600_000 for row in rows)
            assert len(hours) == 1, at
            told = {
                int(one.hour.timestamp()) // 3600: one.labels["ant"] for one in outbox.hours(later)
            }
            assert told == hours, at
        assert drain(outbox) == [1, 2, 3]


def json_sighting(row: Row) -> Sighting:
    """Read one."""
    return msgspec.json.decode(row.payload, type=Sighting)


def test_a_stop_after_an_append_that_failed_anywhere_leaves_all_counted(tmp_path):
    """Nobody tried again: it is there with all its messages, or with none."""
    number, again = 0, True
    while again:
        number += 1
        with Outbox(tmp_path / f"{number}.db", max_bytes=20_000) as outbox:
            outbox.append(image(18_000))
            again = failing(number, partial(outbox.append_many, [single("a"), image(9_000)]))
        with Outbox(tmp_path / f"{number}.db") as outbox:
            rows = outbox.page()
            assert [row.row for row in rows] in ([1], [2, 3]), number
            check(outbox, rows)
            assert outbox.append(single("b")) == len(rows), number
    assert number > 5
