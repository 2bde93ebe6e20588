"""How long the writer waits: for more, after an error, at the end; on clocks that do not run."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from samples import sighting
from there import there

from edge.outbox.outbox import Outbox
from edge.outbox.writer import Writer
from edge.system.counters import Counters
from edge.system.threads import Crew

Found = TypeVar("Found")


class Waits:
    """A clock that only waits move; `all` are their seconds."""

    def __init__(self) -> None:
        self.now, self.all = 1000.0, list[float]()

    def monotonic(self) -> float:
        """The time."""
        return self.now

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.all.append(seconds)
        self.now += seconds


class Asked(threading.Condition):
    """A condition whose waits take no time: each ends with the next of `steps`, if there is one.

    `met` says of each whether what was waited for was so before and after. What is so at once is
    not waited for, and nothing is by a step.
    """

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits, self._stepping = waits, False
        self.steps: list[Callable[[], object]] = []
        self.met: list[tuple[bool, bool]] = []

    def wait_for(self, predicate: Callable[[], Found], timeout: float | None = None) -> Found:
        """Let the time pass at once."""
        before = predicate()
        if before or self._stepping:
            return before
        self.waits.wait(there(timeout))
        self._stepping = True
        if self.steps:
            self.steps.pop(0)()
        self._stepping = False
        found = predicate()
        self.met.append((bool(before), bool(found)))
        return found


class Thread(threading.Thread):
    """One that is not started: the test runs its loop. It may hang; who waits for it then waits."""

    def __init__(self, waits: Waits, loop: Callable[[], object]) -> None:
        super().__init__()
        self._waits, self.loop = waits, loop
        self.hangs = False
        self.meanwhile: Callable[[], object] = lambda: None

    def is_alive(self) -> bool:
        """Whether it hangs."""
        return self.hangs

    def join(self, timeout: float | None = None) -> None:
        """Wait for it."""
        self._waits.wait(there(timeout))
        self.meanwhile()


class OneThread(Crew):
    """A crew whose one thread is not started."""

    def __init__(self, waits: Waits) -> None:
        super().__init__(lambda *_: None)
        self._waits = waits

    def worker(
        self, name: str, loop: Callable[[], object], may_end: Callable[[], bool]
    ) -> threading.Thread:
        """Make it."""
        del name, may_end
        self.thread = Thread(self._waits, loop)
        return self.thread


class Desk:
    """A writer that was not started, and what it waits on and for."""

    def __init__(self, outbox: Outbox, asked: Asked, **settings: Any) -> None:
        self.outbox, self.waits, self.asked = outbox, asked.waits, asked
        self.counters = Counters()
        self.counters.crew = crew = OneThread(asked.waits)
        self.committed: Callable[[], object] = nothing
        told = lambda: self.committed()  # noqa: E731
        self.writer = Writer(outbox, told, self.counters, **settings)
        self.thread = crew.thread

    def submit(self) -> None:
        """Have something to write."""
        assert self.writer.submit([sighting()], 0)

    def after(self, seconds: float) -> None:
        """Have something to write after a while."""
        self.waits.now += seconds
        self.submit()

    def run(self, *steps: Callable[[], object]) -> list[float]:
        """Run the thread's loop to its end; return the seconds of its waits."""
        self.asked.steps = [*steps, lambda: self.writer.close(0)]
        self.thread.loop()
        assert self.asked.steps == []
        return self.waits.all


def nothing() -> None:
    """Do nothing in this wait."""


@pytest.fixture
def waits(monkeypatch) -> Waits:
    """A clock in place of the computer's."""
    made = Waits()
    monkeypatch.setattr(time, "monotonic", made.monotonic)
    return made


@pytest.fixture
def asked(waits, monkeypatch) -> Asked:
    """What a writer made in this test waits on."""
    made = Asked(waits)
    monkeypatch.setattr("edge.outbox.writer.Condition", lambda: made)
    return made


@pytest.fixture
def desk(tmp_path, asked, connections):  # noqa: ARG001  # those of its outbox
    """A writer whose commits are to come every two seconds."""
    with Outbox(tmp_path / "o.db") as outbox:
        yield Desk(outbox, asked, commit_seconds=2.0)


