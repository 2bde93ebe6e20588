"""The loop: what becomes a sighting, and when."""

from __future__ import annotations

import errno
import threading
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest
import samples
from results import APHID, MITE, STRANGE, WEAK
from scripts import HOME, START, Clock, Script, into
from there import there

from edge.cameras.photo import encode_jpeg
from edge.config import Decision, Images
from edge.device.agent import Agent
from edge.device.health.meter import HealthMeter
from edge.device.health.parts import DeviceHealth, QueueHealth
from edge.errors import ModelError
from edge.messages.health import Health
from edge.messages.sighting import Evidence, Location, ModelRef, Sighting
from edge.outbox.dead_letters import DeadLetters
from edge.outbox.outbox import Outbox
from edge.sightings.builder import SightingBuilder
from edge.sightings.decision import Decider
from edge.sightings.identity import Identity
from edge.system.counters import Counters


def events(config: Decision, frames, seconds=1.0):
    """Show frames one after the other; give (frame number, label or reason, agree, of)."""
    decider, seen = Decider(config), []
    for number, frame in enumerate(frames):
        seen += [
            (number, event.label or event.reason, event.votes.agree, event.votes.of)
            for event in decider.see(frame, number * seconds, START)
        ]
    return seen


def test_k_of_n_frames_make_an_event():
    """Two of the last three, the newest among them; one alone does not."""
    rule = Decision(mode="votes", agreeing_frames=2, last_frames=3, cooldown_seconds=0)
    assert events(rule, [APHID, MITE, APHID]) == [(2, "aphid", 2, 3)]
    assert events(rule, [APHID, WEAK, WEAK, APHID, WEAK]) == []
    assert events(rule, [APHID, APHID]) == [(1, "aphid", 2, 2)]


def test_frames_are_used_up_by_their_event():
    """The next event of the same class needs frames of its own."""
    rule = Decision(mode="votes", agreeing_frames=2, last_frames=3, cooldown_seconds=0)
    assert [e[0] for e in events(rule, [APHID] * 6)] == [1, 3, 5]


def test_a_class_rests_after_its_event_and_others_do_not():
    """The cooldown counts per class."""
    rule = Decision(mode="votes", agreeing_frames=1, last_frames=1, cooldown_seconds=3)
    frames = [APHID, APHID, MITE, APHID, APHID, MITE]
    assert [e[:2] for e in events(rule, frames)] == [
        (0, "aphid"),
        (2, "mite"),
        (3, "aphid"),
        (5, "mite"),
    ]


def test_unknowns_vote_like_a_class_and_can_be_silenced():
    """What belongs to no class is an event of its own, unless switched off."""
    frames = [STRANGE, APHID, STRANGE]
    assert events(Decision(mode="votes", agreeing_frames=2, last_frames=3), frames) == [
        (2, "unknown", 2, 3)
    ]
    assert (
        events(
            Decision(mode="votes", agreeing_frames=2, last_frames=3, report_unknown=False), frames
        )
        == []
    )


def test_background_is_never_a_sighting():
    """An empty leaf is recognised and not reported."""
    assert (
        events(
            Decision(mode="votes", agreeing_frames=1, last_frames=1, background=("aphid",)),
            [APHID] * 5,
        )
        == []
    )


def test_configured_thresholds_replace_the_models():
    """Lower lets a weak frame through, higher stops a strong one; unknown stays unknown."""
    low, high = (
        Decision(mode="votes", agreeing_frames=1, last_frames=1, thresholds={"aphid": 0.2}),
        Decision(mode="votes", agreeing_frames=1, last_frames=1, thresholds={"aphid": 0.95}),
    )
    assert events(low, [WEAK]) == [(0, "aphid", 1, 1)]
    assert events(high, [APHID]) == []
    assert events(low, [STRANGE])[0][1] == "unknown"


def test_always_makes_every_frame_an_event():
    """Replayed photos: one event each, with the reason where there is no label."""
    rule = Decision(mode="always", background=("mite",))
    assert [e[1] for e in events(rule, [APHID, APHID, WEAK, MITE, STRANGE])] == [
        "aphid",
        "aphid",
        "below-threshold",
        "background",
        "unknown",
    ]


