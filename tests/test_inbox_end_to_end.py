"""The program keeps and sends pictures to learn from."""

from __future__ import annotations

import hashlib
import json
import time

import devices
from brokers import Mosquitto, Subscriber, free_port
from pictures import names, unsent

from edge.feedback.picture_store import PictureStore


def run(tmp_path, port, inbox, count=12, camera=""):
    """Replay doubtful photos through the whole program."""
    folder = tmp_path / "photos"
    folder.mkdir(exist_ok=True)
    for number in range(count):
        (folder / f"{number:03d}.jpg").write_bytes(devices.photo("aphid", seed=number))
    extra = f"[inbox]\nspacing_seconds = 0.0\nmin_free_bytes = 0\nrandom_share = 1.0\n{inbox}"
    path = devices.config(tmp_path, port, extra, camera)
    process = devices.start("run", "--once", "--config", str(path))
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    return told


def test_the_program_sends_what_it_keeps_and_says_so(tmp_path):
    """Over a real broker: JSON and JPEG of every picture, whole and matching."""
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        run(tmp_path, broker.port, "keep = true\nsend = true", 4)
        assert subscriber.wait(
            lambda seen: sum(m.topic.startswith("wheatear/cam-1/inbox/") for m in seen) == 8
        )
        by_topic = {m.topic.removeprefix("wheatear/cam-1/"): m.payload for m in subscriber.messages}
    about = [json.loads(v) for k, v in by_topic.items() if k.endswith("/meta")]
    assert len(about) == 4
    for one in about:
        jpeg = by_topic[f"inbox/{one['id']}"]
        assert hashlib.sha256(jpeg).hexdigest() == one["picture"]["sha256"]
    assert len(list((tmp_path / "inbox").glob("*.sent.json"))) == 4
    assert json.loads(by_topic["info"])["capabilities"] == ["inbox"]


def test_nothing_is_kept_or_sent_unless_told(tmp_path):
    """By default no folder appears; with `keep` alone nothing leaves the device."""
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        run(tmp_path, broker.port, "", 3)
        assert not (tmp_path / "inbox").exists()
        run(tmp_path, broker.port, "keep = true", 3)
        assert len(list((tmp_path / "inbox").glob("*.jpg"))) == 3
        assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) == 6)
        assert not [m.topic for m in subscriber.messages if "/inbox" in m.topic]


def test_a_broker_that_denies_thumbnails_still_gets_every_sighting(tmp_path):
    """The access list lets sightings through; thumbnails rest, stay on disk, and are told of."""
    acl = tmp_path / "acl"
    rules = ("sighting", "info", "state", "availability", "health")
    acl.write_text(
        "".join(f"topic write wheatear/cam-1/{name}\n" for name in rules)
        + "topic read wheatear/#\n"
    )
    extra = f"allow_anonymous true\nacl_file {acl}"
    with Mosquitto(tmp_path, extra) as broker, Subscriber(broker.port) as subscriber:
        told = run(tmp_path, broker.port, "keep = true\nsend = true", 20)
        assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) >= 20)
    assert len({json.loads(p)["id"] for p in subscriber.on("/sighting")}) == 20
    assert "denies wheatear/cam-1/inbox" in told
    assert not list((tmp_path / "inbox").glob("*.sent.json"))


def test_a_backlog_of_sightings_goes_before_any_thumbnail(tmp_path):
    """After a time without a broker, every sighting that waited comes before the first picture."""
    port = free_port()
    folder = tmp_path / "photos"
    devices.photos(folder, 20)
    extra = "[inbox]\nkeep = true\nsend = true\nmin_free_bytes = 0\nrandom_share = 1.0"
    path = devices.config(tmp_path, port, extra)
    process = devices.start("run", "--once", "--config", str(path), "--drain-timeout", "0.2")
    process.communicate(timeout=30)
    assert process.returncode == 1
    assert len(list((tmp_path / "inbox").glob("*.jpg"))) == 1
    with Mosquitto(tmp_path, port=port) as broker, Subscriber(broker.port) as subscriber:
        process = devices.start("run", "--once", "--config", str(path))
        process.communicate(timeout=30)
        assert process.returncode == 0
        assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) >= 40)
        topics = [message.topic.removeprefix("wheatear/cam-1/") for message in subscriber.messages]
    first = next(index for index, topic in enumerate(topics) if topic.startswith("inbox/"))
    assert topics[:first].count("sighting") >= 20


def test_kill_9_leaves_only_whole_pictures(tmp_path):
    """Killed again and again while it keeps every frame: what the next start finds is whole."""
    devices.photos(tmp_path / "photos", 30)
    extra = (
        "[inbox]\nkeep = true\nmin_free_bytes = 0\nrandom_share = 1.0\nspacing_seconds = 0.0\n"
        "max_bytes = 1_000_000"
    )
    path = devices.config(tmp_path, free_port(), extra, "loop = true\nframes_per_second = 200\n")
    for kills in range(4):
        process = devices.start("run", "--config", str(path))
        before = len(list(tmp_path.glob("inbox/*.json")))
        for _ in range(400):
            if len(list(tmp_path.glob("inbox/*.json"))) > before + 3 + kills:
                break
            time.sleep(0.01)
        process.kill()
        process.communicate()
    spool = PictureStore(tmp_path / "inbox", 10**6)
    entries = [stem.split("_")[2] for stem in unsent(spool.folder)]
    assert len(entries) == spool.unsent >= 10
    for id in entries:
        about, jpeg = spool.read(id)
        assert hashlib.sha256(jpeg).hexdigest() == about.picture.sha256
        assert about.id == id
    assert len(names(spool)) == 2 * len(entries)
