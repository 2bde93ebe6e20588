"""The program under triggers: which frames count, when it sleeps, what wakes it."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import devices
import pytest
from brokers import Mosquitto, Subscriber
from paho.mqtt import publish
from PIL import Image

from edge.config import load_config


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
        assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) == 2)
        assert subscriber.wait(lambda _: wake.exists())
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
        assert subscriber.wait(lambda _: (tmp_path / "wake.json").exists())
        assert subscriber.wait(
            lambda _: any(b"next burst" in one for one in subscriber.on("/state")), 10
        )
        process.terminate()
        _, log = process.communicate(timeout=10)
    assert process.returncode == 0, log
    assert (tmp_path / "wake.json").exists()


BATTERY_BACKED = """
import sys
import edge.device.app, edge.system.clock, edge.commands.cli
class Simulated(edge.system.clock.SystemClock):
    def quality(self):
        return "rtc"
edge.device.app.SystemClock = Simulated
sys.exit(edge.commands.cli.main(sys.argv[1:]))
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
        assert subscriber.wait(lambda _: any(says in one for one in subscriber.on("/state")))
        process.terminate()
        _, log = process.communicate(timeout=10)
    assert process.returncode == 0, log
    assert "0 frames classified" in log
    wake = json.loads((tmp_path / "wake.json").read_text())
    assert (wake["wake"], wake["why"]) == (f"{opens:%FT%T}Z", f"window {window}")


def test_a_sleeping_camera_answers_a_request_over_mqtt(tmp_path, broker):
    """One frame a quarter of an hour, and one when asked: with what is in it, and the picture."""
    devices.photos(tmp_path / "photos", 5)
    extra = (
        "[trigger.duty]\nburst_frames = 1\n[images]\nmax_side = 64\n[requests]\npictures = true\n"
    )
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