def run(
    script,
    submitted,
    images=None,
    health=None,
    counters=None,
    clock=None,
    stop=None,
    watchers=(),
    rule=None,
):
    """Run an agent over a script; what it submits goes to a list."""
    counters, clock = counters or Counters(), clock or Clock()
    agent = Agent(
        script,
        script,
        Decider(rule or Decision(mode="always")),
        SightingBuilder(
            Identity("cam-1", "boot", ModelRef(name="m", version="1", sha256="0" * 64), HOME),
            images or Images(),
            counters,
            clock,
        ),
        submitted if callable(submitted) else into(submitted),
        health or (lambda _: samples.health()),
        10.0,
        counters,
        clock,
        stop or threading.Event(),
        watchers,
    )
    agent.run()


def test_a_sighting_tells_when_where_and_by_what():
    """Time and place of the frame; the configured place where the frame has none."""
    got: list[Sighting] = []
    run(Script([APHID, MITE]), got)
    first, second = got
    assert (first.label, first.reason, first.confidence) == ("aphid", None, 0.9)
    assert first.time == START + timedelta(seconds=1)
    assert (first.device, first.boot, first.clock) == ("cam-1", "boot", "rtc")
    assert (first.frame.width, first.frame.height, first.frame.source) == (120, 90, "1.jpg")
    assert first.location == HOME
    assert second.location == Location(lat=1, lon=2)
    assert first.id != second.id


def test_a_picture_follows_its_sighting_within_the_days_budget():
    """Pictures stop when the day's bytes are spent, and begin again after midnight UTC."""
    got: list[Sighting | Evidence] = []
    size = len(encode_jpeg(np.full((90, 120, 3), 1, np.uint8)))
    images = Images(send=True, max_bytes_per_day=2 * size + 100, max_bytes=2000)
    clock = Clock()
    run(Script([APHID] * 15, clock), got, images, clock=clock)
    with_picture = {one.id for one in got if isinstance(one, Evidence)}
    sightings = [one for one in got if isinstance(one, Sighting)]
    assert [n for n, one in enumerate(sightings, 1) if one.id in with_picture] == [1, 2, 10, 11]
    for before, after in pairwise(got):
        if isinstance(after, Evidence):
            assert after.id == before.id
            assert len(after.jpeg) <= 2000


def test_a_failing_classifier_is_logged_once_and_the_loop_goes_on(caplog):
    """Three failures are one line and three counts."""
    got, counters = list[Sighting](), Counters()
    run(Script([APHID, *[ModelError("broken")] * 3, MITE]), got, counters=counters)
    assert [one.label for one in got] == ["aphid", "mite"]
    assert counters.errors() == {"ModelError": 3}
    assert sum(r.levelname == "WARNING" for r in caplog.records) == 1


def test_a_watcher_that_fails_is_a_problem_until_it_works_again():
    """The others still look on, no sighting is lost, and what was failing is not forever."""
    got, looked, counters, problems = list[Sighting](), list[int](), Counters(), []

    def fails_once(*_):
        problems.append(counters.problems())
        if not looked:
            raise ValueError("blind")

    def looks(*_):
        looked.append(1)

    watchers = [fails_once, looks]
    run(Script([APHID, MITE, APHID]), got, counters=counters, watchers=watchers)
    assert len(got) == len(looked) == 3
    assert problems == [(), ("watching frames: blind",), ()]
    assert counters.problems() == ()
    assert counters.errors() == {"ValueError": 1}


def test_a_refusing_disk_holds_the_loop_until_it_takes_the_event():
    """Older events are worth more than new frames; a stop ends the waiting."""
    got, refusals, stop = [], iter([False, False, True, True]), threading.Event()

    def submit(batch):
        taken = next(refusals, False)
        if taken:
            got.extend(batch)
        elif len(got) == 2:
            stop.set()
        return taken

    run(Script([APHID, MITE, APHID]), submit, stop=stop)
    assert [one.label for one in got] == ["aphid", "mite"]


