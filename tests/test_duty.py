"""When a live camera works and rests, and what a power manager is told."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
from clocks import Simulated, utc
from schedules import DHAKA, schedule
from there import there

from edge.cameras import Frame
from edge.cameras.reader import Reader
from edge.cameras.triggers.duty import Duty, outlook
from edge.cameras.triggers.gate import Gate
from edge.cameras.triggers.wake import Sleep
from edge.cameras.triggers.windows import Schedule
from edge.config import DutyCycle
from edge.config.windows import Window
from edge.system.counters import Counters

Note = tuple[str, str]
"""What happened, and when."""


class Field:
    """A live camera that notes when it was opened, used and let go, until a time."""

    live, interval_seconds = True, 60.0

    def __init__(self, clock: Simulated, until: str, log: list[Note]) -> None:
        self.clock, self.until, self.log = clock, utc(until), log
        self.note("open")

    def note(self, what: str) -> None:
        """Write down what happens, and when."""
        self.log.append((what, self.clock.now().strftime("%d %H:%M")))

    def capture(self) -> Frame | None:
        """Take a picture."""
        if self.clock.now() >= self.until:
            return None
        self.note("frame")
        return Frame(np.zeros((8, 8, 3), np.uint8), self.clock.now(), "field", 8, 8, bytes)

    def close(self) -> None:
        """Let go."""
        self.note("close")


def live(clock, until, plan=None, cycle=None, file=None):
    """Run a live camera under a schedule on simulated time; give what happened and the counters."""
    log, counters = list[Note](), Counters()
    gate = Gate([], Duty(clock, plan, cycle), Sleep(file, clock, counters))
    reader = Reader(
        lambda: Field(clock, until, log), counters, gate=gate, clock=clock, wait=clock.wait
    )
    reader.start()
    while not reader.ended:
        reader.next(0.05)
    reader.close()
    return log, counters


def compact(log: list[Note]) -> list[str]:
    """Each stretch of frames as one line."""
    lines: list[tuple[str, str, int, str]] = []
    for what, when in log:
        if what == "frame" and lines and lines[-1][0] == "frame":
            _, first, count, _ = lines.pop()
            lines.append((what, first, count + 1, when))
        else:
            lines.append((what, when, 1, when))
    return [f"{w} {a}" if w != "frame" else f"{n} frames {a}..{b}" for w, a, n, b in lines]


def test_outside_all_windows_the_camera_is_let_go():
    """Two days pass at once: a frame a minute within the window, none outside."""
    clock = Simulated("2026-06-21T05:00")
    log, counters = live(clock, "2026-06-22T06:02", schedule("06:00-06:05"))
    assert compact(log) == [
        "open 21 06:00",
        "5 frames 21 06:00..21 06:04",
        "close 21 06:05",
        "open 22 06:00",
        "2 frames 22 06:00..22 06:01",
        "close 22 06:02",
    ]
    assert counters["frames_captured"] == 7
    assert counters["frames_idle"] == 0
    assert counters.noted("asleep") is None


def test_bursts_end_by_frames_or_seconds_and_the_camera_rests_between():
    """Three frames every quarter of an hour; then the same by seconds."""
    by_frames = DutyCycle(every_seconds=900, burst_frames=3, burst_seconds=600)
    log, _ = live(Simulated("2026-06-21T05:00"), "2026-06-21T05:16", cycle=by_frames)
    assert compact(log) == [
        "open 21 05:00",
        "3 frames 21 05:00..21 05:02",
        "close 21 05:02",
        "open 21 05:15",
        "1 frames 21 05:15..21 05:15",
        "close 21 05:16",
    ]
    by_seconds = DutyCycle(every_seconds=900, burst_seconds=115)
    log, _ = live(Simulated("2026-06-21T05:00"), "2026-06-21T05:15", cycle=by_seconds)
    assert compact(log)[:3] == ["open 21 05:00", "2 frames 21 05:00..21 05:01", "close 21 05:02"]


def test_bursts_happen_within_windows_only_and_each_window_begins_with_one(tmp_path):
    """The burst that would fall behind the window's end is not waited for: the next window is."""
    clock, file = Simulated("2026-06-21T06:00"), tmp_path / "wake.json"
    cycle = DutyCycle(every_seconds=600, burst_frames=1, burst_seconds=300)
    duty = Duty(clock, schedule("06:00-06:15"), cycle)
    assert duty.rest() is None
    duty.captured()
    clock.seconds = 5
    assert there(duty.rest())[1:] == (utc("2026-06-21T06:10"), "next burst")
    clock.seconds = 600
    assert duty.rest() is None
    duty.captured()
    rest = there(duty.rest())
    assert (rest.wake, rest.why) == (utc("2026-06-22T06:00"), "window 06:00-06:15")
    clock.seconds = 86400 + 60
    assert duty.rest() is None
    assert not file.exists()


