"""When the camera works: windows, bursts, requests, and what a power manager is told."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import threading
import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import devices
import numpy as np
import pytest
from brokers import Mosquitto, Subscriber
from paho.mqtt import publish
from PIL import Image
from test_agent import APHID

from edge import clock as clocks
from edge.agent import Agent
from edge.cameras import Frame
from edge.cameras.reader import Reader
from edge.config import Decision, DutyCycle, Images, load_config
from edge.counters import Counters
from edge.decision import Decider
from edge.errors import CameraError, ImageError
from edge.messages import ModelRef
from edge.sightings import Identity
from edge.triggers.capture import Capture, CaptureParams
from edge.triggers.duty import Duty, outlook
from edge.triggers.gate import Gate
from edge.triggers.sun import sun_day
from edge.triggers.wake import Sleep
from edge.triggers.windows import Schedule, parse_window

DHAKA = (23.81, 90.41)
NORTH = (70.0, 20.0)


def utc(text: str) -> datetime:
    """Read a time."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def schedule(
    *windows: str, zone: str = "UTC", place: tuple[float, float] | None = None
) -> Schedule:
    """Make a schedule."""
    return Schedule([parse_window(text) for text in windows], ZoneInfo(zone), lambda: place)


def openings(plan: Schedule, start: str, count: int, zone: str = "UTC") -> list[str]:
    """Give the next openings in local time."""
    moment, found = utc(start), []
    for _ in range(count):
        opening = plan.after(moment)
        assert opening is not None
        ends = [end.astimezone(ZoneInfo(zone)) for end in opening[:2]]
        found.append(f"{ends[0]:%m-%d %H:%M}..{ends[1]:%m-%d %H:%M}")
        moment = opening.start
    return found


# Computed with PyEphem 4.2.1 (VSOP87; horizon -0:34, no further refraction), to the second.
EPHEMERIS = [
    (DHAKA, date(2026, 6, 21), "2026-06-20T23:11:56", "2026-06-21T12:48:19"),
    ((59.91, 10.75), date(2026, 12, 21), "2026-12-21T08:18:02", "2026-12-21T14:12:04"),
    ((-33.87, 151.21), date(2026, 3, 20), "2026-03-19T19:57:57", "2026-03-20T08:06:57"),
    ((-0.18, -78.47), date(2026, 6, 21), "2026-06-21T11:12:24", "2026-06-21T23:19:05"),
]


@pytest.mark.parametrize(("place", "day", "rise", "fall"), EPHEMERIS)
def test_sunrise_and_sunset_are_those_of_an_ephemeris(place, day, rise, fall):
    """Within ten seconds, north and south, east and west."""
    sun = sun_day(day, *place)
    assert abs((sun.sunrise - utc(rise)).total_seconds()) < 10
    assert abs((sun.sunset - utc(fall)).total_seconds()) < 10


def test_times_of_day_are_local_and_run_over_midnight():
    """A window in Dhaka's time; one from evening to morning."""
    plan = schedule("06:00-10:00", "22:00-02:00", zone="Asia/Dhaka")
    assert plan.at(utc("2026-06-21T00:00")) is not None  # 06:00 in Dhaka
    assert plan.at(utc("2026-06-21T03:59:59")) is not None
    assert plan.at(utc("2026-06-21T04:00")) is None
    assert plan.at(utc("2026-06-21T19:59:59")) is not None
    assert openings(plan, "2026-06-20T12:00", 2, "Asia/Dhaka") == [
        "06-20 22:00..06-21 02:00",
        "06-21 06:00..06-21 10:00",
    ]


def test_clock_changes_move_windows_with_the_wall_clock():
    """The night of the change is an hour shorter or longer; a time that is left out comes later."""
    night = schedule("22:00-04:00", zone="Europe/Berlin")
    spring, autumn = night.after(utc("2026-03-28T12:00")), night.after(utc("2026-10-24T12:00"))
    assert spring.end - spring.start == timedelta(hours=5)
    assert autumn.end - autumn.start == timedelta(hours=7)
    gap = schedule("02:10-02:20", zone="Europe/Berlin")
    assert openings(gap, "2026-03-29T00:00", 2, "Europe/Berlin") == [
        "03-29 03:10..03-29 03:20",
        "03-30 02:10..03-30 02:20",
    ]
    twice = gap.after(utc("2026-10-24T12:00"))  # from the first 02:10 to the second 02:20
    assert twice.end - twice.start == timedelta(minutes=70)


