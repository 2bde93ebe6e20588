"""``wheatear run`` as a process against a real broker."""

from __future__ import annotations

import io
import json
from typing import Any

import devices
import pytest
from brokers import Mosquitto, Subscriber, free_port
from patience import PATIENCE
from PIL import Image
from samples import sighting

from edge.outbox.outbox import Outbox


@pytest.fixture
def broker(tmp_path):
    """A mosquitto."""
    with Mosquitto(tmp_path) as running:
        yield running


def finish(process, seconds=PATIENCE):
    """Wait for the end; give exit status and stderr."""
    _, told = process.communicate(timeout=seconds)
    return process.returncode, told


def test_every_photo_of_a_folder_arrives_as_a_sighting(tmp_path, broker):
    """Replayed photos arrive in order, numbered from 1 without gaps, with the right label."""
    labels = devices.photos(tmp_path / "photos", 30)
    with Subscriber(broker.port) as subscriber:
        status, told = finish(
            devices.start("run", "--once", "--config", str(devices.config(tmp_path, broker.port)))
        )
        assert status == 0, told
        assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) >= 30)
        found = [json.loads(payload) for payload in subscriber.on("/sighting")]
    assert [one["label"] for one in found] == labels
    assert [one["seq"] for one in found] == list(range(1, 31))
    assert len({one["id"] for one in found}) == 30
    assert found[0]["frame"] == {
        "width": 160,
        "height": 120,
        "region": None,
        "source": "00000-aphid.jpg",
        "regions": [],
    }


def sightings(subscriber) -> list[dict[str, Any]]:
    """The sightings by first arrival of their id."""
    found = [json.loads(payload) for payload in subscriber.on("/sighting")]
    return list({one["id"]: one for one in found}.values())


def test_kill_9_in_the_middle_of_publishing_loses_nothing(tmp_path, broker):
    """Killed three times and started again: every number arrives that none says was left out, in
    order, each once by id."""
    devices.photos(tmp_path / "photos", 200)
    rate = "frames_per_second = 400\nloop = true"
    path = devices.config(tmp_path, broker.port, camera=rate)
    with Subscriber(broker.port) as subscriber:
        for killed in range(3):
            most = len(sightings(subscriber)) + 150
            process = devices.start("run", "--config", str(path))

            def under_way(_, killed=killed, most=most) -> bool:
                found = sightings(subscriber)  # those of this run come after numbers left out
                return len(found) > most and sum(one["skipped"] > 0 for one in found) == killed

            assert subscriber.wait(under_way)
            process.kill()
            process.communicate()
        process = devices.start("run", "--once", "--config", str(path))
        status, told = finish(process)
        assert status == 0, told
        with Outbox(tmp_path / "outbox.db") as outbox:
            assert outbox.depth().waiting == 0
            given_out = outbox.append(sighting()) - 1
        assert subscriber.wait(lambda _: sightings(subscriber)[-1]["seq"] == given_out)
        found = sightings(subscriber)
    following = 1
    for one in found:
        assert one["seq"] - one["skipped"] == following
        following = one["seq"] + 1
    assert sum(one["skipped"] > 0 for one in found) == 3


def test_a_broker_restart_in_the_middle_is_not_noticed_by_subscribers(tmp_path, broker):
    """The broker ends and comes back while photos are replayed; the run ends well."""
    labels = devices.photos(tmp_path / "photos", 300)
    path = devices.config(tmp_path, broker.port, camera="frames_per_second = 200")
    with Subscriber(broker.port) as subscriber:
        process = devices.start("run", "--config", str(path))
        assert subscriber.wait(lambda _: len(sightings(subscriber)) > 50)
        broker.stop()
        broker.start()
        status, told = finish(process)
        assert status == 0, told
        assert subscriber.wait(lambda _: len(sightings(subscriber)) == 300)
        found = sightings(subscriber)
    assert [one["label"] for one in found] == labels
    assert [one["seq"] for one in found] == list(range(1, 301))


