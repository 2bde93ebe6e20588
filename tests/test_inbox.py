"""Pictures to learn from: kept beside the loop, sent when there is time."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from dataclasses import replace
from datetime import timedelta

import devices
import msgspec
import numpy as np
from clocks import Hand
from patience import PATIENCE
from pictures import ANY, JPEG, frame, item, unsent
from results import APHID, found
from there import there

from edge.cameras.photo import encode_jpeg, facts
from edge.feedback.inbox import PictureInbox
from edge.feedback.picture_store import PictureStore
from edge.messages.feedback import InboxItem, Kept
from edge.messages.sighting import ModelRef
from edge.model.classifier import Tile
from edge.model.image.preprocessing import decode
from edge.model.tiled_classifier import together
from edge.mqtt.idle_sender import Parcel
from edge.sightings.identity import Identity
from edge.system.counters import Counters

IDENTITY = Identity("cam-1", "b", ModelRef(name="m", version="1", sha256="0" * 64), None)


def opened(folder, config=ANY, clock=None, spool=None, counters=None) -> PictureInbox:
    """Start an inbox over a folder."""
    inbox = PictureInbox(
        config,
        spool or (lambda: PictureStore(folder, config.max_bytes)),
        IDENTITY,
        ("aphid", "other"),
        counters or Counters(),
        clock or Hand(),
    )
    inbox.start()
    return inbox


def take(inbox: PictureInbox, outcome="taken") -> Parcel | None:
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
        return PictureStore(tmp_path, 10**8)

    inbox = opened(tmp_path, spool=slow)
    for number in range(50):
        inbox.watch(frame(number), found("aphid", 0.5), None)
    assert inbox.health().missed >= 44
    free.set()
    inbox.close()
    assert inbox.health().kept == 50 - inbox.health().missed


def test_thumbnails_are_small_and_reasons_take_turns(tmp_path):
    """Each parcel is JSON that describes its JPEG exactly; no reason is sent alone."""
    spool = PictureStore(tmp_path, 10**8)
    large = devices.photo("leaf", (1280, 960))
    whys: list[Kept]
    whys = ["unknown", "unknown", "unknown", "random", "random", "disagreement"]
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
    assert PictureStore(tmp_path, 10**8).unsent == 0 == len(unsent(tmp_path))


def test_a_picture_that_cannot_be_opened_just_now_is_not_given_up(tmp_path, monkeypatch):
    """Its thumbnail is made when descriptors are there again."""
    kept = item()
    PictureStore(tmp_path, 10**8).add(kept, JPEG)
    real, refused = os.open, list[object]()

    def refuse(path, *arguments, **options):
        if str(path).endswith(".jpg") and not refused:
            refused.append(path)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    counters = Counters()
    inbox = opened(tmp_path, counters=counters)
    assert inbox.flush(10.0)
    assert refused
    assert counters.problems()[0].startswith("pictures of the inbox: cannot open")
    inbox.watch(frame(9), found("aphid", 0.5), None)  # whoever has work looks again
    assert kept.id in {there(take(inbox)).id, there(take(inbox)).id}
    assert counters.problems() == ()
    inbox.close()


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
    parcel = there(take(inbox))
    inbox.close()
    (_, text), (_, jpeg) = parcel.messages
    assert json.loads(text)["frame"]["region"] == [160, 0, 320, 120]
    assert np.abs(decode(jpeg).mean((0, 1)) - devices.COLOURS["leaf"]).max() < 3
    assert len(next(tmp_path.glob("*.jpg")).read_bytes()) == len(whole.jpeg())


def test_the_days_budget_is_kept_over_restarts_and_renewed_at_midnight(tmp_path):
    """Never more bytes in a day than told, however often the program starts."""
    spool, clock = PictureStore(tmp_path, 10**8), Hand()
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
    PictureStore(tmp_path, 10**8).add(item(id="00000000000000aa"), JPEG)
    inbox, seen = opened(tmp_path), []
    started, answer = threading.Event(), threading.Event()

    def slow() -> bytes:
        started.set()
        answer.wait(PATIENCE)
        return JPEG

    while not (parcel := inbox.next()):
        pass
    picture = frame(1)
    inbox.watch(replace(picture, jpeg=slow), found("aphid", 0.5, "unknown"), None)
    assert started.wait(PATIENCE)
    inbox.settled(parcel, "taken")
    answer.set()
    while another := take(inbox):
        seen.append(another.id)
    inbox.close()
    assert len(seen) == 1
    assert seen != [parcel.id]


def test_a_lost_thumbnail_is_sent_again_and_paid_again(tmp_path):
    """A connection that breaks over and over cannot use up more than the day's bytes."""
    PictureStore(tmp_path, 10**8).add(item(id="00000000000000aa"), JPEG)
    config = msgspec.structs.replace(ANY, max_bytes_per_day=3 * (len(JPEG) + 1200))
    inbox, tries = opened(tmp_path, config), 0
    while take(inbox, "lost"):
        tries += 1
    inbox.close()
    assert tries == 3
    assert [stem.split("_")[2] for stem in unsent(tmp_path)] == ["00000000000000aa"]