def test_windows_that_touch_are_one():
    """A whole day has no seam at midnight."""
    plan = schedule("00:00-24:00")
    around = plan.at(utc("2026-06-21T23:59:59"))
    assert around is not None
    assert around.end > utc("2026-06-22T12:00")
    joined = schedule("06:00-08:00", "08:00-09:00").after(utc("2026-06-21T00:00"))
    assert (joined.end - joined.start, joined.text) == (
        timedelta(hours=3),
        "06:00-08:00, 08:00-09:00",
    )


def test_offsets_from_the_sun_follow_the_year():
    """Dusk in Dhaka in June and December."""
    plan = schedule("sunset-00:30..sunset+02:00", zone="Asia/Dhaka", place=DHAKA)
    assert openings(plan, "2026-06-21T00:00", 1, "Asia/Dhaka") == ["06-21 18:18..06-21 20:48"]
    assert openings(plan, "2026-12-21T00:00", 1, "Asia/Dhaka") == ["12-21 16:46..12-21 19:16"]


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("20:00..sunset", "12-21 none"),  # the sun has set before: not that day, nor 21 hours long
        ("20:00..sunrise", "12-21 20:00..12-22 09:18"),
        ("sunset..20:00", "12-21 15:12..12-21 20:00"),
        ("sunset..06:00", "12-21 15:12..12-22 06:00"),
        ("03:00..sunrise", "12-21 03:00..12-21 09:18"),
        ("sunset..sunrise", "12-21 15:12..12-22 09:18"),
        ("sunrise..sunset", "12-21 09:18..12-21 15:12"),
    ],
)
def test_times_and_the_sun_mix_by_morning_and_evening(window, expected):
    """From an evening to a morning passes midnight; nothing else with the sun does."""
    plan = schedule(window, zone="Europe/Oslo", place=(59.91, 10.75))
    opening = plan.after(utc("2026-12-20T23:00"))
    local = opening.start.astimezone(ZoneInfo("Europe/Oslo"))
    if expected.endswith("none"):
        assert local.month < 12  # next spring
    else:
        assert openings(plan, "2026-12-20T23:00", 1, "Europe/Oslo") == [expected]


def test_polar_day_is_all_day_and_polar_night_all_night():
    """Daylight has no end in June and does not come in December; dusk is then the lowest sun."""
    light = schedule("sunrise..sunset", place=NORTH)
    dark = schedule("sunset..sunrise", place=NORTH)
    hours = [utc("2026-06-10T00:00") + timedelta(hours=n) for n in range(240)]
    assert all(light.at(hour) and not dark.at(hour) for hour in hours)
    hours = [utc("2026-12-10T00:00") + timedelta(hours=n) for n in range(240)]
    assert all(dark.at(hour) and not light.at(hour) for hour in hours)
    assert light.after(utc("2026-12-10T00:00")).start.date() == date(2027, 1, 17)
    dusk = schedule("sunset-00:30..sunset+01:00", place=NORTH)
    assert openings(dusk, "2026-06-20T12:00", 1) == ["06-20 22:11..06-20 23:41"]


def test_every_moment_of_a_year_agrees_with_the_wall_clock():
    """What is open at a moment is what a clock on the wall says, but for the hours of a change."""
    plan = schedule("06:30-10:00", "21:00-01:15", zone="America/New_York")
    zone = ZoneInfo("America/New_York")
    for step in range(0, 365 * 24 * 60, 13):
        moment = utc("2026-01-01T00:00") + timedelta(minutes=step)
        wall = moment.astimezone(zone)
        minute = wall.hour * 60 + wall.minute
        expected = 390 <= minute < 600 or minute >= 1260 or minute < 75
        if (wall.month, wall.day, wall.hour) == (11, 1, 1):
            continue  # 01:00 to 01:15 comes twice
        assert (plan.at(moment) is not None) == expected, wall


