"""The bytes of a day: over restarts, kills, midnights and clocks that jump."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import numpy as np
import pytest
from clocks import RIGHT, Hand
from results import APHID
from scripts import Script
from there import there

from edge.cameras.photo import encode_jpeg
from edge.config import Decision, Images
from edge.messages.sighting import Evidence, ModelRef
from edge.sightings.builder import SightingBuilder, picture_budget
from edge.sightings.decision import Decider
from edge.sightings.identity import Identity
from edge.system.counters import Counters
from edge.system.daily_budget import MOST_DAYS, Budget

DAY = timedelta(days=1)


@pytest.fixture
def path(tmp_path):
    """The file of a budget."""
    return tmp_path / "budget.json"


def test_a_days_budget_outlives_a_restart_and_ends_with_the_day(path):
    """What was taken is on disk first; the next UTC day begins at zero."""
    evening = RIGHT.replace(hour=23)
    assert Budget(path, 1000).take(700, evening)
    again = Budget(path, 1000)
    assert (again.used(evening), again.left(evening)) == (700, 300)
    assert not again.take(301, evening)
    assert again.take(300, evening)
    assert again.take(900, evening + timedelta(hours=1))
    assert Budget(path, 1000).used(evening + timedelta(hours=2)) == 900


def test_the_first_byte_counts(path):
    """It is noted, too, and a byte too many is a plain no."""
    assert Budget(path, 1).take(1, RIGHT)
    assert Budget(path, 1).used(RIGHT) == 1
    assert Budget(path, 1).take(1, RIGHT) is False


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff", b'{"days": {"2026-06-21": "x"}}', b"{}"])
def test_a_damaged_budget_sends_nothing_more_that_day(path, damage):
    """Too little is the safe side; the next day is whole."""
    path.write_bytes(damage)
    budget = Budget(path, 1000)
    assert not budget.take(1, RIGHT)
    assert budget.left(RIGHT) == 0
    assert budget.take(1000, RIGHT + DAY)


def test_a_clock_that_starts_wrong_brings_no_second_budget(path):
    """Without a clock of its own a device is in 1970 at each start, until NTP sets it."""
    wrong = RIGHT.replace(year=1970)
    assert Budget(path, 1000).take(1000, RIGHT)
    for _ in range(3):
        budget = Budget(path, 1000)
        budget.take(10, wrong)
        assert not budget.take(1, RIGHT)
    assert Budget(path, 1000).used(wrong) == 30


def test_only_so_many_days_are_remembered(path):
    """The ones that were used last."""
    budget = Budget(path, 1000)
    for day in range(MOST_DAYS + 1):
        budget.take(10 + day, RIGHT + day * DAY)
        budget.take(1, RIGHT)
    for one in (budget, Budget(path, 1000)):
        assert one.used(RIGHT) == 10 + MOST_DAYS + 1
        assert [one.used(RIGHT + day * DAY) for day in (1, 2)] == [0, 12]


def test_a_smaller_budget_than_was_spent_leaves_nothing(path):
    """The configuration was changed in between."""
    Budget(path, 1000).take(900, RIGHT)
    assert Budget(path, 500).left(RIGHT) == 0


def test_what_cannot_be_noted_is_not_taken(tmp_path):
    """Once the disk takes it, it is."""
    budget = Budget(tmp_path / "gone" / "budget.json", 1000)
    with pytest.raises(OSError, match="gone"):
        budget.take(10, RIGHT)
    assert budget.used(RIGHT) == 0
    (tmp_path / "gone").mkdir()
    assert budget.take(10, RIGHT)


def test_a_block_saves_writing_and_is_given_back_at_the_end(path):
    """Many small ones are one write; a good end leaves what was spent, to the byte."""
    budget = Budget(path, 1000, block=100)
    budget.take(10, RIGHT)
    first = path.stat().st_ino
    for _ in range(10):
        assert budget.take(10, RIGHT)
    assert path.stat().st_ino == first
    assert budget.take(1, RIGHT)
    assert path.stat().st_ino != first
    assert Budget(path, 1000).used(RIGHT) == 211
    budget.close()
    budget.close()
    assert Budget(path, 1000).used(RIGHT) == 111
    assert budget.take(889, RIGHT)
    assert Budget(path, 1000).used(RIGHT) == 1000


def test_a_budget_that_was_not_used_writes_nothing(path):
    """Nor does looking at it."""
    budget = Budget(path, 1000, block=100)
    budget.close()
    budget.used(RIGHT)
    budget.close()
    assert not path.exists()


def test_an_end_without_a_picture_leaves_the_file_alone(path):
    """Nothing changed, so nothing is written."""
    Budget(path, 1000).take(10, RIGHT)
    first = path.stat().st_ino
    budget = Budget(path, 1000, block=100)
    assert budget.left(RIGHT) == 990
    budget.close()
    assert path.stat().st_ino == first


def test_without_a_file_it_counts_in_memory():
    """For a run of its own."""
    budget = Budget(None, 100)
    assert budget.take(60, RIGHT)
    assert not budget.take(60, RIGHT)


KILLED = """
import os, signal, sys
from datetime import datetime, UTC
from pathlib import Path
from edge.system.daily_budget import Budget
budget = Budget(Path(sys.argv[1]), 1000, block=int(sys.argv[2]))
for _ in range(7):
    budget.take(50, datetime(2026, 6, 21, 9, tzinfo=UTC))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("block", "used"), [(0, 350), (100, 450)])
def test_a_program_that_is_killed_has_spent_what_it_noted(path, block, used):
    """Never less than it sent, and a block more at most."""
    run = [sys.executable, "-c", KILLED, str(path), str(block)]
    assert subprocess.run(run, timeout=60, check=False).returncode == -9
    assert Budget(path, 1000).used(RIGHT) == used


def pictures(outbox, images: Images, frames: int) -> int:
    """How many pictures a run of the program sends."""
    counters, clock = Counters(), Hand()
    identity = Identity("c", "b", ModelRef(name="m", version="1", sha256="0" * 64), None)
    budget = picture_budget(images, outbox)
    sightings = SightingBuilder(identity, images, counters, clock, budget)
    decider, sent, script = Decider(Decision(mode="always")), 0, Script([APHID] * frames)
    for number in range(frames):
        frame = there(script.next(0))
        events = decider.see(APHID, float(number), frame.time)
        messages = sightings.messages(frame, events, decider.best)
        sent += sum(isinstance(one, Evidence) for one in messages)
    return sent


def test_pictures_of_sightings_keep_to_one_budget_over_kills(tmp_path):
    """However often the program is started, no more than the day's bytes are sent."""
    size = len(encode_jpeg(np.full((90, 120, 3), 1, np.uint8)))
    images = Images(send=True, max_bytes=2000, max_bytes_per_day=3 * size + 100)
    sent = [pictures(tmp_path / "outbox.db", images, 2) for _ in range(4)]
    assert sent[0] == 2
    assert sum(sent) <= 3
    assert sent[2:] == [0, 0]


def test_a_budget_that_cannot_be_noted_sends_no_picture_and_says_so(tmp_path):
    """The sighting goes all the same."""
    images = Images(send=True, max_bytes=2000)
    assert pictures(tmp_path / "gone" / "outbox.db", images, 2) == 0
