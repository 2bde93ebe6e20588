"""Pictures to learn from: which are kept, how they lie on disk, how they are sent."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import devices
import msgspec
import numpy as np
import pytest
from brokers import Mosquitto, Subscriber, free_port
from test_agent import found

from edge import clock as clocks
from edge import files
from edge.budget import Budget
from edge.cameras import Frame
from edge.cameras.photo import encode_jpeg, facts
from edge.classifier import Tile
from edge.config import Inbox as InboxConfig
from edge.counters import Counters
from edge.doubt import Doubts
from edge.errors import SpoolError
from edge.image import decode
from edge.inbox import Inbox
from edge.messages import FrameRef, InboxItem, InboxPicture, ModelRef, new_id
from edge.sightings import Identity
from edge.spare import Parcel
from edge.spool import Spool
from edge.viewer import together

START = datetime(2026, 6, 21, 9, 0, tzinfo=UTC)
JPEG = devices.photo("aphid")
ANY = InboxConfig(keep=True, send=True, random_share=0.0, spacing_seconds=0.0, min_free_bytes=0)


def frame(seconds: float = 0.0, jpeg: bytes = JPEG) -> Frame:
    """Give a frame taken so many seconds after the start."""
    return Frame(
        pixels=np.zeros((32, 32, 3), np.uint8),
        time=START + timedelta(seconds=seconds),
        source=f"{seconds}",
        width=160,
        height=120,
        jpeg=lambda: jpeg,
    )


def kept(config: InboxConfig, seen, step: float = 1.0, draw=lambda: 1.0):
    """Show frames one after the other; give (frame number, why) of those picked."""
    doubts, picked = Doubts(config, draw), []
    for number, one in enumerate(seen):
        doubt = doubts.see(frame(number * step), one, number * step)
        if doubt:
            picked.append((int(float(doubt.frame.source) / step), doubt.kept))
    return picked


APHID, MITE = found("aphid"), found("mite")


def test_unknown_and_unsure_frames_are_picked_and_sure_ones_are_not():
    """The bundle's own rules count, and the device's confidence."""
    seen = [
        APHID,
        found("aphid", 0.4, "unknown"),
        found("aphid", 0.7, "below-threshold"),
        found("aphid", 0.59),
        found("aphid", 0.6),
    ]
    assert kept(ANY, seen) == [(1, "unknown"), (2, "low-confidence"), (3, "low-confidence")]


def test_a_frame_unlike_both_neighbours_is_picked_itself():
    """Aphid, mite, aphid within a few seconds: the mite is the doubtful one."""
    assert kept(ANY, [APHID, APHID, MITE, APHID, APHID]) == [(2, "disagreement")]
    assert kept(ANY, [APHID, APHID, MITE, MITE]) == []
    assert kept(ANY, [APHID, MITE, APHID], step=60.0) == []


def test_one_frame_is_kept_once():
    """An unsure frame that its neighbours contradict too is one picture."""
    assert kept(ANY, [APHID, found("mite", 0.5), APHID]) == [(1, "low-confidence")]


def test_pictures_of_one_reason_come_no_closer_than_told():
    """A windy day of doubt gives one picture every ten minutes, and other reasons their own."""
    config = msgspec.structs.replace(ANY, spacing_seconds=600.0)
    unsure, strange = found("aphid", 0.5), found("aphid", 0.5, "unknown")
    assert kept(config, [unsure] * 1300) == [(n, "low-confidence") for n in (0, 600, 1200)]
    assert kept(config, [unsure, strange, unsure]) == [(0, "low-confidence"), (1, "unknown")]


def test_the_random_share_takes_doubtful_frames_too():
    """It is drawn before anything else is looked at, so that it stays a fair sample."""
    config = msgspec.structs.replace(ANY, random_share=0.02)
    seen = [found("aphid", 0.4, "unknown") if n % 2 else APHID for n in range(20_000)]
    picked = [n for n, why in kept(config, seen, draw=random.Random(1).random) if why == "random"]
    assert 330 < len(picked) < 470
    assert 0.4 < np.mean([n % 2 for n in picked]) < 0.6


def item(why="unknown", seconds: float = 0.0, id: str = "") -> InboxItem:
    """Give what is said of a picture."""
    return InboxItem(
        device="cam-1",
        boot="b",
        id=id or new_id(),
        kept=why,
        time=START + timedelta(seconds=seconds),
        clock="synced",
        label=None,
        reason="unknown",
        confidence=0.4,
        probabilities={"aphid": 0.4},
        model=ModelRef(name="m", version="1", sha256="0" * 64),
        frame=FrameRef(width=160, height=120, source="x"),
        picture=InboxPicture(width=160, height=120, bytes=len(JPEG), sha256="0" * 64),
    )


def names(spool: Spool) -> list[str]:
    """Give the names of the files in the folder."""
    return sorted(path.name for path in spool.folder.iterdir())


def test_an_item_is_two_files_that_a_person_can_read(tmp_path):
    """Time, reason and id are the name; JPEG and JSON lie side by side."""
    spool = Spool(tmp_path / "inbox", 10**7)
    assert spool.add(item(id="00c0ffee00c0ffee"), JPEG)
    stem = "20260621T090000Z_unknown_00c0ffee00c0ffee"
    assert names(spool) == [f"{stem}.jpg", f"{stem}.json"]
    assert (spool.folder / f"{stem}.jpg").read_bytes() == JPEG
    assert json.loads((spool.folder / f"{stem}.json").read_bytes())["kept"] == "unknown"


def test_the_least_useful_goes_first_when_there_is_no_room(tmp_path):
    """What was sent, then odd frames, unsure ones, unknown ones, random ones; each oldest first."""
    spool = Spool(tmp_path, 10**9)
    order = ["random", "unknown", "low-confidence", "disagreement", "low-confidence", "unknown"]
    for number, why in enumerate(order):
        spool.add(item(why, number, f"{number:016x}"), JPEG)
    spool.mark_sent(f"{5:016x}")
    left, gone = set(range(6)), []
    while left:
        spool.max_bytes = spool.bytes
        spool.add(item("random", 99, f"{99 - len(gone):016x}"), b"")
        there = {int(path.stem.split("_")[2].split(".")[0], 16) for path in tmp_path.glob("*.json")}
        gone += left - there
        left &= there
    assert gone == [5, 3, 2, 4, 1, 0]
    assert spool.dropped == 6


def test_what_is_worth_less_than_all_that_is_there_is_not_kept(tmp_path):
    """A full folder of random pictures gives none of them up for an unsure one."""
    spool = Spool(tmp_path, 10**9)
    spool.add(item("random"), JPEG)
    spool.max_bytes = spool.bytes + 100
    assert not spool.add(item("low-confidence"), JPEG)
    assert [entry.kept for entry in spool.unsent()] == ["random"]
    assert spool.dropped == 1


def test_what_a_power_cut_left_half_is_cleared_away_and_nothing_else(tmp_path):
    """Pictures without their JSON, the reverse, and unfinished files go; foreign files stay."""
    spool = Spool(tmp_path, 10**7)
    for number in range(4):
        spool.add(item(seconds=number, id=f"{number:016x}"), JPEG)
    spool.mark_sent(f"{3:016x}")
    stems = [entry.stem for entry in spool.unsent()]
    (tmp_path / f"{stems[0]}.json").unlink()
    (tmp_path / f"{stems[1]}.jpg").unlink()
    (tmp_path / "20260621T090009Z_random_00000000000000ff.jpg.new").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "holiday.jpg").write_bytes(JPEG)
    again = Spool(tmp_path, 10**7)
    assert [entry.stem for entry in again.unsent()] == [stems[2]]
    assert len(again) == 2
    assert again.bytes == sum(p.stat().st_size for p in tmp_path.glob("2026*"))
    assert {"notes.txt", "holiday.jpg"} < set(names(again))
    assert len(names(again)) == 6


@pytest.mark.parametrize("refused", ["jpg", "json"])
def test_a_disk_that_refuses_leaves_nothing_half(tmp_path, monkeypatch, refused):
    """Neither file stays, the error says so, and the next picture is kept."""
    spool, whole = Spool(tmp_path, 10**7), files.write_whole

    def full(path, data):
        if path.suffix == f".{refused}":
            raise OSError(28, "No space left on device")
        whole(path, data)

    monkeypatch.setattr("edge.spool.write_whole", full)
    with pytest.raises(SpoolError, match="No space left on device"):
        spool.add(item(), JPEG)
    assert names(spool) == []
    assert (len(spool), spool.bytes) == (0, 0)
    monkeypatch.undo()
    assert spool.add(item(), JPEG)


def test_room_for_sightings_is_left_alone(tmp_path):
    """Below the space that stays free nothing is kept, and the cure is named."""
    spool = Spool(tmp_path, 10**7, min_free_bytes=10**18)
    with pytest.raises(SpoolError, match=r"inbox\.min_free_bytes"):
        spool.add(item(), JPEG)
    assert names(spool) == []


def test_a_days_budget_outlives_a_restart_and_ends_with_the_day(tmp_path):
    """What was taken is on disk first; the next UTC day begins at zero."""
    path, evening = tmp_path / "budget.json", START.replace(hour=23)
    assert Budget(path, 1000).take(700, evening)
    again = Budget(path, 1000)
    assert again.used(evening) == 700
    assert not again.take(301, evening)
    assert again.take(300, evening)
    assert again.take(900, evening + timedelta(hours=1))
    assert Budget(path, 1000).used(evening + timedelta(hours=2)) == 900


def test_a_damaged_budget_sends_nothing_more_that_day(tmp_path):
    """Too little is the safe side; the next day is whole."""
    path = tmp_path / "budget.json"
    path.write_text("{")
    budget = Budget(path, 1000)
    assert not budget.take(1, START)
    assert budget.take(1000, START + timedelta(days=1))


class Hand(clocks.Clock):
    """A clock that is set by hand."""

    def __init__(self):
        super().__init__()
        self.time, self.seconds = START, 0.0

    def now(self):
        """Give the time."""
        return self.time

    def monotonic(self):
        """Give seconds."""
        return self.seconds

    def quality(self):
        """Say how good it is."""
        return "rtc"


IDENTITY = Identity("cam-1", "b", ModelRef(name="m", version="1", sha256="0" * 64), None)


def opened(folder, config=ANY, clock=None, spool=None) -> Inbox:
    """Start an inbox over a folder."""
    inbox = Inbox(
        config,
        spool or (lambda: Spool(folder, config.max_bytes)),
        IDENTITY,
        ("aphid", "other"),
        Counters(),
        clock or Hand(),
    )
    inbox.start()
    return inbox


def take(inbox: Inbox, outcome="taken") -> Parcel | None:
    """Send as the publisher would: take what is ready, and answer."""
    done = threading.Event()
    for _ in range(200):
        if (parcel := inbox.next()) is not None:
            inbox.settled(parcel, outcome)
            return parcel
        if inbox.flush(0.01):
            return inbox.next()
        done.wait(0.005)
    return None


def test_a_picked_frame_is_kept_with_everything_of_its_classification(tmp_path):
    """Probabilities, clock, model, reason and the JPEG itself are there after closing."""
    inbox = opened(tmp_path, msgspec.structs.replace(ANY, send=False))
    inbox.watch(frame(), found("aphid", 0.5), None)
    inbox.watch(frame(1), APHID, None)
    inbox.close()
    (path,) = tmp_path.glob("*.json")
    said = json.loads(path.read_bytes())
    assert said["probabilities"] == {"aphid": 0.5, "other": 0.5} | said["probabilities"]
    assert (said["kept"], said["clock"], said["label"]) == ("low-confidence", "rtc", "aphid")
    assert said["picture"]["sha256"] == hashlib.sha256(JPEG).hexdigest()
    assert path.with_suffix(".jpg").read_bytes() == JPEG
    health = inbox.health()
    assert (health.held, health.kept, health.unsent, health.sent) == (1, 1, 1, 0)


def test_a_slow_disk_slows_no_frame(tmp_path):
    """While the disk hangs, frames beyond a few are let go and counted."""
    free = threading.Event()

    def slow():
        free.wait(10)
        return Spool(tmp_path, 10**8)

    inbox = opened(tmp_path, spool=slow)
    for number in range(50):
        inbox.watch(frame(number), found("aphid", 0.5), None)
    assert inbox.health().missed >= 44
    free.set()
    inbox.close()
    assert inbox.health().kept == 50 - inbox.health().missed


def test_thumbnails_are_small_and_reasons_take_turns(tmp_path):
    """Each parcel is JSON that describes its JPEG exactly; no reason is sent alone."""
    spool = Spool(tmp_path, 10**8)
    large = devices.photo("leaf", (1280, 960))
    whys = ["unknown"] * 3 + ["random"] * 2 + ["disagreement"]
    for number, why in enumerate(whys):
        spool.add(item(why, number), large)
    inbox, sent = opened(tmp_path), []
    while parcel := take(inbox):
        (about, text), (topic, jpeg) = parcel.messages
        said = msgspec.json.decode(text, type=InboxItem)
        sent.append(said.kept)
        assert (about, topic) == (f"inbox/{said.id}/meta", f"inbox/{said.id}")
        assert hashlib.sha256(jpeg).hexdigest() == said.picture.sha256
        assert len(jpeg) <= ANY.thumbnail_bytes < len(large)
        assert max(facts(jpeg).width, facts(jpeg).height) <= 320
    inbox.close()
    assert sent == ["disagreement", "unknown", "random", "unknown", "random", "unknown"]
    assert len(list(tmp_path.glob("*.sent.json"))) == 6
    assert Spool(tmp_path, 10**8).unsent() == []


def test_of_a_picture_in_tiles_the_thumbnail_shows_the_tile_that_was_judged(tmp_path):
    """What a person labels is what the model saw, not the whole field."""
    halves = np.concatenate([decode(devices.photo(x)) for x in ("aphid", "leaf")], axis=1)
    tiles = tuple(
        Tile((left, 0, left + 160, 120), found("aphid", confidence))
        for left, confidence in ((0, 0.4), (160, 0.5))
    )
    inbox = opened(tmp_path)
    whole = frame(jpeg=encode_jpeg(halves))
    inbox.watch(whole, together(tiles), None)
    parcel = take(inbox)
    inbox.close()
    (_, text), (_, jpeg) = parcel.messages
    assert json.loads(text)["frame"]["region"] == [160, 0, 320, 120]
    assert np.abs(decode(jpeg).mean((0, 1)) - devices.COLOURS["leaf"]).max() < 3
    assert len(next(tmp_path.glob("*.jpg")).read_bytes()) == len(whole.jpeg())


def test_the_days_budget_is_kept_over_restarts_and_renewed_at_midnight(tmp_path):
    """Never more bytes in a day than told, however often the program starts."""
    spool, clock = Spool(tmp_path, 10**8), Hand()
    for number in range(6):
        spool.add(item(seconds=number), JPEG)
    one = len(JPEG) + 1200
    config = msgspec.structs.replace(ANY, max_bytes_per_day=2 * one)
    sent = []
    for _ in range(3):
        inbox = opened(tmp_path, config, clock)
        while parcel := take(inbox):
            sent.append(parcel.bytes)
        inbox.close()
    assert len(sent) == 2
    assert sum(sent) <= config.max_bytes_per_day
    clock.time += timedelta(days=1)
    inbox = opened(tmp_path, config, clock)
    assert take(inbox)
    inbox.close()
    assert inbox.health().sent_bytes_today <= config.max_bytes_per_day


def test_a_thumbnail_under_way_is_not_chosen_again_while_others_are_kept(tmp_path):
    """An answer that comes in the middle of writing a picture does not make it go twice."""
    Spool(tmp_path, 10**8).add(item(id="00000000000000aa"), JPEG)
    inbox, seen = opened(tmp_path), []
    started, answer = threading.Event(), threading.Event()

    def slow() -> bytes:
        started.set()
        answer.wait(5)
        return JPEG

    while not (parcel := inbox.next()):
        pass
    picture = frame(1)
    inbox.watch(replace(picture, jpeg=slow), found("aphid", 0.5, "unknown"), None)
    assert started.wait(5)
    inbox.settled(parcel, "taken")
    answer.set()
    while another := take(inbox):
        seen.append(another.id)
    inbox.close()
    assert len(seen) == 1
    assert seen != [parcel.id]


def test_a_lost_thumbnail_is_sent_again_and_paid_again(tmp_path):
    """A connection that breaks over and over cannot use up more than the day's bytes."""
    Spool(tmp_path, 10**8).add(item(id="00000000000000aa"), JPEG)
    config = msgspec.structs.replace(ANY, max_bytes_per_day=3 * (len(JPEG) + 1200))
    inbox, tries = opened(tmp_path, config), 0
    while take(inbox, "lost"):
        tries += 1
    inbox.close()
    assert tries == 3
    assert [entry.id for entry in Spool(tmp_path, 10**8).unsent()] == ["00000000000000aa"]


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
    spool = Spool(tmp_path / "inbox", 10**6)
    entries = spool.unsent()
    assert len(entries) >= 10
    for entry in entries:
        about, jpeg = spool.read(entry.id)
        assert hashlib.sha256(jpeg).hexdigest() == about.picture.sha256
        assert about.id == entry.id
    assert len(names(spool)) == 2 * len(entries)