class Sleeper(Script):
    """A camera on a computer that is suspended for eight hours before its fourth frame."""

    def next(self, timeout):
        """Return a frame, taken now."""
        if self.count == 3:
            there(self.clock).asleep += 8 * 3600
        frame = super().next(timeout)
        return frame and replace(frame, time=there(self.clock).now())


def test_a_sighting_does_not_live_on_while_the_computer_sleeps():
    """Nobody looked: it ends, and is a new one afterwards; no duration hides the hours."""
    clock, got = Clock(), list[Sighting]()
    rule = Decision(agreeing_frames=1, last_frames=1, cooldown_seconds=60, blind_seconds=7200)
    run(Sleeper([APHID] * 6, clock), got, clock=clock, rule=rule, images=Images(send=False))
    told = [one for one in got if isinstance(one, Sighting)]
    assert [(one.phase, one.ended) for one in told] == [
        ("begin", None),
        ("end", "blind"),
        ("begin", None),
        ("end", "stop"),
    ]
    assert [one.duration_seconds for one in told] == [0, 2, 0, 2]
    assert told[2].time - told[0].time == timedelta(hours=8, seconds=3)


@pytest.fixture
def meter(tmp_path):
    """A reporter over an invented machine."""
    import devices

    from edge.config import load_config

    root = tmp_path / "root"
    for name, text in {
        "sys/class/thermal/thermal_zone0/temp": "51300\n",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
        "proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    1000 kB\n",
        "proc/self/statm": "100 50 1\n",
        "proc/sys/kernel/random/boot_id": "5f0c1f2a-9b3e-4d5f-8a7b-000000000000\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    config = load_config(devices.config(tmp_path, 1))
    with Outbox(tmp_path / "o.db") as outbox:
        counters = Counters()
        letters = DeadLetters(tmp_path / "letters")
        parts = DeviceHealth(config, counters, Clock(), root), QueueHealth(outbox, letters, Clock())
        yield HealthMeter([one.part for one in parts], counters)


def test_health_reads_the_machine_and_the_counters(meter):
    """Temperature, throttling in words, memory; the loop's own means since the last message."""
    got: list[Sighting | Health] = []
    clock = Clock()
    run(Script([APHID] * 12, clock), got, health=meter.report, clock=clock)
    (health,) = [one for one in got if isinstance(one, Health)]
    assert health.temperature_celsius == 51.3
    assert health.throttled == (
        "under-voltage",
        "throttled",
        "under-voltage-occurred",
        "throttled-occurred",
    )
    assert health.memory_available_bytes == 1_024_000
    assert health.boot == "5f0c1f2a9b3e"
    assert there(health.disk_free_bytes) > 0
    assert (health.milliseconds.preprocess, health.milliseconds.invoke) == (1.0, 2.0)
    assert health.milliseconds.loop == 1000.0


def test_a_machine_without_sensors_says_null(meter, tmp_path):
    """What cannot be read is null, not zero and not an error."""
    import shutil

    shutil.rmtree(tmp_path / "root")
    health = meter.now()
    assert health.temperature_celsius is health.throttled is health.process_bytes is None


@pytest.mark.parametrize("shortage", [MemoryError(), OSError(errno.ENOMEM, "no memory")])
def test_memory_that_is_short_for_a_moment_costs_no_sighting(shortage):
    """What was seen is written again after a moment, a life's end too; the errors are counted."""
    counters, got = Counters(), list[Sighting]()

    class Short(Clock):
        asked = 0

        def quality(self):
            self.asked += 1
            if self.asked % 2:
                raise shortage
            return super().quality()

    run(
        Script([APHID, APHID]),
        got,
        clock=Short(),
        counters=counters,
        rule=Decision(agreeing_frames=1, last_frames=1),
    )
    assert [(one.label, one.phase) for one in got] == [("aphid", "begin"), ("aphid", "end")]
    assert counters["sightings_lost"] == 0
    assert counters.errors() == {type(shortage).__name__: 2}
    assert not counters.problems()