def test_an_unset_clock_keeps_the_windows_open_until_it_is_set():
    """Too many pictures rather than none; set once, it is trusted also when NTP is away again."""
    clock = Simulated("1970-01-01T00:00", "unsynced")
    duty = Duty(clock, schedule("06:00-07:00"))
    assert duty.rest() is None
    clock.start = utc("2026-06-21T05:00")
    for clock.is_ in ("rtc", "synced", "holdover"):
        assert there(duty.rest()).seconds == 3600


def test_windows_by_the_sun_are_open_while_the_place_is_unknown():
    """A camera that waits for its first position works meanwhile."""
    places = [None, DHAKA]
    plan = Schedule([Window("sunrise..sunset")], None, lambda: places[0])
    duty = Duty(Simulated("2026-06-21T18:00"), plan)
    assert duty.rest() is None
    places.pop(0)
    assert there(duty.rest()).why == "window sunrise..sunset"


def test_the_outlook_says_what_the_windows_do_now():
    """For `wheatear check`, in UTC; with an unset clock or an unknown place, why all are open."""
    clock = Simulated("2026-06-21T05:00")
    assert outlook(schedule("06:00-07:00"), clock) == (
        "closed until 2026-06-21 06:00 UTC: 06:00-07:00"
    )
    assert outlook(schedule("04:00-07:00"), clock).startswith("open until 2026-06-21 07:00 UTC")
    assert "until the place is known" in outlook(schedule("sunrise..sunset"), clock)
    never = schedule("sunrise..00:30", zone="Asia/Dhaka", place=DHAKA)
    assert "look at trigger.windows" in outlook(never, clock)
    clock.is_ = "unsynced"
    assert "until the clock is set" in outlook(schedule("06:00-07:00"), clock)


def test_the_next_burst_waits_for_no_clock_and_counts_suspended_time():
    """Setting the clock changes nothing; a computer that was suspended is not late."""
    clock = Simulated("2026-06-21T05:00", "unsynced")
    duty = Duty(clock, None, DutyCycle(every_seconds=900, burst_frames=1, burst_seconds=60))
    assert duty.rest() is None
    duty.captured()
    clock.start += timedelta(days=3650)
    assert there(duty.rest()).seconds == 900
    clock.start -= timedelta(days=9000)
    clock.asleep = 890.0
    assert there(duty.rest()).seconds == 10
    clock.asleep = 900.0
    assert duty.rest() is None


def test_the_wake_file_is_whole_while_the_camera_sleeps_and_gone_while_it_works(tmp_path):
    """UTC and seconds, the reason, the clock's quality; what a run before left is removed."""
    clock, counters, file = Simulated("2026-06-21T05:00"), Counters(), tmp_path / "wake.json"
    file.write_text("old")
    sleep = Sleep(file, clock, counters)
    assert not file.exists()
    duty = Duty(clock, schedule("06:00-07:00"))
    sleep.begin(there(duty.rest()))
    assert json.loads(file.read_text()) == {
        "schema": 1,
        "written": "2026-06-21T05:00:00Z",
        "clock": "synced",
        "wake": "2026-06-21T06:00:00Z",
        "seconds": 3600.0,
        "why": "window 06:00-07:00",
    }
    assert counters.noted("asleep") == "until 2026-06-21 06:00:00 UTC: window 06:00-07:00"
    written = file.stat().st_mtime_ns
    clock.seconds += 10
    sleep.begin(there(duty.rest()))
    assert file.stat().st_mtime_ns == written  # not once every step of the same rest
    sleep.end()
    assert list(tmp_path.iterdir()) == []


def test_a_wake_file_that_cannot_be_written_is_said_and_the_camera_sleeps_anyway(tmp_path, caplog):
    """Logged once; health names it; written as soon as it can be."""
    clock, counters = Simulated("2026-06-21T05:00"), Counters()
    sleep = Sleep(tmp_path / "none" / "wake.json", clock, counters)
    for wake in ("06:00-07:00", "08:00-09:00"):
        sleep.begin(there(Duty(clock, schedule(wake)).rest()))
    assert counters.problems()[0].startswith("trigger.wake_file: cannot write ")
    assert [r.levelname for r in caplog.records].count("WARNING") == 1
    (tmp_path / "none").mkdir()
    sleep.begin(there(Duty(clock, schedule("10:00-11:00")).rest()))
    assert counters.problems() == ()
