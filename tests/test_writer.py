"""The writer thread, over an outbox that refuses, delays and breaks as it is told."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator

import msgspec
import pytest
from samples import drain, health, image, sighting
from there import there

from edge.errors import OutboxError, OutboxFullError, UnwritableError
from edge.messages.sighting import Sighting
from edge.outbox.outbox import Outbox
from edge.outbox.writer import Writer, next_batch
from edge.system.counters import Counters


def phase(of: str) -> Sighting:
    """Make a message of a life, or a single one."""
    return msgspec.structs.replace(sighting(), phase=of)


class Scripted(Outbox):
    """An outbox whose next appends and tidyings fail with these, if anything."""

    def __init__(self, path) -> None:
        super().__init__(path)
        self.errors: deque[Exception] = deque()
        self.tidy_errors: deque[Exception] = deque()
        self.batches: list[int] = []
        self.tidied = threading.Event()
        self.may_go = threading.Event()
        self.may_go.set()
        self.waits = threading.Event()
        self.opened = False
        self.lies: str | None = None
        self.no_room: str | None = None

    def append_many(self, messages):
        """Fail as told, or write."""
        self.batches.append(len(messages))
        self.waits.set()
        assert self.may_go.wait(20)
        if self.errors:
            raise self.errors.popleft()
        return super().append_many(messages)

    @property
    def full(self) -> str | None:
        """Say what was told, until it is tidied."""
        return self.no_room

    def tidy(self):
        """Fail as told, or do what is due."""
        self.tidied.set()
        if self.tidy_errors:
            raise self.tidy_errors.popleft()
        opened, self.no_room = super().tidy(), None
        return opened or self.opened

    def astray(self):
        """The sentence that the test set."""
        return self.lies


@pytest.fixture
def outbox(tmp_path) -> Iterator[Scripted]:
    """One that does as it should until it is told otherwise."""
    with Scripted(tmp_path / "o.db") as outbox:
        yield outbox


@pytest.fixture
def counters() -> Counters:
    """Counters of a program."""
    return Counters()


@pytest.fixture
def start(outbox, counters) -> Iterator[Callable[..., Writer]]:
    """Make writers, and end them."""
    made: list[Writer] = []

    def start(committed=lambda: None, **settings) -> Writer:
        made.append(
            Writer(
                outbox,
                committed,
                counters,
                **{"commit_seconds": 0, "retry_max_seconds": 0.01} | settings,
            )
        )
        made[-1].start()
        return made[-1]

    yield start
    outbox.may_go.set()
    for writer in made:
        writer.close(0.1)


def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    again = threading.Event()
    for _ in range(4000):
        if condition():
            return
        again.wait(0.005)
    raise AssertionError("it never was")


def test_what_is_written_together_is_half_a_megabyte():
    """Pictures by their bytes, all else by a thousand; always one message at least."""
    assert next_batch([]) == []
    assert len(next_batch([image(600_000), image(1)])) == 1
    assert len(next_batch([image(500_000), image(1)])) == 1
    assert len(next_batch([image(499_999), image(1), image(1)])) == 2
    assert len(next_batch([health()] * 600)) == 500
    assert len(next_batch([image(1_000), *[health()] * 600])) == 500
    assert len(next_batch([sighting(), image(5), health()])) == 3
    assert len(next_batch([image(498_999), health(), image(1)])) == 3
    assert len(next_batch([image(499_000), health(), image(1)])) == 2


def test_a_thousand_messages_wait_in_memory_and_then_whoever_brings_more(outbox, counters):
    """None of what there was no room for is taken."""
    writer = Writer(outbox, lambda: None, counters)
    assert writer.submit([health()] * 999, 0)
    assert not writer.flush(0)
    assert writer.submit([health()], 0)
    assert not writer.submit([health()], 0)
    assert len(writer.unwritten) == 1000


def test_the_newest_sighting_on_disk_is_no_update_of_an_earlier_one(outbox, start):
    """It has its number."""
    writer = start()
    assert writer.latest is None
    for messages, latest in (
        ([phase("single"), phase("begin"), phase("update"), health(), phase("end")], 2),
        ([phase("update"), image()], 2),
        ([phase("single"), health()], 6),
    ):
        writer.submit(messages)
        assert writer.flush(20)
        newest: Sighting | None = writer.latest
        assert there(newest).seq == latest
    assert drain(outbox) == [1, 2, 3, 4, 5, 6]


def test_a_commit_under_way_is_not_on_disk(outbox, start):
    """Whoever waits for it goes on when it is."""
    writer = start()
    outbox.may_go.clear()
    writer.submit([sighting()])
    assert outbox.waits.wait(20)
    assert not writer.flush(0.01)
    assert len(writer.unwritten) == 1
    outbox.may_go.set()
    assert writer.flush(20)
    assert writer.unwritten == ()


def test_a_disk_that_refuses_is_told_until_it_does_not(outbox, start, counters):
    """Whoever is to send is woken for what is committed, not for what is not."""
    told: list[int] = []
    writer = start(lambda: told.append(len(outbox.batches)))
    outbox.errors.extend([OutboxFullError("no room")] * 3)
    outbox.may_go.clear()
    writer.submit([sighting()])
    assert outbox.waits.wait(20)
    outbox.may_go.set()
    assert writer.flush(20)
    until(lambda: told)
    assert told == [4]
    assert counters.errors() == {"OutboxFullError": 3}
    assert counters.problems() == ()
    assert drain(outbox) == [1]


def test_what_fails_five_times_in_a_row_unexpectedly_ends_the_writer(outbox, start, counters):
    """A new start may cure it; four times may be bad luck, and what comes right begins anew."""
    writer = start()
    for _ in range(2):
        outbox.errors.extend(RuntimeError("odd") for _ in range(4))
        writer.submit([sighting()])
        assert writer.flush(20)
    assert counters.crew.ended is None
    assert counters.errors() == {"RuntimeError": 8}
    assert drain(outbox) == [1, 2]
    outbox.errors.extend(RuntimeError("odd") for _ in range(5))
    writer.submit([sighting()])
    until(lambda: counters.crew.ended)
    assert len(writer.unwritten) == 1


def test_who_is_to_be_woken_and_is_not_is_woken_again(start, counters):
    """Nobody looks for what was committed else."""
    left = [RuntimeError("not now")] * 4
    woken = threading.Event()

    def wake() -> None:
        if left:
            raise left.pop()
        woken.set()

    writer = start(wake)
    for _ in range(2):
        left[:] = [RuntimeError("not now")] * 4
        woken.clear()
        writer.submit([sighting()])
        assert woken.wait(20)
        assert writer.flush(20)
    until(lambda: not counters.problems())
    assert counters.errors() == {"RuntimeError": 8}
    assert counters.crew.ended is None
    left[:] = [RuntimeError("never")] * 9
    writer.submit([sighting()])
    until(lambda: counters.crew.ended)


def test_while_nothing_is_written_the_outbox_does_what_may_wait(
    outbox, start, counters, monkeypatch
):
    """What fails is told under its name, and forgotten when it works; a full disk is the disk's."""
    monkeypatch.setattr("edge.outbox.writer._TIDY_SECONDS", 0.01)
    told = threading.Event()
    start(told.set)
    assert outbox.tidied.wait(20)
    assert not told.is_set()
    for error, name in ((ValueError("odd"), "deleting what was"), (OutboxFullError("f"), "outbox")):
        seen: list[str] = []
        outbox.tidy_errors.extend([error] * 9)

        def fails(seen: list[str] = seen) -> list[str]:
            seen.extend(counters.problems())
            return seen

        until(fails)
        assert seen[0].startswith(name)
        until(lambda: not counters.problems())
    outbox.no_room = "no room"
    outbox.tidy_errors.append(OutboxFullError("no room"))
    until(lambda: not counters.problems() and outbox.full is None)
    assert not told.is_set()
    outbox.opened = True
    assert told.wait(20)


