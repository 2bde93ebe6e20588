"""Threads of the device that end, and what the program makes of it."""

from __future__ import annotations

import threading

import pytest

from edge.errors import ThreadEndedError
from edge.system.counters import Counters
from edge.system.threads import Patience


def run(counters, loop, may_end=lambda: False):
    """Run a loop as a thread of the crew, to its end."""
    thread = counters.crew.worker("scout", loop, may_end)
    thread.start()
    thread.join(10)


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(24, "Too many open files"), UnicodeError("x"), SystemExit(0)]
)
def test_a_thread_that_ends_by_an_error_is_a_problem_and_an_error(error, caplog):
    """It is named with its reason, also in the log, the alarm rings, and the check fails."""
    counters, rang = Counters(), threading.Event()
    counters.crew.alarm(rang.set)

    def loop():
        raise error

    run(counters, loop)
    assert rang.is_set()
    (line,) = (one for one in caplog.records if one.levelname == "CRITICAL")
    assert line.message.startswith(f"the scout thread ends: {type(error).__name__}")
    assert line.exc_info[1] is error
    (problem,) = counters.problems()
    assert problem.startswith(f"scout thread: {type(error).__name__}")
    with pytest.raises(ThreadEndedError, match=f"the scout thread: {type(error).__name__}"):
        counters.crew.check()


def test_a_thread_that_hangs_keeps_no_program_from_ending():
    """A camera's driver may never return."""
    assert Counters().crew.worker("scout", lambda: None, lambda: True).daemon


def test_a_thread_that_just_returns_too_early_is_noticed():
    """A loop that falls out at its end without having been told to."""
    counters = Counters()
    run(counters, lambda: None)
    with pytest.raises(ThreadEndedError, match="before it was told to"):
        counters.crew.check()


def test_a_thread_that_may_end_ends_quietly():
    """The good end is none of the crew's business."""
    counters = Counters()
    run(counters, lambda: None, lambda: True)
    counters.crew.check()
    assert not counters.problems()
    assert counters.crew.ended is None


def test_an_alarm_set_too_late_rings_at_once():
    """The thread may have ended before anybody could listen."""
    counters, rang = Counters(), threading.Event()
    run(counters, lambda: None)
    counters.crew.alarm(rang.set)
    assert rang.is_set()


def test_patience_ends_with_so_many_errors_in_a_row():
    """A success between begins the count anew."""
    patience = Patience(3)
    for _ in range(2):
        patience.lost(ValueError("bad luck"))
    patience.won()
    for _ in range(2):
        patience.lost(ValueError("bad luck"))
    with pytest.raises(ValueError, match="once more"):
        patience.lost(ValueError("once more"))
