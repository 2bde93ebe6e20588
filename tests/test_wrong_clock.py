"""Real processes whose clock is wrong, and is set."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import devices
import pytest
from brokers import Mosquitto, Subscriber, free_port
from patience import PATIENCE
from there import there

from edge.system.clock import Errors
from soak.control import beside


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
        self.process: subprocess.Popen[str] | None = None

    def set(self, seconds: int, synced: bool, asleep: int = 0) -> None:
        """Have the clock go wrong by so much, and say whether it is synced; suspend it so long."""
        new = self.setting.with_suffix(".new")
        new.write_text(f"{seconds} {int(synced)} {asleep}")
        new.replace(self.setting)

    def start(self, config: Path) -> None:
        """Start it."""
        command = [sys.executable, "-m", "edge", "run", "--config", str(config)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=self.env)

    def stop(self, number: int = signal.SIGTERM) -> str:
        """End it; give what it said."""
        there(self.process).send_signal(number)
        return there(self.process).communicate(timeout=20)[1]

    def await_waiting(self, count: int, seconds: float = PATIENCE) -> None:
        """Wait until it has written so many messages."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(sqlite3.Error, OSError),
                beside(self.folder / "outbox.db") as db,
            ):
                if db.execute("SELECT count(*) FROM message").fetchone()[0] >= count:
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
    votes = (
        '[decision]\nmode = "votes"\nagreeing_frames = 1\nlast_frames = 1\ncooldown_seconds = 0.1\n'
    )
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
    before = [0, *(one["seq"] for one in found)]
    assert [one["seq"] - one["skipped"] - 1 for one in found] == before[:-1]
    assert {one["clock"] for one in found[:12]} == {"retimed"}
    assert {one["clock"] for one in found[39:]} == {"synced"}
    times = [datetime.fromisoformat(one["time"]).timestamp() for one in found]
    assert times == sorted(times)
    assert began - 1 < times[0] < times[-1] < time.time() + 1
    booted = datetime.fromisoformat(info["booted"]).timestamp()
    for one, moment in zip(found, times, strict=True):
        assert abs(booted + one["boot_seconds"] - moment) < 0.25


@pytest.mark.parametrize(
    "wrong_by",
    [-YEAR, 60 - int(time.time()), 3 * 3600, YEAR],
    ids=["a year behind", "in 1970", "hours ahead", "a year ahead"],
)
def test_a_connection_that_is_up_when_the_clock_is_set_sends_right_times(
    tmp_path, wrong_clock, wrong_by
):
    """The clock is wrong and set right a little later: nothing wrong goes out."""
    devices.photos(tmp_path / "photos", 1)
    with (
        Mosquitto(tmp_path) as broker,
        Subscriber(broker.port) as subscriber,
        Device(wrong_clock, tmp_path) as device,
    ):
        device.set(wrong_by, synced=False)
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


def test_a_real_process_that_was_suspended_says_what_is_right(tmp_path, wrong_clock):
    """For eight hours: what it saw before has ended, what it sees now is new, times fit."""
    devices.photos(tmp_path / "photos", 1)
    life = (
        '[decision]\nmode = "visits"\nagreeing_frames = 1\nlast_frames = 1\nblind_seconds = 3600\n'
    )
    with (
        Mosquitto(tmp_path) as broker,
        Subscriber(broker.port) as subscriber,
        Device(wrong_clock, tmp_path) as device,
    ):
        path = devices.config(tmp_path, broker.port, camera="loop = true\nframes_per_second = 20")
        path.write_text(path.read_text().replace('[decision]\nmode = "always"\n', life))
        device.set(0, synced=True)
        device.start(path)
        assert subscriber.wait(lambda _: subscriber.on("/sighting"))
        device.set(0, synced=True, asleep=8 * 3600)
        assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) > 2)
        device.stop()
        found = [json.loads(payload) for payload in subscriber.on("/sighting")[:3]]
        booted = datetime.fromisoformat(json.loads(subscriber.on("/info")[-1])["booted"])
    assert [(one["phase"], one["ended"]) for one in found] == [
        ("begin", None),
        ("end", "blind"),
        ("begin", None),
    ]
    assert found[1]["duration_seconds"] < 3600
    times = [datetime.fromisoformat(one["time"]).timestamp() for one in found]
    assert times[2] - times[0] > 8 * 3600
    for one, moment in zip(found, times, strict=True):
        assert abs(booted.timestamp() + one["boot_seconds"] - moment) < 0.25


def test_the_kernels_errors_are_told_in_seconds(wrong_clock, tmp_path):
    """Estimated and largest error, as adjtimex(2) gives them in microseconds."""
    (tmp_path / "clock").write_text("0 1")
    told = subprocess.run(
        [sys.executable, "-c", "from edge.system.clock import *; print(SystemClock().errors())"],
        env={**os.environ, "LD_PRELOAD": str(wrong_clock), "WRONG_CLOCK": f"{tmp_path}/clock"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told.strip() == repr(Errors(estimated=0.0004, largest=0.025))
