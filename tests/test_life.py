"""The life of a sighting: it begins, goes on, and ends."""

from __future__ import annotations

import io
import threading
from datetime import timedelta
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
import samples
from PIL import Image
from results import APHID, STRANGE, WEAK, found, look, tile
from samples import sighting
from scripts import HOME, START, Clock, Script, into
from there import there

from edge.config import Decision, Images
from edge.device.agent import Agent
from edge.messages.health import Health
from edge.messages.sighting import Evidence, ModelRef, Sighting
from edge.model.scores import Reason
from edge.outbox.outbox import Outbox
from edge.sightings.builder import SightingBuilder, cut_off
from edge.sightings.decision import Decider
from edge.sightings.identity import Identity
from edge.sightings.visits import Event
from edge.system.counters import Counters

RULE = Decision(
    agreeing_frames=2, last_frames=3, cooldown_seconds=3, update_seconds=4, stay_share=0.5
)
OWN = {"aphid": 0.6, "mite": 0.6}
NOTHING = found("other", 0.2, "below-threshold")


def live(frames, rule=RULE, seconds=1.0, own=OWN):
    """Show frames a second apart; give (frame number, phase, label or reason) of each event."""
    decider, seen = Decider(rule, own), []
    for number, frame in enumerate(frames):
        now = number * seconds
        events = decider.see(frame, now, START + timedelta(seconds=now))
        seen += [(number, event.phase, event.label or event.reason, event) for event in events]
    return seen, decider


def told(seen):
    """Leave the events' insides away."""
    return [one[:3] for one in seen]


def test_an_insect_that_comes_and_goes_is_one_begin_updates_and_one_end():
    """Exactly those messages, however many frames show it, with true times and the best frame."""
    best = found("aphid", 0.97)
    frames = [NOTHING, *[APHID] * 6, best, *[APHID] * 3, *[NOTHING] * 6]
    seen, _ = live(frames)
    assert told(seen) == [
        (2, "begin", "aphid"),
        (6, "update", "aphid"),
        (10, "update", "aphid"),
        (13, "end", "aphid"),
    ]
    end = seen[-1][3]
    assert end.since == START + timedelta(seconds=1)
    assert end.duration_seconds == 9.0
    assert end.taken == START + timedelta(seconds=13)
    assert end.best.taken == START + timedelta(seconds=7)
    assert end.found.confidence == 0.97
    assert (end.votes.agree, end.votes.of) == (10, 11)
    assert end.ended == "gone"
    assert len({one[3].life for one in seen}) == 1


def test_what_keeps_a_life_is_less_than_what_begins_one():
    """0.35, below the threshold of 0.6 and above half of it, begins nothing and ends nothing."""
    wavering = found("aphid", 0.35, "below-threshold")
    assert told(live([wavering] * 9)[0]) == []
    seen, _ = live([APHID, APHID, *[wavering] * 20], RULE)
    assert {phase for _, phase, _ in told(seen)} == {"begin", "update"}
    too_weak = found("aphid", 0.25, "below-threshold")
    assert told(live([APHID, APHID, *[too_weak] * 9])[0])[-1] == (4, "end", "aphid")


def test_without_hysteresis_the_same_frames_end_it():
    """`stay_share = 1` asks of a visit what it asked to begin."""
    rule = Decision(agreeing_frames=2, last_frames=3, cooldown_seconds=3, stay_share=1.0)
    wavering = found("aphid", 0.35, "below-threshold")
    assert told(live([APHID, APHID, *[wavering] * 9], rule)[0])[-1] == (4, "end", "aphid")


def test_configured_thresholds_count_for_staying_too():
    """With 0.9 in the configuration, half of it is what keeps a life."""
    rule = Decision(
        agreeing_frames=1,
        last_frames=1,
        cooldown_seconds=0,
        stay_share=0.5,
        thresholds={"aphid": 0.9},
    )
    frames = [APHID, found("aphid", 0.5, "below-threshold"), found("aphid", 0.4)]
    assert told(live(frames, rule)[0]) == [(0, "begin", "aphid"), (2, "end", "aphid")]


def test_a_short_absence_is_no_end():
    """Gone for less than the cooldown, or for fewer than `of` frames: the same life."""
    gap = [APHID, APHID, NOTHING, NOTHING, APHID, *[NOTHING] * 3]
    assert told(live(gap)[0]) == [(1, "begin", "aphid"), (7, "end", "aphid")]
    rare, _ = live([APHID, APHID, NOTHING, NOTHING, NOTHING], seconds=600.0)
    assert told(rare)[-1] == (4, "end", "aphid")
    assert rare[-1][3].duration_seconds == 600.0


def test_a_class_that_comes_back_begins_a_new_life():
    """After its end it needs votes of its own, and has another name."""
    seen, _ = live([APHID, APHID, *[NOTHING] * 3, APHID, APHID])
    assert told(seen) == [(1, "begin", "aphid"), (4, "end", "aphid"), (6, "begin", "aphid")]
    assert seen[0][3].life == seen[1][3].life != seen[2][3].life


