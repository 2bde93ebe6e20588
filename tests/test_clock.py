"""Time: jumps of the clock, and messages that get the right time once it is known."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import devices
import msgspec
import pytest
from brokers import Mosquitto, Subscriber, free_port
from hypothesis import given, settings
from hypothesis import strategies as st
from test_agent import APHID, MITE
from test_outbox import health, image, sighting
from test_publisher import Device as Sender

from edge.cameras import Frame
from edge.clock import Clock, Errors, SystemClock, describe, kernel_time
from edge.config import Broker, Decision, Images
from edge.counters import Counters
from edge.decision import Decider
from edge.messages import Health, ModelRef, Sighting
from edge.outbox import Kind, Outbox
from edge.retime import Retimer, retime, retimed
from edge.sightings import Identity, Sightings

RIGHT = datetime(2026, 6, 21, 9, 0, tzinfo=UTC)
BOOT = "0123456789ab"


class Field(Clock):
    """The clock of a computer that started at the right time RIGHT and shows another."""

    def __init__(self, wrong_by: timedelta = timedelta(days=-200), quality: str = "unsynced"):
        super().__init__()
        self.seconds, self.wrong_by, self.is_ = 100.0, wrong_by, quality

    def now(self):
        """Give what it shows."""
        return RIGHT + timedelta(seconds=self.seconds) + self.wrong_by

    def monotonic(self):
        """Give seconds since the start."""
        return self.seconds

    def quality(self):
        """Say what it was told to say."""
        return self.is_

    def set(self) -> None:
        """Be put right, by NTP."""
        self.wrong_by, self.is_ = timedelta(0), "synced"


def taken(clock: Clock, boot: str = BOOT, label: str = "aphid") -> Sighting:
    """Give a sighting as it is made at this moment by this clock."""
    return msgspec.structs.replace(
        sighting(label, clock.now()),
        boot=boot,
        phase="single",
        clock=clock.quality(),
        boot_seconds=clock.seconds_since_boot(clock.now()),
    )


def waiting(outbox: Outbox) -> list[Sighting]:
    """Give the sightings in the outbox, oldest first."""
    rows = [row for row in outbox.page(limit=10_000) if row.kind is Kind.SIGHTING]
    return [msgspec.json.decode(row.payload, type=Sighting) for row in rows]


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

    Where it showed the same time twice, the later of the two counts.
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
        if len(history) == 1:
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
    assert abs((clock.now() - clock.booted()).total_seconds() - clock.since_boot()) < 0.2
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


def test_a_clock_is_described_in_words():
    """How it is, how wrong, or what becomes of what is seen meanwhile."""
    clock = Field(timedelta(0), "synced")
    clock.errors = lambda: Errors(estimated=0.0004, largest=0.025)
    said = describe(clock)
    assert said == "2026-06-21 09:01:40 UTC, synced, error about 0.4 ms, at most 25.0 ms"
    clock.is_ = "unsynced"
    assert "unsynced: what is seen gets its right time" in describe(clock)


def test_what_waits_gets_the_right_time_and_the_rest_is_left_alone(tmp_path):
    """Sightings and health of this start; not synced ones, other starts, pictures' own times."""
    clock = Field()
    with Outbox(tmp_path / "o.db") as outbox:
        earlier = taken(clock, boot="another start")
        outbox.append_many([earlier, image()])
        unsynced = taken(clock)
        clock.seconds += 60.25
        later = msgspec.structs.replace(
            health(), boot=BOOT, clock="rtc", time=clock.now(), boot_seconds=clock.seconds
        )
        exif = msgspec.structs.replace(taken(clock), boot_seconds=None)
        outbox.append_many([unsynced, image(), later, exif])
        clock.set()
        outbox.append(taken(clock))
        before, used = waiting(outbox), outbox.depth().bytes
        assert retime(outbox, BOOT, clock.booted())[0] == 2
        after = waiting(outbox)
        assert [one.clock for one in after] == ["unsynced", "retimed", "unsynced", "synced"]
        assert after[1].time == RIGHT + timedelta(seconds=100)
        assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True, True]
        moved = {name: getattr(after[1], name) for name in ("time", "since", "best_time")}
        assert after[1] == msgspec.structs.replace(before[1], clock="retimed", **moved)
        assert len({getattr(after[1], n) - getattr(before[1], n) for n in moved}) == 1
        rows = outbox.page()
        (said,) = [row for row in rows if row.kind is Kind.HEALTH]
        found = msgspec.json.decode(said.payload, type=Health)
        assert (found.time, found.clock) == (RIGHT + timedelta(seconds=160.25), "retimed")
        assert said.time_ms == int(found.time.timestamp() * 1000)
        assert outbox.depth().bytes == sum(len(row.payload) + 100 for row in rows) != used
        assert retime(outbox, BOOT, clock.booted()) == (0, rows[-1].row)


