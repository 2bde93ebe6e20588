"""How a trial is judged: by frames, seconds, and the time between frames."""

from __future__ import annotations

import pytest
from there import there

from edge.config import Update
from edge.messages.updates import Probation
from edge.updates.probation import Rhythm, done, failing

SETTINGS = Update(frames=20, seconds=300.0, rate=0.5, hang_seconds=60.0)


def rhythm(frames: int, interval: float, since: float = 0.0) -> Rhythm:
    """A rhythm that has seen so many frames."""
    made = Rhythm()
    made.begin(since)
    for i in range(frames):
        made.frame(since + i * interval)
    return made


def test_the_time_between_frames_is_a_median():
    """Of the last hundred, ten at the least; a night between two frames does not move it."""
    assert rhythm(10, 2.0).interval_seconds is None
    seen = rhythm(11, 2.0)
    assert seen.interval_seconds == 2.0
    seen.frame(50_000.0)
    assert seen.interval_seconds == 2.0
    for i in range(101):
        seen.frame(60_000.0 + 5 * i)
    assert seen.interval_seconds == 5.0
    assert seen.frames == 11 + 1 + 101


def test_the_last_hundred_times_count():
    """Half of them one way, and half another: the median lies between."""
    seen = rhythm(52, 1.0)
    for i in range(50):
        seen.frame(54.0 + 3 * i)
    assert seen.interval_seconds == 2.0


def test_a_new_run_begins_from_nothing():
    """Frames, intervals and seconds; the first frame ends no interval."""
    seen = rhythm(30, 2.0)
    seen.begin(1000.0)
    assert (seen.frames, seen.interval_seconds, seen.seconds(1007.0)) == (0, None, 7.0)
    for i in range(11):
        seen.frame(1010.0 + i)
    assert seen.interval_seconds == 1.0
    assert Rhythm().seconds(5.0) == 5.0


@pytest.mark.parametrize(
    ("trial", "seen", "failures", "busy", "said"),
    [
        (Probation(), rhythm(0, 1), 0, 60.0, None),
        (Probation(), rhythm(0, 1), 0, 60.1, "it hung: 60 s on one frame"),
        (Probation(), rhythm(0, 1), 4, 0.0, None),
        (Probation(), rhythm(0, 1), 5, 0.0, "failed on 5 frames in a row"),
        (Probation(interval_seconds=1.0), rhythm(11, 2.0), 0, 0.0, None),
        (Probation(interval_seconds=1.0), rhythm(11, 2.5), 0, 0.0, "0.4 frames a second in place"),
        (Probation(interval_seconds=1.0), rhythm(10, 9.0), 0, 0.0, None),
        (Probation(), rhythm(11, 9.0), 0, 0.0, None),
    ],
)
def test_a_model_is_returned_from_when(trial, seen, failures, busy, said):
    """It hangs, fails, or gives fewer than the share of frames of the one before."""
    found = failing(trial, SETTINGS, seen, failures, busy)
    assert found is None if said is None else said in there(found)


@pytest.mark.parametrize(
    ("trial", "frames", "now", "share"),
    [
        (Probation(), 10, 300.0, 0.5),
        (Probation(), 20, 30.0, 0.1),
        (Probation(frames=5), 10, 300.0, 0.75),
        (Probation(seconds=120.0), 20, 30.0, 0.5),
        (Probation(), 20, 300.0, 1.0),
        (Probation(frames=500, seconds=9e9), 0, 0.0, 1.0),
    ],
)
def test_a_trial_takes_frames_and_seconds_over_all_runs(trial, frames, now, share):
    """Whatever of both is less far counts."""
    assert done(trial, SETTINGS, rhythm(frames, 0.1), now) == pytest.approx(share)


def test_a_trial_may_take_no_time():
    """Frames alone."""
    settings = Update(frames=20, seconds=0.0)
    assert done(Probation(), settings, rhythm(10, 0.1), 0.0) == 0.5