def test_an_unknown_lives_too_and_is_silent_where_asked():
    """What belongs to no class begins and ends like one."""
    frames = [STRANGE, STRANGE, STRANGE, NOTHING, NOTHING, NOTHING]
    assert told(live(frames)[0]) == [(1, "begin", "unknown"), (5, "end", "unknown")]
    assert live(frames, Decision(report_unknown=False))[0] == []
    assert live([APHID] * 5, Decision(background=("aphid",)))[0] == []


def test_several_classes_live_at_once():
    """With tiles, each has its own begin and end, its own region and its own best frame."""
    aphid, mite = tile((0, 0, 9, 9)), tile((50, 50, 60, 60), "mite", 0.8)
    surer = tile((52, 50, 60, 60), "mite", 0.95)
    leaf = tile((20, 20, 30, 30), "leaf", 0.9)
    frames = [look(aphid, mite)] * 2 + [look(aphid, surer)] + [look(aphid, leaf)] * 4
    rule = Decision(
        agreeing_frames=2, last_frames=3, cooldown_seconds=3, update_seconds=0, background=("leaf",)
    )
    seen, decider = live([*frames], rule)
    assert told(seen) == [(1, "begin", "aphid"), (1, "begin", "mite"), (5, "end", "mite")]
    assert seen[2][3].found.regions[0].box == (52, 50, 60, 60)
    assert [(one.label, one.ended) for one in decider.close()] == [("aphid", "stop")]
    assert decider.close() == ()


def test_a_night_without_frames_ends_what_lived_and_forgets_votes():
    """Nobody looked: the life ends where it was last seen, and old votes count no more."""
    decider = Decider(RULE, OWN)
    for now in (0.0, 1.0):
        decider.see(APHID, now, START + timedelta(seconds=now))
    assert decider.idle(7201.0) == ()
    (end,) = decider.idle(7201.1)
    assert (end.ended, end.duration_seconds, end.taken) == (
        "blind",
        1.0,
        START + timedelta(seconds=1),
    )
    assert decider.see(APHID, 9000.0, START) == ()
    assert [one.phase for one in decider.see(APHID, 9001.0, START)] == ["begin"]
    assert [one.phase for one in decider.see(APHID, 30000.0, START)] == ["end"]


def test_no_updates_where_none_are_wanted():
    """`update_seconds = 0`: begin and end only."""
    rule = Decision(agreeing_frames=1, last_frames=1, cooldown_seconds=0, update_seconds=0)
    assert told(live([APHID] * 50 + [NOTHING], rule)[0]) == [
        (0, "begin", "aphid"),
        (50, "end", "aphid"),
    ]


@pytest.mark.parametrize("seed", range(40))
def test_whatever_comes_every_life_begins_once_and_ends_once(seed):
    """Random tiles, classes, confidences, pauses and rules: the order of messages always holds."""
    random = np.random.default_rng(seed)
    rule = Decision(
        agreeing_frames=int(random.integers(1, 3)),
        last_frames=int(random.integers(2, 5)),
        cooldown_seconds=float(random.integers(0, 6)),
        update_seconds=float(random.integers(0, 6)),
        stay_share=float(random.random()),
        background=("leaf",),
    )
    decider, now, events = Decider(rule, OWN), 0.0, list[Event]()
    for _ in range(300):
        now += 9000.0 if random.random() < 0.01 else float(random.random() * 3)
        tiles = []
        for i in range(4):
            label = str(random.choice(["aphid", "mite", "leaf"]))
            confidence = float(random.random())
            weak: Reason | None = "below-threshold" if confidence < 0.6 else None
            reason: Reason | None = "unknown" if random.random() < 0.1 else weak
            tiles.append(tile((i * 20, 0, i * 20 + 10, 10), label, confidence, reason))
        events += decider.see(look(*tiles), now, START + timedelta(seconds=now))
    events += decider.close()
    lives: dict[str, list[Event]] = {}
    for event in events:
        lives.setdefault(event.life, []).append(event)
    alive: set[str | None] = set()
    for event in events:
        if event.phase == "begin":
            assert event.label not in alive
            alive.add(event.label)
        elif event.phase == "end":
            alive.remove(event.label)
    assert not alive
    assert len(lives) > 3
    for life in lives.values():
        assert [one.phase for one in (life[0], life[-1])] == ["begin", "end"]
        assert all(one.phase == "update" for one in life[1:-1])
        assert len({(one.label, one.since) for one in life}) == 1
        since = there(life[0].since)
        assert since <= life[0].taken <= life[-1].taken
        lengths = [one.duration_seconds for one in life]
        assert lengths == sorted(lengths)
        assert lengths[-1] <= (life[-1].taken - since).total_seconds() + 0.001
        sureness = [one.found.confidence for one in life]
        assert life[-1].found.confidence == max(sureness)
        assert all(one.votes.agree <= one.votes.of for one in life)