class Clock(clocks.Clock):
    """Time that passes when somebody waits."""

    def __init__(self, start: str, quality: str = "synced") -> None:
        super().__init__()
        self.start, self.seconds, self.asleep, self.is_ = utc(start), 0.0, 0.0, quality

    def now(self) -> datetime:
        """Give the time of day."""
        return self.start + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """Give the seconds."""
        return self.seconds

    def since_boot(self) -> float:
        """Give the seconds, those asleep included."""
        return self.seconds + self.asleep

    def quality(self) -> str:
        """Say how far it can be trusted."""
        return self.is_

    def wait(self, _condition: threading.Condition, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds


class Field:
    """A live camera that notes when it was opened, used and let go, until a time."""

    live, interval_seconds = True, 60.0

    def __init__(self, clock: Clock, until: str, log: list) -> None:
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
    log, counters = [], Counters()
    gate = Gate([], Duty(clock, plan, cycle), Sleep(file, clock, counters))
    reader = Reader(
        lambda: Field(clock, until, log), counters, gate=gate, clock=clock, wait=clock.wait
    )
    reader.start()
    while not reader.ended:
        reader.next(0.05)
    reader.close()
    return log, counters


def compact(log: list) -> list[str]:
    """Give each stretch of frames as one line."""
    lines = []
    for what, when in log:
        if what == "frame" and lines and lines[-1][0] == "frame":
            lines[-1][2:] = [lines[-1][2] + 1, when]
        else:
            lines.append([what, when, 1, when])
    return [f"{w} {a}" if w != "frame" else f"{n} frames {a}..{b}" for w, a, n, b in lines]


def test_outside_all_windows_the_camera_is_let_go():
    """Two days pass at once: a frame a minute within the window, none outside."""
    clock = Clock("2026-06-21T05:00")
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
    log, _ = live(Clock("2026-06-21T05:00"), "2026-06-21T05:16", cycle=by_frames)
    assert compact(log) == [
        "open 21 05:00",
        "3 frames 21 05:00..21 05:02",
        "close 21 05:02",
        "open 21 05:15",
        "1 frames 21 05:15..21 05:15",
        "close 21 05:16",
    ]
    by_seconds = DutyCycle(every_seconds=900, burst_seconds=115)
    log, _ = live(Clock("2026-06-21T05:00"), "2026-06-21T05:15", cycle=by_seconds)
    assert compact(log)[:3] == ["open 21 05:00", "2 frames 21 05:00..21 05:01", "close 21 05:02"]


def test_bursts_happen_within_windows_only_and_each_window_begins_with_one(tmp_path):
    """The burst that would fall behind the window's end is not waited for: the next window is."""
    clock, file = Clock("2026-06-21T06:00"), tmp_path / "wake.json"
    cycle = DutyCycle(every_seconds=600, burst_frames=1, burst_seconds=300)
    duty = Duty(clock, schedule("06:00-06:15"), cycle)
    assert duty.rest() is None
    duty.captured()
    clock.seconds = 5
    assert duty.rest()[1:] == (utc("2026-06-21T06:10"), "next burst")
    clock.seconds = 600
    assert duty.rest() is None
    duty.captured()
    rest = duty.rest()
    assert (rest.wake, rest.why) == (utc("2026-06-22T06:00"), "window 06:00-06:15")
    clock.seconds = 86400 + 60
    assert duty.rest() is None
    assert not file.exists()


def test_an_unset_clock_keeps_the_windows_open_until_it_is_set():
    """Too many pictures rather than none; set once, it is trusted also when NTP is away again."""
    clock = Clock("1970-01-01T00:00", "unsynced")
    duty = Duty(clock, schedule("06:00-07:00"))
    assert duty.rest() is None
    clock.start = utc("2026-06-21T05:00")
    for clock.is_ in ("rtc", "synced", "holdover"):
        assert duty.rest().seconds == 3600


def test_windows_by_the_sun_are_open_while_the_place_is_unknown():
    """A camera that waits for its first position works meanwhile."""
    places = [None, DHAKA]
    plan = Schedule([parse_window("sunrise..sunset")], None, lambda: places[0])
    duty = Duty(Clock("2026-06-21T18:00"), plan)
    assert duty.rest() is None
    places.pop(0)
    assert duty.rest().why == "window sunrise..sunset"


def test_the_outlook_says_what_the_windows_do_now():
    """For `wheatear check`, in UTC; with an unset clock or an unknown place, why all are open."""
    clock = Clock("2026-06-21T05:00")
    assert outlook(schedule("06:00-07:00"), clock) == (
        "closed until 2026-06-21 06:00 UTC: 06:00-07:00"
    )
    assert outlook(schedule("04:00-07:00"), clock).startswith("open until 2026-06-21 07:00 UTC")
    assert "place is known" in outlook(schedule("sunrise..sunset"), clock)
    never = schedule("sunrise..00:30", zone="Asia/Dhaka", place=DHAKA)
    assert "look at trigger.windows" in outlook(never, clock)
    clock.is_ = "unsynced"
    assert "clock is set" in outlook(schedule("06:00-07:00"), clock)


def test_the_next_burst_waits_for_no_clock_and_counts_suspended_time():
    """Setting the clock changes nothing; a computer that was suspended is not late."""
    clock = Clock("2026-06-21T05:00", "unsynced")
    duty = Duty(clock, None, DutyCycle(every_seconds=900, burst_frames=1, burst_seconds=60))
    assert duty.rest() is None
    duty.captured()
    clock.start += timedelta(days=3650)
    assert duty.rest().seconds == 900
    clock.start -= timedelta(days=9000)
    clock.asleep = 890.0
    assert duty.rest().seconds == 10
    clock.asleep = 900.0
    assert duty.rest() is None


def test_the_wake_file_is_whole_while_the_camera_sleeps_and_gone_while_it_works(tmp_path):
    """UTC and seconds, the reason, the clock's quality; what a run before left is removed."""
    clock, counters, file = Clock("2026-06-21T05:00"), Counters(), tmp_path / "wake.json"
    file.write_text("old")
    sleep = Sleep(file, clock, counters)
    assert not file.exists()
    duty = Duty(clock, schedule("06:00-07:00"))
    sleep.begin(duty.rest())
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
    sleep.begin(duty.rest())
    assert file.stat().st_mtime_ns == written  # not once every step of the same rest
    sleep.end()
    assert list(tmp_path.iterdir()) == []


def test_a_wake_file_that_cannot_be_written_is_said_and_the_camera_sleeps_anyway(tmp_path, caplog):
    """Logged once; health names it; written as soon as it can be."""
    clock, counters = Clock("2026-06-21T05:00"), Counters()
    sleep = Sleep(tmp_path / "none" / "wake.json", clock, counters)
    for wake in ("06:00-07:00", "08:00-09:00"):
        sleep.begin(Duty(clock, schedule(wake)).rest())
    assert counters.problems()[0].startswith("trigger.wake_file: [Errno 2]")
    assert [r.levelname for r in caplog.records].count("WARNING") == 1
    (tmp_path / "none").mkdir()
    sleep.begin(Duty(clock, schedule("10:00-11:00")).rest())
    assert counters.problems() == ()


class Script:
    """A live camera that never ends, or fails."""

    live, interval_seconds = True, 3600.0

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.count = error, 0

    def capture(self) -> Frame | None:
        """Take a picture."""
        if self.error:
            raise self.error
        self.count += 1
        return Frame(np.zeros((8, 8, 3), np.uint8), datetime.now(UTC), str(self.count), 8, 8, bytes)

    def close(self) -> None:
        """Let go."""


class Model:
    """Sees an aphid in everything."""

    def see(self, _frame):
        """Say so."""
        return APHID


@pytest.fixture
def at_work():
    """Give a function that runs an agent over a camera under a gate; all end with the test."""
    ended = []

    def run(camera, gate=None, triggers=(), plan=None):
        counters, clock, stop = Counters(), Clock("2026-06-21T12:00"), threading.Event()
        gate = Gate(triggers, Duty(clock, plan), Sleep(None, clock, counters))
        frames = Reader(lambda: camera, counters, camera, gate=gate)
        identity = Identity("cam-1", "boot", ModelRef(name="m", version="1", sha256="0" * 64), None)
        capture = Capture(frames.ask, identity, Decision(), Images(), clock)
        seen = []
        agent = Agent(
            frames,
            Model(),
            Decider(Decision(mode="always")),
            lambda batch: seen.extend(batch) or True,
            identity,
            Images(),
            lambda _: None,
            1e9,
            counters,
            clock,
            stop,
            watchers=[capture.watch],
        )
        thread = threading.Thread(target=agent.run)
        frames.start()
        thread.start()
        ended.append((stop, frames, thread))
        return capture, counters, seen

    yield run
    for stop, frames, thread in ended:
        stop.set()
        frames.close()
        thread.join()


class Never:
    """A trigger that admits nothing."""

    def admits(self, _frame: Frame) -> bool:
        """Refuse."""
        return False


def test_a_picture_on_request_passes_triggers_intervals_and_rests(at_work):
    """It wakes a camera that sleeps for hours, and comes back with what the model says."""
    for triggers, plan in (((Never(),), None), ((), schedule("06:00-07:00"))):
        capture, counters, seen = at_work(Script(), triggers=triggers, plan=plan)
        for _ in range(2):
            got = capture.now(CaptureParams(), 10)
            assert (got.findings[0].label, got.findings[0].confidence) == ("aphid", 0.9)
            assert got.sighting
            assert got.frame.source == str(counters["frames_captured"])
        assert len(seen) == 2


def test_frames_that_a_trigger_rejects_are_counted_and_not_classified(at_work):
    """The model never sees them."""
    camera = Script()
    camera.interval_seconds = 0.001
    _, counters, seen = at_work(camera, triggers=(Never(),))
    while counters["frames_idle"] < 10:
        time.sleep(0.005)
    assert counters["frames_classified"] == 0
    assert seen == []


@pytest.mark.parametrize("error", [CameraError("unplugged"), ImageError("half a picture")])
def test_a_request_that_finds_no_camera_or_a_bad_frame_says_so(at_work, error):
    """The error is the camera's own, and comes at once."""
    capture, counters, _ = at_work(Script(error))
    while not counters.errors():
        time.sleep(0.005)
    with pytest.raises(type(error), match=str(error)):
        capture.now(CaptureParams(), 10)


def test_a_request_after_the_end_of_a_replay_is_refused(tmp_path):
    """There is nothing to photograph any more."""
    from edge.cameras.folder import Folder
    from edge.config import FolderCamera
    from edge.image import InputSpec

    devices.photos(tmp_path, 1)
    reader = Reader(
        lambda: None,
        Counters(),
        Folder(FolderCamera(path=tmp_path), InputSpec(width=32, height=32)),
    )
    reader.start()
    while not reader.ended:
        reader.next(0.05)
    with pytest.raises(CameraError, match="its replay is over"):
        reader.ask().wait(1)


@pytest.fixture
def broker(tmp_path):
    """A mosquitto."""
    with Mosquitto(tmp_path) as running:
        yield running


def run(path) -> str:
    """Run a device to its end; give what it logged."""
    process = devices.start("run", "--once", "--config", str(path))
    _, told = process.communicate(timeout=30)
    assert process.returncode == 0, told
    return told


def test_replayed_photos_are_judged_by_the_time_they_were_taken(tmp_path, broker):
    """Of a photo an hour, those within the window arrive; the others are counted and left out."""
    (tmp_path / "photos").mkdir()
    for hour in range(24):
        exif = Image.Exif()
        exif.get_ifd(0x8769).update({0x9003: f"2026:06:21 {hour:02}:30:00", 0x9011: "+06:00"})
        Image.new("RGB", (64, 64), devices.COLOURS["aphid"]).save(
            tmp_path / "photos" / f"{hour:02}.jpg", exif=exif
        )
    extra = """[trigger]
windows = ["06:00-10:00", "sunset-00:30..sunset+02:00"]
time_zone = "Asia/Dhaka"
[device.location]
lat = 23.81
lon = 90.41
"""
    path = devices.config(tmp_path, broker.port, extra, camera='time = "exif"')
    with Subscriber(broker.port) as subscriber:
        told = run(path)
        assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) == 7)
        sources = [json.loads(one)["frame"]["source"] for one in subscriber.on("/sighting")]
    assert sources == [f"{hour:02}.jpg" for hour in (6, 7, 8, 9, 18, 19, 20)]
    assert "7 frames classified (0 bad, 0 skipped, 17 idle), 7 sightings" in told


