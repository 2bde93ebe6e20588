"""Jumps of the clock, and how far it can be trusted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from clocks import Field
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.system.clock import Errors, SystemClock, describe, kernel_time


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(2, 10_000), st.integers(-(10**8), 10**8).filter(lambda s: abs(s) > 60)
        ),
        min_size=1,
        max_size=5,
    )
)
def test_a_time_is_told_anew_after_jumps_in_both_directions(history):
    """Whatever the clock did, a time it gave is found again in seconds since the start.

    Where it showed the same time twice, give or take the second in which a jump is noticed, the
    later of the two counts.
    """
    clock = Field(timedelta(0))
    given_out = []
    for seconds, jump in history:
        for _ in range(2):
            clock.booted()
            given_out.append((clock.now(), clock.seconds))
            clock.seconds += seconds / 2
        clock.booted()
        clock.wrong_by += timedelta(seconds=jump)
    clock.booted()
    assert clock.steps == len(history)
    assert clock.last_step_seconds == history[-1][1]
    for moment, seconds in given_out:
        found = clock.seconds_since_boot(moment)
        assert clock.restated(moment) == clock.booted() + timedelta(seconds=found)
        if len(history) == 1 and seconds < clock.seconds + history[0][1] - 1:  # shown once
            assert found == pytest.approx(seconds, abs=1e-3)


def test_a_time_is_left_as_it_is_while_the_clock_does_not_jump():
    """To the microsecond; and slewing is no jump."""
    clock = Field()
    moment = clock.now()
    clock.seconds += 5000.123
    clock.wrong_by += timedelta(seconds=0.1)
    assert clock.restated(moment) == moment
    assert clock.steps == 0


def test_the_systems_clock_survives_without_any_source(tmp_path):
    """Where no file says more, the kernel's word counts; errors are seconds or not known."""
    clock = SystemClock(tmp_path)
    assert clock.quality() == ("synced" if kernel_time().synced else "unsynced")
    before = clock.since_boot()
    found = (clock.now() - clock.booted()).total_seconds()
    spent = clock.since_boot() - before
    assert abs(found - before) <= spent + 0.01
    for error in (clock.errors().estimated, clock.errors().largest):
        assert error is None or 0 < error < 16


@pytest.mark.skipif(kernel_time().synced, reason="this computer's clock is synced")
@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("sys/class/rtc/rtc0/hctosys", "1\n", "rtc"),
        ("sys/class/rtc/rtc0/hctosys", "0\n", "unsynced"),
        ("run/systemd/timesync/synchronized", "", "holdover"),
    ],
)
def test_an_unsynced_clock_says_what_it_had_before(tmp_path, file, text, expected):
    """A battery-backed clock, or NTP earlier since this start, is better than nothing."""
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text)
    assert SystemClock(tmp_path).quality() == expected


def test_a_battery_backed_clock_that_shows_the_past_is_none(tmp_path):
    """Its battery is empty: a time before this program was written."""

    class Old(SystemClock):
        def now(self):
            return datetime(2024, 7, 4, tzinfo=UTC)

    (tmp_path / "sys/class/rtc/rtc0").mkdir(parents=True)
    (tmp_path / "sys/class/rtc/rtc0/hctosys").write_text("1\n")
    assert Old(tmp_path).quality() in ("unsynced", "synced")


def test_a_clock_is_described_in_words(monkeypatch):
    """How it is, how wrong, or what becomes of what is seen meanwhile."""
    clock = Field(timedelta(0), "synced")
    monkeypatch.setattr(clock, "errors", lambda: Errors(estimated=0.0004, largest=0.025))
    said = describe(clock)
    assert said == "2026-06-21 09:01:40 UTC, synced, error about 0.4 ms, at most 25.0 ms"
    clock.is_ = "unsynced"
    assert "unsynced: what still waits when NTP sets the clock" in describe(clock)