def test_thousands_that_wait_are_rewritten_page_by_page_and_only_once(tmp_path):
    """Also where many of an earlier start lie before them; a second look finds nothing."""
    clock = Field()
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append_many([taken(clock, "another start") for _ in range(500)])
        for _ in range(5):
            clock.seconds += 1
            outbox.append_many([taken(clock) for _ in range(200)])
        clock.set()
        count, newest = retime(outbox, BOOT, clock.booted())
        assert (count, newest) == (1000, 1500)
        found = waiting(outbox)
        assert [one.seq for one in found] == list(range(1, 1501))
        assert {one.clock for one in found[500:]} == {"retimed"}
        assert {one.clock for one in found[:500]} == {"unsynced"}
        assert retime(outbox, BOOT, clock.booted(), newest) == (0, newest)


def test_a_kill_in_the_middle_of_retiming_loses_nothing(tmp_path):
    """What a failed page leaves is as it was; the next attempt does the rest."""
    clock, path = Field(), tmp_path / "o.db"
    with Outbox(path) as outbox:
        outbox.append_many([taken(clock) for _ in range(450)])
        clock.set()
        real, pages = outbox.rewrite, []

        def dies(changes):
            pages.append(changes)
            if len(pages) == 2:
                raise KeyboardInterrupt
            return real(changes)

        outbox.rewrite = dies
        with pytest.raises(KeyboardInterrupt):
            retime(outbox, BOOT, clock.booted())
    with Outbox(path) as outbox:
        assert [one.clock for one in waiting(outbox)] == ["unsynced"] * 250 + ["retimed"] * 200
        assert retime(outbox, BOOT, clock.booted())[0] == 250
        assert [one.clock for one in waiting(outbox)] == ["retimed"] * 450


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["see", "see", "picture", "wait", "wrong", "right", "look", "deliver", "power", "kill"]
        ),
        max_size=40,
    )
)
def test_any_history_ends_with_right_times_in_order_and_counted(tmp_path_factory, history):
    """Clocks set and lost, power cuts, kills, deliveries, in any order.

    Every sighting that waits has its number and its true time, or says honestly that it has not;
    the bytes add up; what is of another start was not touched.
    """
    path = tmp_path_factory.mktemp("retime") / "o.db"
    clock, boot, truth, looked = Field(), 1, {}, 0
    outbox = Outbox(path)
    try:
        for action in [*history, "look"]:
            clock.seconds += 1
            if action == "see":
                one = taken(clock, f"boot-{boot}")
                truth[one.id] = (RIGHT + timedelta(seconds=clock.seconds), one)
                outbox.append(one)
            elif action == "picture":
                outbox.append(image())
            elif action == "wait":
                clock.seconds += 3600
            elif action == "wrong":
                clock.wrong_by, clock.is_ = timedelta(days=-30), "unsynced"
            elif action == "right":
                clock.set()
            elif action == "look" and clock.is_ == "synced":
                looked = retime(outbox, f"boot-{boot}", clock.booted(), looked)[1]
            elif action == "deliver":
                outbox.delete(row.row for row in outbox.page(limit=3))
            elif action in ("power", "kill"):
                outbox.close()
                outbox, looked = Outbox(path), 0
                if action == "power":
                    boot += 1
                    clock = Field()
        left = waiting(outbox)
        assert [one.seq for one in left] == sorted(one.seq for one in left)
        rows = outbox.page(limit=1000)
        assert outbox.depth().bytes == sum(len(row.payload) + 100 for row in rows)
        for one in left:
            right, made = truth[one.id]
            if one.clock in ("synced", "retimed"):
                assert one.time == right
            else:
                assert one == msgspec.structs.replace(made, seq=one.seq)
                assert one.boot != f"boot-{boot}" or clock.is_ != "synced"
    finally:
        outbox.close()


def test_counts_per_hour_move_with_their_sightings(tmp_path):
    """Hours of a clock that was ahead do not hide those of the right one, nor stay."""
    clock = Field(timedelta(days=500))
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append_many([taken(clock), taken(clock), taken(clock, label="mite")])
        assert outbox.hours(RIGHT) == ()
        clock.set()
        outbox.append(taken(clock))
        assert outbox.hours(RIGHT)[0].labels == {"aphid": 1}
        retime(outbox, BOOT, clock.booted())
        assert outbox.hours(RIGHT)[0].labels == {"aphid": 3, "mite": 1}
        assert outbox.hours(RIGHT + timedelta(days=500)) == ()