def test_a_replay_in_bursts_leaves_nothing_out_and_tells_the_power_manager(tmp_path, broker):
    """Two frames a burst, a burst a second; the outbox goes on delivering between."""
    labels = devices.photos(tmp_path / "photos", 5)
    wake = tmp_path / "wake.json"
    extra = f"""[trigger]
wake_file = "{wake}"
[trigger.duty]
every_seconds = 1.0
burst_seconds = 0.9
burst_frames = 2
"""
    path = devices.config(tmp_path, broker.port, extra)
    with Subscriber(broker.port) as subscriber:
        process = devices.start("run", "--once", "--config", str(path))
        assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) == 2, 20)
        assert subscriber.wait(lambda _: wake.exists(), 5)
        told = json.loads(wake.read_text())
        _, log = process.communicate(timeout=30)
        assert process.returncode == 0, log
        assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) == 5)
        found = [json.loads(one)["label"] for one in subscriber.on("/sighting")]
    assert found == labels
    assert told["why"] == "next burst"
    assert 0 < told["seconds"] <= 1
    assert log.count("the camera sleeps until") == 2
    assert not wake.exists()


def test_stopping_ends_a_sleep_at_once(tmp_path, broker):
    """SIGTERM in the middle of a night; the wake file stays for the power manager."""
    devices.photos(tmp_path / "photos", 5)
    extra = '[trigger]\nwake_file = "wake.json"\n[trigger.duty]\nburst_frames = 1\n'
    process = devices.start("run", "--config", str(devices.config(tmp_path, broker.port, extra)))
    with Subscriber(broker.port) as subscriber:
        assert subscriber.wait(lambda _: (tmp_path / "wake.json").exists(), 20)
        assert subscriber.wait(
            lambda _: any(b"next burst" in one for one in subscriber.on("/state")), 10
        )
        process.terminate()
        _, log = process.communicate(timeout=10)
    assert process.returncode == 0, log
    assert (tmp_path / "wake.json").exists()


