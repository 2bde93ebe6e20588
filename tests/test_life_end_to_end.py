"""Lives through the program and a real broker, ended whatever ends the program."""

from __future__ import annotations

import io
import json
from datetime import datetime, timedelta

import devices
import pytest
from brokers import Mosquitto, Subscriber
from PIL import Image


def exif_photo(path, label, taken: datetime):
    """Write a photo that says when it was taken."""
    picture = Image.open(io.BytesIO(devices.photo(label)))
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = taken.strftime("%Y:%m:%d %H:%M:%S")
    picture.save(path, exif=exif, quality=95)


LIFE = """mode = "visits"
agreeing_frames = 2
last_frames = 3
cooldown_seconds = 30
update_seconds = 40
"""


def life_config(tmp_path, port, camera, decision=LIFE, extra=""):
    """Write a configuration whose sightings live; leaves are background."""
    path = devices.config(tmp_path, port, extra, camera=camera)
    decision += 'background = ["leaf"]\n'
    path.write_text(path.read_text().replace('mode = "always"\n', decision))
    return path


def test_a_replayed_visit_arrives_as_begin_updates_and_end(tmp_path):
    """Photos 10 s apart by their EXIF data, through the program and a real broker."""
    (tmp_path / "photos").mkdir()
    labels = ["leaf"] * 3 + ["beetle"] * 12 + ["leaf"] * 6 + ["aphid"] * 2 + ["leaf"] * 2
    begun = datetime(2026, 6, 21, 9, 0, 0)
    for i, label in enumerate(labels):
        exif_photo(tmp_path / "photos" / f"{i:02d}.jpg", label, begun + timedelta(seconds=10 * i))
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        path = life_config(tmp_path, broker.port, 'time = "exif"', extra="[images]\nsend = true\n")
        process = devices.start("run", "--once", "--config", str(path))
        _, said = process.communicate(timeout=30)
        assert process.returncode == 0, said
        assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) >= 6)
        assert subscriber.wait(lambda _: b"offline" in subscriber.on("/availability"))
        arrived = [json.loads(payload) for payload in subscriber.on("/sighting")]
        (picture,) = subscriber.on(f"/sighting/{arrived[0]['id']}/image")
        state = json.loads(subscriber.on("/state")[-1])
    assert [(one["phase"], one["label"], one["time"][14:19]) for one in arrived] == [
        ("begin", "beetle", "00:40"),
        ("update", "beetle", "01:20"),
        ("update", "beetle", "02:00"),
        ("end", "beetle", "02:50"),
        ("begin", "aphid", "03:40"),
        ("end", "aphid", "04:00"),
    ]
    end, last = arrived[3], arrived[5]
    assert end["since"] == "2026-06-21T09:00:30Z"
    assert end["duration_seconds"] == 110.0
    assert end["votes"] == {"agree": 12, "of": 13}
    assert (end["ended"], last["ended"], last["duration_seconds"]) == ("gone", "stop", 10.0)
    assert len({one["event"] for one in arrived[:4]}) == 1
    assert [one["seq"] for one in arrived] == [1, 2, 3, 4, 5, 6]
    assert len({one["id"] for one in arrived}) == 6
    assert picture[:2] == b"\xff\xd8"
    assert state["latest"]["event"] == arrived[4]["event"]
    assert state["present"] == []


def lived(subscriber):
    """(phase, ended, event) of the sightings that arrived."""
    arrived = [json.loads(payload) for payload in subscriber.on("/sighting")]
    return [(one["phase"], one["ended"], one["event"]) for one in arrived]


@pytest.fixture
def endless(tmp_path):
    """A broker, a subscriber and the configuration of a camera that always sees a beetle."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(devices.photo("beetle"))
    camera = "loop = true\nframes_per_second = 50"
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        yield subscriber, str(life_config(tmp_path, broker.port, camera))


def test_sigterm_ends_lives_before_the_goodbye(endless):
    """The end arrives, then offline."""
    subscriber, path = endless
    process = devices.start("run", "--config", path)
    assert subscriber.wait(lambda _: len(lived(subscriber)) == 1)
    assert subscriber.wait(
        lambda _: any(json.loads(one)["present"] for one in subscriber.on("/state")), 20
    )
    process.terminate()
    process.communicate(timeout=20)
    assert subscriber.wait(lambda _: b"offline" in subscriber.on("/availability"))
    assert [one[:2] for one in lived(subscriber)] == [("begin", None), ("end", "stop")]
    topics = [message.topic.rsplit("/", 1)[-1] for message in subscriber.messages]
    goodbye = max(i for i, topic in enumerate(topics) if topic == "availability")
    assert max(i for i, topic in enumerate(topics) if topic == "sighting") < goodbye


def test_a_life_cut_off_by_kill_9_is_ended_at_the_next_start(endless):
    """The next run says first what was known of it; then its own life begins."""
    subscriber, path = endless
    process = devices.start("run", "--config", path)
    assert subscriber.wait(lambda _: len(lived(subscriber)) == 1)
    process.kill()
    process.communicate()
    process = devices.start("run", "--config", path)
    assert subscriber.wait(lambda _: len({e for *_, e in lived(subscriber)}) == 2)
    process.terminate()
    process.communicate(timeout=20)
    told = list(dict.fromkeys(lived(subscriber)))  # the first may have come twice
    assert [one[:2] for one in told] == [
        ("begin", None),
        ("end", "cut"),
        ("begin", None),
        ("end", "stop"),
    ]
    assert told[0][2] == told[1][2] != told[2][2]