def test_more_is_waited_for_ten_times_as_long_after_a_commit(desk):
    """As often as is asked for where the last one was long ago."""
    idle = 5.0
    waits = desk.run(
        desk.submit,
        nothing,
        desk.submit,
        nothing,
        lambda: desk.after(10),
        nothing,
        lambda: desk.after(14),
        nothing,
    )
    assert waits == [idle, 2.0, idle, 15.0, idle, 5.0, idle, 2.0, idle]
    assert [row.row for row in desk.outbox.page()] == [1, 2, 3, 4]


def test_what_came_during_a_commit_waits_ten_times_as_long(desk):
    """From its end."""

    def more() -> None:
        desk.committed = nothing
        desk.submit()

    desk.committed = more
    desk.submit()
    assert desk.run(nothing) == [2.0, 20.0]


@pytest.mark.parametrize(
    ("left", "failing", "seconds"), [(False, False, 7.5), (True, True, 7.5), (True, False, 242.5)]
)
def test_a_disk_that_hangs_is_waited_for_longer_than_one_that_refuses(desk, left, failing, seconds):
    """In steps of a second; where nothing is left, the thread gets five seconds to end."""
    if left:
        desk.submit()
    if failing:
        desk.counters.failing("outbox", "read only")
    desk.thread.hangs = True
    desk.writer.close(2.5)
    assert sum(desk.waits.all) == seconds
    assert set(desk.waits.all) == {1.0, 0.5}
    assert desk.waits.all.count(0.5) == 1


def test_a_hanging_commit_that_ends_leaves_five_seconds(desk, waits):
    """For the thread to end itself."""
    desk.submit()
    desk.thread.hangs = True
    until = waits.now + 30

    def ends() -> None:
        if waits.now == until:
            desk.thread.loop()
            assert desk.writer.unwritten == ()

    desk.thread.meanwhile = ends
    desk.writer.close(0)
    assert sum(waits.all) == 34


def test_a_disk_that_refuses_is_tried_less_and_less_often(desk, monkeypatch, connections):
    """Up to half a minute, and from the beginning after a commit; five times a second when the
    device is to stop, at once from then.
    """
    monkeypatch.setattr(random, "random", lambda: 1.0)
    refuse = lambda on: connections.writer.execute(f"PRAGMA query_only = {on}")  # noqa: E731
    refuse(1)
    desk.asked.steps = [
        desk.submit,
        *[nothing] * 15,
        lambda: refuse(0),
        nothing,
        lambda: (refuse(1), desk.submit()),
        nothing,
        lambda: desk.writer.close(0.9),
    ]
    desk.thread.loop()
    tries = [(2.0, pause) for pause in (0.5, 1, 2, 4, 8, 16, 30, 30)]
    waits = [5.0, *(one for pair in tries for one in pair), 2.0, 5.0, 15.0, 0.5, *[0.2] * 5]
    assert desk.waits.all == waits
    assert desk.asked.met[-6:] == [(False, True), *[(False, False)] * 5]
    assert len(desk.writer.unwritten) == 1


def test_the_end_is_waited_for_while_more_is(desk):
    """What may wait is done at once where nothing is written; the end keeps nothing waiting."""
    assert desk.run(nothing, desk.submit) == [5.0, 5.0, 2.0]
    assert desk.asked.met == [(False, False), (False, True), (False, True)]
    assert desk.writer.unwritten == ()


def test_a_commit_that_the_disk_refuses_is_waited_after(desk, monkeypatch):
    """Before the next."""
    monkeypatch.setattr(random, "random", lambda: 1.0)
    assert desk.run(desk.submit, desk.outbox.close, nothing) == [5.0, 2.0, 0.5, 2.0]


def test_no_wait_is_longer_than_is_asked_for(tmp_path, asked):
    """Not even the first."""
    with Outbox(tmp_path / "o.db") as outbox:
        desk = Desk(outbox, asked, commit_seconds=0.0, retry_max_seconds=0.1)
        pauses = desk.run(desk.submit, outbox.close, *[nothing] * 6)[2::2]
    assert len(pauses) >= 3
    assert all(0.05 <= pause <= 0.1 for pause in pauses)