def test_messages_wait_for_the_clock_once_and_not_for_ever(tmp_path):
    """From the first asking; until it is right, or the seconds are over."""
    for ends in ("clock", "seconds"):
        clock, news = Field(), Counters()
        with Outbox(tmp_path / f"{ends}.db") as outbox:
            retimer = Retimer(outbox, BOOT, clock, Counters(), 30, partial(news.add, "told"))
            outbox.append(taken(clock))
            retimer.tick()
            clock.seconds += 500
            assert retimer.hold()
            clock.seconds += 29
            assert retimer.hold()
            if ends == "clock":
                clock.set()
                assert retimer.hold(), "until what waits has been rewritten"
                retimer.tick()
                assert waiting(outbox)[0].clock == "retimed"
                assert news["told"] == 1
            else:
                clock.seconds += 1
            assert not retimer.hold()
            clock.is_ = "unsynced"
            retimer.tick()
            assert not retimer.hold(), "once a run"


def test_what_a_slow_disk_writes_after_the_clock_was_set_is_put_right_too(tmp_path):
    """Every look goes on where the last one ended."""
    clock, counters = Field(), Counters()
    with Outbox(tmp_path / "o.db") as outbox:
        retimer = Retimer(outbox, BOOT, clock, counters, 0, lambda: None)
        stuck = taken(clock)
        clock.set()
        retimer.tick()
        outbox.append(stuck)
        retimer.tick()
        assert waiting(outbox)[0].time == RIGHT + timedelta(seconds=100)
        assert counters["retimed"] == 1


def test_a_life_that_spans_the_setting_of_the_clock_is_told_in_one_time(tmp_path):
    """A begin that waits, an end made later and what is kept for a kill agree on its begin."""
    clock, got = Field(), []
    rule = Decision(agree=1, of=1, cooldown_seconds=0)
    decider = Decider(rule)
    model = ModelRef(name="m", version="1", sha256="0")
    sightings = Sightings(Identity("c", BOOT, model, None), Images(), Counters(), clock)

    def see(result) -> None:
        frame = Frame(None, clock.now(), "a", 9, 9, lambda: b"")
        events = decider.see(result, clock.monotonic(), frame.time)
        got.extend(sightings.messages(frame, events, decider.best))
        clock.seconds += 10

    with Outbox(tmp_path / "o.db") as outbox:
        see(APHID)
        outbox.append_many(got)
        clock.set()
        retime(outbox, BOOT, clock.booted())
        (begin,), (kept,) = waiting(outbox), outbox.lives()
        for _ in range(2):
            see(MITE)
    end = next(one for one in got if one.phase == "end")
    began = RIGHT + timedelta(seconds=100)
    assert begin.since == kept.since == end.since == end.best_time == began
    assert (begin.clock, kept.clock, end.clock) == ("retimed", "retimed", "synced")
    assert end.since <= end.time <= RIGHT + timedelta(seconds=120)


def test_what_the_publisher_has_read_already_goes_out_with_the_right_time(tmp_path):
    """Retimed in the middle of a delivery: what was sent stays, all after it is right, in order."""
    clock, paused = Field(), threading.Event()
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        settings_ = Broker(host="127.0.0.1", port=broker.port, window=1)
        with Sender(tmp_path, settings_, hold=paused.is_set) as device:
            device.outbox.append_many([taken(clock) for _ in range(180)])
            device.publisher.wake()
            assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) > 5)
            paused.set()
            left, before = device.outbox.depth().waiting, -1
            while left != before:  # what was under way is acknowledged and deleted
                time.sleep(0.5)
                left, before = device.outbox.depth().waiting, left
            clock.set()
            count, _ = retime(device.outbox, BOOT, clock.booted())
            assert count == left > 0
            paused.clear()
            assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) == 180)
        found = [json.loads(payload) for payload in subscriber.on("/sighting")]
    assert [one["seq"] for one in found] == list(range(1, 181))
    clocks = [one["clock"] for one in found]
    assert set(clocks) == {"unsynced", "retimed"}
    assert clocks == sorted(clocks, reverse=True)
    assert clocks.count("retimed") == left


def test_a_message_of_an_older_program_keeps_its_time():
    """No seconds since the start: nothing to reckon with."""
    old = msgspec.structs.replace(sighting(), boot=BOOT, clock="unsynced", boot_seconds=None)
    assert retimed(old, BOOT, RIGHT) is None