def test_an_outbox_that_lies_elsewhere_is_told_while_it_does(outbox, start, counters, monkeypatch):
    """Found by a commit, and by a look between."""
    writer = start()
    outbox.lies = "it was moved"
    writer.submit([sighting()])
    assert writer.flush(20)
    assert "it was moved" in counters.problems()[0]
    outbox.lies = None
    writer.submit([sighting()])
    assert writer.flush(20)
    assert counters.problems() == ()
    monkeypatch.setattr("edge.outbox.writer._TIDY_SECONDS", 0.01)
    outbox.lies = "it was moved"
    writer.submit([sighting()])
    until(counters.problems)
    outbox.lies = None
    until(lambda: not counters.problems())


def test_a_disk_that_was_full_at_the_start_is_told_before_anything_is_written(outbox, counters):
    """And not where it was not."""
    writers = [Writer(outbox, lambda: None, counters, 0)]
    writers[0].start()
    assert counters.problems() == ()
    outbox.no_room = "no room"
    writers.append(Writer(outbox, lambda: None, counters, 0))
    writers[1].start()
    assert counters.problems() == ("outbox: no room",)
    for writer in writers:
        writer.close(0)


def test_what_could_not_be_written_is_named_once(outbox, start, caplog):
    """When the writer ends; a second end says nothing."""
    writer = start()
    outbox.errors.extend([OutboxError("read only")] * 1000)
    one, two = sighting("mite"), image()
    writer.submit([one, two])
    assert outbox.waits.wait(20)
    writer.close(0)
    told = len([one for one in caplog.records if "not written" in one.getMessage()])
    writer.close(0)
    assert told == 2
    said = [one.getMessage() for one in caplog.records if "not written" in one.getMessage()]
    assert said == [
        f"not written to disk: sighting {one.id} mite",
        f"not written to disk: evidence {two.id}",
    ]
    assert [one.levelno for one in caplog.records if "not written" in one.getMessage()] == [
        logging.ERROR
    ] * 2