BATTERY_BACKED = """
import sys
import edge.app, edge.clock, edge.cli
class Clock(edge.clock.SystemClock):
    def quality(self):
        return "rtc"
edge.app.SystemClock = Clock
sys.exit(edge.cli.main(sys.argv[1:]))
"""
"""The command on a computer whose clock counts as set, whatever this one has."""


def test_a_device_outside_its_windows_sleeps_and_says_until_when(tmp_path, broker):
    """Nothing is captured; state and the wake file agree on the next window."""
    devices.photos(tmp_path / "photos", 3)
    opens = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(hours=2)
    window = f"{opens:%H:%M}-{opens + timedelta(hours=1):%H:%M}"
    extra = f'[trigger]\nwindows = ["{window}"]\ntime_zone = "UTC"\nwake_file = "wake.json"\n'
    path = devices.config(tmp_path, broker.port, extra)
    process = subprocess.Popen(
        [sys.executable, "-c", BATTERY_BACKED, "run", "--config", str(path)],
        stderr=subprocess.PIPE,
        text=True,
    )
    with Subscriber(broker.port) as subscriber:
        says = f'"until {opens:%F %T} UTC: window {window}"'.encode()
        assert subscriber.wait(lambda _: any(says in one for one in subscriber.on("/state")), 20)
        process.terminate()
        _, log = process.communicate(timeout=10)
    assert process.returncode == 0, log
    assert "0 frames classified" in log
    wake = json.loads((tmp_path / "wake.json").read_text())
    assert (wake["wake"], wake["why"]) == (f"{opens:%FT%T}Z", f"window {window}")


