"""What a device says of an update, message by message."""

from __future__ import annotations

import json

import pytest
from clocks import RIGHT, Hand
from msgspec.structs import replace
from proofs import PROOF
from there import there

from edge.messages.device import RunningModel
from edge.messages.updates import ModelEntry, Outcome
from edge.updates.progress import ProgressTopic
from edge.updates.record import Record

RUNNING = RunningModel(
    name="a", version="1", sha256="1" * 64, labels=("x",), runtime="fake", runtime_version="1"
)
ENTRY = ModelEntry(name="a", version="2", sha256="2" * 64, bytes=1, labels=("x",))
TRIAL = Record(current="a-2", models={"a-2": ENTRY}, update="u1")


class Topic:
    """What stands on the topic, after each call."""

    def __init__(self):
        self.clock, self.said = Hand(), []
        self.teller = ProgressTopic("base/cam-1", lambda: RUNNING, self.clock, self.renew)

    def renew(self, topic):
        """Publish again."""
        assert topic == "base/cam-1/update"
        self.said.append(self.now())

    def now(self):
        """What is retained."""
        return json.loads(there(self.teller.introduction().payload()))

    def last(self, *fields):
        """Fields of what was published last."""
        return tuple(self.said[-1].get(field) for field in fields)


@pytest.fixture
def topic():
    """A new one."""
    return Topic()


def test_at_first_nothing_is_under_way(topic):
    """The model that runs is named, and no other."""
    assert topic.teller.introduction().topic == "base/cam-1/update"
    assert topic.now() == {
        "schema": 1,
        "device": "cam-1",
        "time": "2026-06-21T09:00:00Z",
        "phase": "idle",
        "percent": None,
        "update": None,
        "name": None,
        "version": None,
        "result": None,
        "reason": "",
        "title": "a",
        "installed_version": "1",
        "latest_version": "1",
        "in_progress": False,
        "update_percentage": None,
    }
    assert topic.said == []


def test_a_phase_names_what_is_known_of_the_model_on_its_way(topic):
    """At first only which update it is."""
    topic.clock.time = RIGHT.replace(hour=10)
    topic.teller.phase("proving", "u1", None)
    fields = ("phase", "in_progress", "update", "name", "version", "latest_version", "time")
    time = "2026-06-21T10:00:00Z"
    assert topic.last(*fields) == ("proving", True, "u1", None, None, "1", time)
    assert topic.teller.proof is None
    topic.teller.phase("switching", "u1", PROOF)
    assert topic.last(*fields) == ("switching", True, "u1", "a", "2", "2", time)
    assert topic.teller.proof is PROOF
    topic.teller.idle(None)
    assert topic.last(*fields) == ("idle", False, None, None, None, "1", time)
    assert topic.teller.proof is None


def test_a_download_is_told_in_steps_of_five_percent(topic):
    """The first at once; where the size is not known, none."""
    topic.teller.phase("fetching", "u1", None)
    topic.teller.fetched(10, None)
    topic.teller.fetched(0, 0)
    assert len(topic.said) == 1
    for done in range(0, 3001):
        topic.teller.fetched(done, 3000)
    percents = [one["percent"] for one in topic.said[1:]]
    assert percents == [5.0 * step for step in range(21)]
    assert percents == [one["update_percentage"] for one in topic.said[1:]]
    topic.teller.fetched(1000, 3000)
    assert topic.last("percent", "phase", "update") == (33.3, "fetching", "u1")


def test_a_probation_is_told_with_its_model(topic):
    """Once by name, then how far it is."""
    topic.teller.probation(TRIAL, 0.0)
    fields = ("phase", "update", "name", "version", "latest_version", "percent")
    assert topic.last(*fields) == ("probation", "u1", "a", "2", "2", 0.0)
    assert len(topic.said) == 2
    topic.teller.probation(TRIAL, 0.049)
    assert len(topic.said) == 2
    topic.teller.probation(TRIAL, 0.05)
    assert topic.last(*fields) == ("probation", "u1", "a", "2", "2", 5.0)
    assert len(topic.said) == 3


def test_how_the_last_one_ended_stays(topic):
    """What has no name is told without."""
    named = Outcome(name="a", version="2", update="u1", result="refused", reason="why", time=RIGHT)
    topic.teller.phase("proving", "u1", PROOF)
    topic.teller.idle(named)
    fields = ("phase", "update", "name", "version", "result", "reason", "latest_version", "percent")
    assert topic.last(*fields) == ("idle", "u1", "a", "2", "refused", "why", "1", None)
    topic.teller.idle(replace(named, name="", version="", update=None))
    assert topic.last(*fields) == ("idle", None, None, None, "refused", "why", "1", None)