def test_sigterm_ends_in_good_order(tmp_path, broker):
    """Status 0, offline said, what was seen is delivered; no traceback."""
    devices.photos(tmp_path / "photos", 3)
    camera = "loop = true\nframes_per_second = 50"
    process = devices.start(
        "run", "--config", str(devices.config(tmp_path, broker.port, camera=camera))
    )
    with Subscriber(broker.port) as subscriber:
        assert subscriber.wait(lambda _: len(sightings(subscriber)) > 10)
        process.terminate()
        status, told = finish(process, 10)
        assert status == 0, told
        assert subscriber.wait(lambda _: b"offline" in subscriber.on("/availability"))
        assert subscriber.wait(lambda _: subscriber.on("/state"))
        state = json.loads(subscriber.on("/state")[-1])
        info = json.loads(subscriber.on("/info")[-1])
    assert "Traceback" not in told
    assert state["latest"]["seq"] == sightings(subscriber)[-1]["seq"]
    assert sum(sum(hour["labels"].values()) for hour in state["hours"]) == state["latest"]["seq"]
    assert info["model"]["name"] == "colours"
    assert info["protocol"] == "5"


def test_broken_photos_are_skipped_and_named_once(tmp_path, broker):
    """The rest arrives; the run says how many were bad."""
    devices.photos(tmp_path / "photos", 6)
    (tmp_path / "photos" / "00001-beetle.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (tmp_path / "photos" / "00002-leaf.jpg").write_bytes(b"")
    path = devices.config(tmp_path, broker.port)
    with Subscriber(broker.port) as subscriber:
        status, told = finish(devices.start("run", "--once", "--config", str(path)))
        assert subscriber.wait(lambda _: len(sightings(subscriber)) == 4)
    assert status == 0
    assert told.count("picture: ImageError") == 1
    assert "4 frames classified (2 bad" in told


def test_without_a_broker_a_replay_ends_in_time_and_keeps_everything(tmp_path):
    """--drain-timeout: status 1, all on disk, sent by the next run with its own time."""
    devices.photos(tmp_path / "photos", 5)
    path = devices.config(tmp_path, free_port())
    status, told = finish(
        devices.start("run", "--once", "--drain-timeout", "0.3", "--config", str(path))
    )
    assert status == 1
    assert "goes out with the next run" in told
    assert told.count("nobody listens") == 1
    with Outbox(tmp_path / "outbox.db") as outbox:
        assert outbox.depth().waiting == 5


def test_pictures_are_sent_when_asked_for(tmp_path, broker):
    """The picture behind each sighting arrives on the sighting's own topic."""
    devices.photos(tmp_path / "photos", 3)
    path = devices.config(tmp_path, broker.port, "[images]\nsend = true\nmax_side = 64\n")
    with Subscriber(broker.port) as subscriber:
        status, told = finish(devices.start("run", "--once", "--config", str(path)))
        assert status == 0, told
        for one in sightings(subscriber):
            (jpeg,) = subscriber.on(f"/sighting/{one['id']}/image")
            assert Image.open(io.BytesIO(jpeg)).size == (64, 48)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (('path = "photos"', 'path = "none"'), "camera.path: there is no"),
        (('bundle = "model.wtr"', 'bundle = "none.wtr"'), "none.wtr"),
        (('runtime = "fake"', 'runtime = "abacus"'), "abacus"),
    ],
)
def test_what_cannot_start_says_so_in_one_line(tmp_path, change, expected):
    """A named error, status 1, no traceback."""
    devices.photos(tmp_path / "photos", 1)
    path = devices.config(tmp_path, 1)
    path.write_text(path.read_text().replace(*change))
    status, told = finish(devices.start("run", "--config", str(path)))
    assert status == 1
    assert expected in told
    assert "Traceback" not in told


def test_a_device_whose_camera_is_away_at_the_start_can_be_reached(tmp_path, broker):
    """What waits goes out, `state` names the trouble, and a signal ends it in good order."""
    path = devices.config(tmp_path, broker.port, broker="clock_wait_seconds = 0")
    away = f'kind = "v4l2"\ndevice = "{tmp_path}/video"'
    path.write_text(path.read_text().replace('kind = "folder"\npath = "photos"', away))
    with Outbox(tmp_path / "outbox.db") as outbox:
        outbox.append(sighting())
    with Subscriber(broker.port) as subscriber:
        process = devices.start("run", "--config", str(path))
        assert subscriber.wait(lambda _: sightings(subscriber))
        assert subscriber.wait(lambda _: any(b"camera: " in one for one in subscriber.on("/state")))
        process.terminate()
        status, told = finish(process)
    assert status == 0, told
    assert told.count("CameraError") == 1