def run(results, images=None, rule=RULE):
    """Run an agent over results a second apart; give what it submits."""
    got, clock = list[Any](), Clock()
    script = Script(results, clock)
    counters = Counters()
    identity = Identity("cam-1", "boot", ModelRef(name="m", version="1", sha256="0" * 64), HOME)
    Agent(
        script,
        script,
        Decider(rule, OWN),
        SightingBuilder(identity, images or Images(), counters, clock),
        into(got),
        lambda _: samples.health(),
        1e9,
        counters,
        clock,
        threading.Event(),
    ).run()
    return [one for one in got if not isinstance(one, Health)]


def test_messages_of_a_life_share_its_name_and_each_has_its_own_id():
    """`event` is the id of the begin; the end tells of the best frame, its source and place."""
    best = found("aphid", 0.97)
    begin, end = run([APHID, best, APHID, *[NOTHING] * 4])
    assert (begin.phase, begin.event, begin.since) == (
        "begin",
        begin.id,
        START + timedelta(seconds=1),
    )
    assert (end.phase, end.event, end.ended) == ("end", begin.id, "gone")
    assert end.id != begin.id
    assert end.duration_seconds == 2.0
    assert end.time == START + timedelta(seconds=6)
    assert end.best_time == START + timedelta(seconds=2)
    assert (end.frame.source, end.confidence) == ("2.jpg", 0.97)
    assert end.location.lat == 1


def test_a_single_sighting_says_so():
    """With votes as before: `single`, an event of its own, no duration."""
    rule = Decision(mode="votes", agreeing_frames=1, last_frames=1)
    (one,) = run([APHID], rule=rule)
    assert (one.phase, one.event, one.since, one.best_time) == (
        "single",
        one.id,
        one.time,
        one.time,
    )
    assert (one.duration_seconds, one.ended) == (0.0, None)


def pictures(messages):
    """(phase, number of the frame that the picture shows) of all pictures."""
    sightings = {one.id: one for one in messages if isinstance(one, Sighting)}
    shown = []
    for one in messages:
        if isinstance(one, Evidence):
            level = int(np.asarray(Image.open(io.BytesIO(one.jpeg)))[0, 0, 0])
            shown.append((sightings[one.id].phase, level))
    return shown


def test_pictures_are_of_the_begin_and_of_a_later_best_frame():
    """The second only where it is another; updates have none; each follows its message."""
    better = found("aphid", 0.93), found("aphid", 0.97)
    frames = [APHID, APHID, *better, APHID, APHID, APHID, *[NOTHING] * 4]
    messages = run(frames, Images(send=True))
    assert pictures(messages) == [("begin", 2), ("end", 4)]
    assert "update" in {one.phase for one in messages if isinstance(one, Sighting)}
    for before, after in pairwise(messages):
        if isinstance(after, Evidence):
            assert before.id == after.id
    assert pictures(run([APHID, APHID, *[NOTHING] * 4], Images(send=True))) == [("begin", 2)]


def test_a_picture_may_be_of_the_region_only():
    """`images.crop`: the surest region with a quarter around it, as far as the picture goes."""
    frames = [look(tile((0, 0, 40, 40)), tile((60, 50, 100, 90), confidence=0.95))] * 3
    (jpeg,) = [one.jpeg for one in run(frames, Images(send=True, crop=True)) if _is_picture(one)]
    assert Image.open(io.BytesIO(jpeg)).size == (60, 50)
    (jpeg,) = [one.jpeg for one in run(frames, Images(send=True)) if _is_picture(one)]
    assert Image.open(io.BytesIO(jpeg)).size == (120, 90)


def _is_picture(message):
    return isinstance(message, Evidence)


def test_a_stop_ends_what_lives():
    """Out of frames with an aphid still there: its end says that the program stopped."""
    assert [(one.phase, one.ended) for one in run([APHID, APHID, WEAK])] == [
        ("begin", None),
        ("end", "stop"),
    ]


def test_the_outbox_counts_begins_and_knows_what_lives(tmp_path):
    """Updates and ends are no new sightings; a life is open until its end is on disk."""

    def of(phase, event):
        return msgspec.structs.replace(sighting(), phase=phase, event=event)

    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append_many(
            [of("begin", "a"), of("update", "a"), of("begin", "b"), of("single", "c")]
        )
        outbox.append(of("end", "b"))
        assert [(one.event, one.phase, one.seq) for one in outbox.lives()] == [("a", "update", 2)]
        (hour,) = outbox.hours(sighting().time)
        assert hour.labels == {"aphid": 3}
    with Outbox(tmp_path / "o.db") as outbox:
        (left,) = outbox.lives()
        outbox.append(cut_off(left))
        assert outbox.lives() == ()