@pytest.fixture(scope="module")
def wrong_clock(tmp_path_factory):
    """A library that gives a process a wrong clock; the test is skipped without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("C COMPILER ABSENT: a wrong clock cannot be made")
    library = tmp_path_factory.mktemp("clock") / "wrong_clock.so"
    source = Path(__file__).with_name("wrong_clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


class Device:
    """The device program with a wrong clock; ended with the test."""

    def __init__(self, library: Path, folder: Path):
        self.setting, self.folder = folder / "clock", folder
        self.env = {**os.environ, "LD_PRELOAD": str(library), "WRONG_CLOCK": str(self.setting)}
        self.process: subprocess.Popen | None = None

    def set(self, seconds: int, synced: bool) -> None:
        """Have the clock go wrong by so much, and say whether it is synced."""
        new = self.setting.with_suffix(".new")
        new.write_text(f"{seconds} {int(synced)}")
        new.replace(self.setting)

    def start(self, config: Path) -> None:
        """Start it."""
        command = [sys.executable, "-m", "edge", "run", "--config", str(config)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=self.env)

    def stop(self, number: int = signal.SIGTERM) -> str:
        """End it; give what it said."""
        self.process.send_signal(number)
        return self.process.communicate(timeout=20)[1]

    def await_waiting(self, count: int, seconds: float = 20.0) -> None:
        """Wait until it has written so many messages."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(sqlite3.Error):
                file = f"file:{self.folder}/outbox.db?mode=ro"
                with contextlib.closing(sqlite3.connect(file, uri=True)) as db:
                    if db.execute("SELECT waiting FROM total").fetchone()[0] >= count:
                        return
            time.sleep(0.05)
        raise AssertionError(f"there are not {count} messages waiting")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.stop(signal.SIGKILL)


YEAR = 365 * 86400


def test_a_real_process_sends_the_right_time_after_its_clock_was_set(tmp_path, wrong_clock):
    """Seen without network on a clock a year ahead, killed, set back: sent with the true time.

    The rest of a class ends in its time though the clock jumps back.
    """
    devices.photos(tmp_path / "photos", 1)
    votes = '[decision]\nmode = "votes"\nagree = 1\nof = 1\ncooldown_seconds = 0.1\n'
    path = devices.config(tmp_path, free_port(), camera="loop = true\nframes_per_second = 20")
    path.write_text(path.read_text().replace('[decision]\nmode = "always"\n', votes))
    began = time.time()
    with Device(wrong_clock, tmp_path) as device:
        device.set(YEAR, synced=False)
        device.start(path)
        device.await_waiting(5)
        device.stop(signal.SIGKILL)
        device.start(path)
        device.await_waiting(15)
        device.set(0, synced=True)
        device.await_waiting(40)
        assert "waiting messages got the right time" in device.stop()
        with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
            device.start(devices.config(tmp_path, broker.port, camera="loop = true"))
            assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) > 40)
            device.stop()
            found = [json.loads(payload) for payload in subscriber.on("/sighting")]
            info = json.loads(subscriber.on("/info")[-1])
    assert [one["seq"] for one in found] == list(range(1, len(found) + 1))
    assert {one["clock"] for one in found[:12]} == {"retimed"}
    assert {one["clock"] for one in found[39:]} == {"synced"}
    times = [datetime.fromisoformat(one["time"]).timestamp() for one in found]
    assert times == sorted(times)
    assert began - 1 < times[0] < times[-1] < time.time() + 1
    booted = datetime.fromisoformat(info["booted"]).timestamp()
    for one, moment in zip(found, times, strict=True):
        assert abs(booted + one["boot_seconds"] - moment) < 0.25


def test_a_connection_that_is_up_when_the_clock_is_set_sends_right_times(tmp_path, wrong_clock):
    """The clock is a year behind and set right a little later: nothing wrong goes out."""
    devices.photos(tmp_path / "photos", 1)
    with (
        Mosquitto(tmp_path) as broker,
        Subscriber(broker.port) as subscriber,
        Device(wrong_clock, tmp_path) as device,
    ):
        device.set(-YEAR, synced=False)
        camera, wait = "loop = true\nframes_per_second = 20", "clock_wait_seconds = 60"
        device.start(devices.config(tmp_path, broker.port, camera=camera, broker=wait))
        device.await_waiting(10)
        assert subscriber.wait(lambda _: subscriber.on("/info"))
        assert json.loads(subscriber.on("/info")[-1])["clock"] == "unsynced"
        assert not subscriber.on("/sighting")
        device.set(0, synced=True)
        assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) > 20)
        assert subscriber.wait(
            lambda _: json.loads(subscriber.on("/info")[-1])["clock"] == "synced"
        )
        device.stop()
        found = [json.loads(payload) for payload in subscriber.on("/sighting")]
    assert found[0]["seq"] == 1
    assert {one["clock"] for one in found} == {"retimed", "synced"}
    for one in found:
        assert abs(datetime.fromisoformat(one["time"]).timestamp() - time.time()) < 60


def test_the_kernels_errors_are_told_in_seconds(wrong_clock, tmp_path):
    """Estimated and largest error, as adjtimex(2) gives them in microseconds."""
    (tmp_path / "clock").write_text("0 1")
    told = subprocess.run(
        [sys.executable, "-c", "from edge.clock import *; print(SystemClock().errors())"],
        env={**os.environ, "LD_PRELOAD": str(wrong_clock), "WRONG_CLOCK": f"{tmp_path}/clock"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told.strip() == repr(Errors(estimated=0.0004, largest=0.025))
