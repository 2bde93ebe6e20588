"""How fast a download has to be, by a clock that is set by hand."""

from __future__ import annotations

import pytest

from edge.config import Update
from edge.errors import StoppedError, UnreachableError, UpdateExpiredError
from edge.updates.download_pace import BrokenError, Pace, SlowError

LIMITS = Update(
    timeout_seconds=30.0,
    least_bytes_per_second=50.0,
    least_window_seconds=60.0,
    download_seconds=1000.0,
)


class Hand:
    """A pace and its clock."""

    def __init__(self, stop=lambda: False, spent=0.0, limits=LIMITS):
        self.seconds = 5000.0
        self.pace = Pace(limits, stop, spent, lambda: self.seconds)
        self.pace.begin(1_000_000)

    def flow(self, seconds, count):
        """Let time pass, have bytes come, look."""
        self.seconds += seconds
        if count:
            self.pace.got(count)
        self.pace.check_flow()


def test_what_is_fast_enough_goes_on():
    """Exactly the lowest rate, window after window; a byte less in one of them ends it."""
    hand = Hand()
    for _ in range(10):
        hand.flow(30.0, 1500)
        hand.flow(30.0, 1500)
    hand.flow(30.0, 1500)
    with pytest.raises(SlowError, match=r"2999 bytes in 60 s"):
        hand.flow(30.0, 1499)


def test_what_is_slower_ends_with_its_window():
    """Not before; each window counts for itself, whatever came earlier."""
    hand = Hand()
    hand.flow(1.0, 100_000)
    hand.flow(29.0, 1)
    hand.flow(29.0, 1)
    hand.flow(1.0, 1)
    for _ in range(2):
        hand.flow(29.0, 1)
    with pytest.raises(SlowError, match=r"3 bytes in 60 s .* = 50"):
        hand.flow(2.0, 1)


def test_the_lowest_rate_is_for_the_time_that_passed():
    """A look that comes late asks for more bytes; one byte less than asked for is too slow."""
    hand = Hand()
    hand.flow(29.0, 1)
    hand.flow(29.0, 2998)
    with pytest.raises(SlowError):
        hand.flow(2.0, 0)
    hand = Hand()
    hand.flow(29.0, 1)
    hand.flow(29.0, 2999)
    hand.flow(2.0, 0)


def test_silence_ends_an_attempt():
    """After its seconds; a new attempt begins with new ones."""
    hand = Hand()
    hand.flow(29.9, 0)
    with pytest.raises(BrokenError, match="30 s without a byte"):
        hand.flow(0.1, 0)
    hand.pace.begin(10)
    hand.flow(29.9, 0)
    hand.flow(0.1, 9)
    hand.flow(29.9, 0)


def test_more_bytes_than_an_answer_has_are_final():
    """Room is given for the head, then for the body."""
    hand = Hand()
    hand.pace.begin(10)
    hand.pace.got(10)
    hand.pace.widen(5)
    hand.pace.got(5)
    with pytest.raises(UnreachableError, match="too much for an answer"):
        hand.pace.got(1)


def test_the_whole_has_its_seconds_those_of_earlier_runs_included():
    """Attempts give no new ones."""
    hand = Hand(spent=400.0)
    hand.seconds += 599.9
    hand.pace.begin(10)
    hand.pace.check()
    hand.seconds += 0.1
    with pytest.raises(UpdateExpiredError, match="download_seconds = 1000"):
        hand.pace.check()
    assert not hand.pace.stopped


def test_a_download_begins_with_all_of_its_seconds():
    """Where no earlier run is told of; what a server sends before it is asked is too much."""
    seconds = [0.0]
    pace = Pace(LIMITS, lambda: False, now=lambda: seconds[0])
    seconds[0] = 999.5
    pace.check()
    with pytest.raises(UnreachableError):
        pace.got(1)


def test_an_attempt_that_broke_off_says_why_and_for_how_long_to_rest():
    """Not at all, unless it is said."""
    assert (str(BrokenError("busy", 5.0)), BrokenError("busy", 5.0).rest_seconds) == ("busy", 5.0)
    assert BrokenError("busy").rest_seconds == 0.0


def test_a_stop_comes_before_all():
    """And is remembered."""
    stops = [False]
    hand = Hand(stop=lambda: stops[0])
    hand.pace.check()
    stops[0] = True
    hand.seconds += 9999
    with pytest.raises(StoppedError):
        hand.pace.check_flow()
    assert hand.pace.stopped