def test_what_fails_before_and_after_a_commit_is_counted_apart(outbox, start, counters):
    """A commit that works, and somebody who is woken, begin anew."""
    left: list[Exception] = []
    woken = threading.Event()

    def wake() -> None:
        if left:
            raise left.pop()
        woken.set()

    writer = start(wake)
    for _ in range(2):
        outbox.errors.extend(RuntimeError("odd") for _ in range(4))
        left[:] = [RuntimeError("not now")] * 4
        woken.clear()
        writer.submit([sighting()])
        assert woken.wait(20)
    assert writer.flush(20)
    assert counters.crew.ended is None
    assert drain(outbox) == [1, 2]


class Told(threading.Condition):
    """One that says when somebody was told of a change."""

    def __init__(self) -> None:
        super().__init__()
        self.told = threading.Event()

    def notify_all(self) -> None:
        """Tell, and say so."""
        super().notify_all()
        self.told.set()


def test_a_disk_that_takes_its_time_at_the_end_gets_all_batches(outbox, start, monkeypatch):
    """It refuses nothing: the time is for those that do."""
    change = Told()
    monkeypatch.setattr("edge.outbox.writer.Condition", lambda: change)
    writer = start()
    outbox.may_go.clear()
    writer.submit([image(600_000)] * 3)
    assert outbox.waits.wait(20)
    change.told.clear()
    closing = threading.Thread(target=writer.close, args=[20])
    closing.start()
    assert change.told.wait(20)
    outbox.may_go.set()
    assert writer.flush(20)
    closing.join()
    assert outbox.batches == [1, 1, 1]


def test_what_was_submitted_before_the_end_is_written(outbox, start, counters):
    """Without waiting for more, and trying again as long as there is time."""
    writer = start(commit_seconds=100)
    outbox.errors.extend([OutboxError("busy")] * 2)
    writer.submit([sighting(), health()])
    writer.close(20)
    assert writer.unwritten == ()
    assert outbox.batches == [2, 2, 2]
    assert counters.crew.ended is None
    assert drain(outbox) == [1]


def test_only_a_sighting_that_cannot_be_written_is_counted_as_lost(outbox, start, counters):
    """A picture is no sighting; both are told."""
    handed: list[tuple[object, UnwritableError]] = []
    writer = start(unwritable=lambda *both: handed.append(both))
    bad = [
        msgspec.structs.replace(image(), id="a\udcff"),
        msgspec.structs.replace(sighting(), time=None),
    ]
    writer.submit([sighting(), *bad, sighting()])
    assert writer.flush(20)
    assert [one for one, _ in handed] == bad
    assert all(error.message is one for one, error in handed)
    assert counters["sightings_lost"] == 1
    assert counters.errors() == {"UnwritableError": 2}
    assert counters.problems()[0].startswith("unwritable: ")
    assert drain(outbox) == [1, 2]
