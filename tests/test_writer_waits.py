"""How long the writer waits: for more, after an error, at the end; on clocks that do not run."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import pytest
from samples import sighting

from edge.errors import OutboxError
from edge.outbox.outbox import Outbox
from edge.outbox.writer import Writer
from edge.system.counters import Counters


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

    def is_alive(self) -> bool:
        """Be a thread that hangs."""
        return True

    def join(self, seconds: float) -> None:
        """Wait for the thread that hangs."""
        self.wait(seconds)


class Asked(threading.Condition):
    """A condition on which nothing is waited for; `met` says whether what was asked for was so."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self._waits, self.met = waits, list[bool]()
        self.meanwhile: Callable[[], None] = lambda: None

    def wait_for(self, predicate, timeout=None):
        """Let the time pass at once."""
        self.met.append(bool(predicate()))
        self._waits.wait(timeout)
        self.meanwhile()
        self.met.append(bool(predicate()))
        return self.met[-1]


@pytest.fixture
def waits(monkeypatch) -> Waits:
    """A clock in place of the computer's."""
    made = Waits()
    monkeypatch.setattr(time, "monotonic", made.monotonic)
    return made


@pytest.fixture
def writer(tmp_path, waits):  # noqa: ARG001  # its clock
    """A writer that was not started; its commits are to come every two seconds."""
    with Outbox(tmp_path / "o.db") as outbox:
        yield Writer(outbox, lambda: None, Counters(), 2.0)


def test_more_is_waited_for_ten_times_as_long_after_a_commit(writer, waits):
    """As often as is asked for where the last one was long ago."""
    assert writer._gathering_seconds() == 2.0
    assert writer._commit([sighting()])
    assert writer._gathering_seconds() == 20.0
    waits.now += 15
    assert writer._gathering_seconds() == 5.0
    waits.now += 4
    assert writer._gathering_seconds() == 2.0


@pytest.mark.parametrize(
    ("left", "failing", "seconds"), [(False, False, 7.5), (True, True, 7.5), (True, False, 242.5)]
)
def test_a_disk_that_hangs_is_waited_for_longer_than_one_that_refuses(
    writer, waits, left, failing, seconds
):
    """In steps of a second; where nothing is left, the thread gets five seconds to end."""
    if left:
        assert writer.submit([sighting()])
    if failing:
        writer._trouble.failed(OutboxError("read only"))
    writer._thread = waits
    writer.close(2.5)
    assert sum(waits.all) == seconds
    assert set(waits.all) == {1.0, 0.5}
    assert waits.all.count(0.5) == 1


def test_a_hanging_commit_that_ends_leaves_five_seconds(writer, waits):
    """For the thread to end itself."""
    writer.submit([sighting()])
    writer._thread = waits
    until = waits.now + 30

    def join(seconds: float) -> None:
        waits.wait(seconds)
        if waits.now >= until:
            writer._waiting.clear()

    waits.join = join
    writer.close(0)
    assert sum(waits.all) == 34


def test_a_disk_that_refuses_is_tried_less_and_less_often(writer, waits, monkeypatch):
    """Up to half a minute; five times a second when the device is to stop, at once from then."""
    monkeypatch.setattr(random, "random", lambda: 1.0)
    writer._change = Asked(waits)
    for limit in (0.5, 1, 2, 4, 8, 16, 30, 30):
        writer._pause()
        assert waits.all[-1] == limit
    assert not any(writer._change.met)
    writer._closing = True
    writer._pause()
    assert waits.all[-1] == 0.2
    assert not any(writer._change.met)
    writer._closing = False
    assert writer._commit([sighting()])
    writer._pause()
    assert waits.all[-1] == 0.5
    writer._change.meanwhile = lambda: setattr(writer, "_closing", True)
    writer._pause()
    assert writer._change.met[-2:] == [False, True]


def test_the_end_is_waited_for_while_more_is(writer, waits):
    """What may wait is done at once where nothing is written; the end keeps nothing waiting."""
    steps = [
        lambda: None,  # and it tidies
        lambda: writer._waiting.append(sighting()),
        lambda: setattr(writer, "_closing", True),
        lambda: None,
    ]
    writer._change = asked = Asked(waits)
    asked.meanwhile = lambda: steps.pop(0)()
    writer._run()
    assert waits.all == [5.0, 5.0, 2.0, 5.0]
    assert asked.met[2:6] == [False, True, False, True]
    assert writer.unwritten == ()


def test_a_commit_that_the_disk_refuses_is_waited_after(writer, waits, monkeypatch):
    """Before the next."""
    monkeypatch.setattr(random, "random", lambda: 1.0)
    steps = [
        lambda: writer._waiting.append(sighting()),
        lambda: writer._outbox.close(),
        lambda: None,
        lambda: None,
        lambda: setattr(writer, "_closing", True),
    ]
    writer._change = asked = Asked(waits)
    asked.meanwhile = lambda: steps.pop(0)()
    writer._run()
    assert waits.all == [5.0, 2.0, 0.5, 5.0, 2.0]


def test_no_wait_is_longer_than_is_asked_for(tmp_path, waits):
    """Not even the first."""
    with Outbox(tmp_path / "o.db") as outbox:
        writer = Writer(outbox, lambda: None, Counters(), retry_max_seconds=0.1)
        writer._change = Asked(waits)
        for _ in range(3):
            writer._pause()
            assert 0.05 <= waits.all[-1] <= 0.1