def test_a_sleeping_camera_answers_a_request_over_mqtt(tmp_path, broker):
    """One frame a quarter of an hour, and one when asked: with what is in it, and the picture."""
    devices.photos(tmp_path / "photos", 5)
    extra = "[trigger.duty]\nburst_frames = 1\n[images]\nmax_side = 64\n"
    path = devices.config(tmp_path, broker.port, extra)
    process = devices.start("run", "--config", str(path))
    with Subscriber(broker.port) as subscriber:
        assert subscriber.wait(
            lambda _: any(b"next burst" in one for one in subscriber.on("/state")), 20
        )
        for number in ("1", "2"):
            payload = json.dumps({"transaction": number, "image": number == "2"})
            publish.single("wheatear/cam-1/request/capture", payload, 1, port=broker.port)
            assert subscriber.wait(
                lambda _, n=int(number): len(subscriber.on("/response/capture")) == n, 10
            )
        process.terminate()
        _, log = process.communicate(timeout=10)
        first, second = [json.loads(one) for one in subscriber.on("/response/capture")]
    assert process.returncode == 0, log
    assert (first["status"], first["data"]["findings"][0]["label"]) == ("ok", "beetle")
    assert first["data"]["frame"]["source"] == "00001-beetle.jpg"
    assert first["data"]["image"] is None
    assert second["data"]["findings"][0]["label"] == "leaf"
    picture = Image.open(io.BytesIO(base64.b64decode(second["data"]["image"])))
    assert picture.size == (64, 48)
    assert log.count("the camera works again") == 2


def test_triggers_come_from_the_configuration(tmp_path):
    """The relative path of the wake file is taken from the configuration file."""
    config = load_config(devices.config(tmp_path, 1, '[trigger]\nwake_file = "w.json"\n'))
    assert config.trigger.wake_file == tmp_path / "w.json"
