"""What watches the clock, asked directly: when, how often, and what it says."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from clocks import RIGHT, Field
from samples import BOOT, health, image, sighting, taken
from there import there
from threads_here import runs

from edge.config import Broker, Config, FolderCamera, Model, V4l2Camera
from edge.errors import OutboxError
from edge.messages.health import Health
from edge.messages.sighting import Sighting
from edge.outbox.outbox import Outbox
from edge.outbox.retime import Retimer, looks_worse, message_of, retime, retimed
from edge.outbox.rows import Kind, Row
from edge.system.counters import Counters
from edge.system.identity import boot_id

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("clock", "better"),
    [("unsynced", True), ("rtc", True), ("holdover", True), ("retimed", False), ("synced", False)],
)
def test_only_what_a_worse_clock_showed_is_put_right(clock, better):
    """By the seconds since the start; what it tells of other moments moves along."""
    made = msgspec.structs.replace(
        taken(Field()), clock=clock, boot_seconds=60.5, since=RIGHT - HOUR, best_time=RIGHT + HOUR
    )
    made = msgspec.structs.replace(made, time=RIGHT)
    found = retimed(made, BOOT, RIGHT + 2 * HOUR)
    if not better:
        assert found is None
        return
    found = there(found)
    right = RIGHT + 2 * HOUR + timedelta(seconds=60.5)
    assert (found.time, found.clock) == (right, "retimed")
    assert (found.since, found.best_time) == (right - HOUR, right + HOUR)
    bare = there(retimed(msgspec.structs.replace(made, since=None, best_time=None), BOOT, RIGHT))
    assert (bare.since, bare.best_time) == (None, None)
    assert retimed(made, "another start", RIGHT) is None


def row(kind: Kind, payload: bytes) -> Row:
    """Make a row of an outbox."""
    return Row(7, kind, "t", payload, 0)


def test_a_message_that_cannot_be_read_is_left_as_it_is():
    """A picture has no time of its own; a program of later may write what this one does not."""
    assert message_of(row(Kind.IMAGE, b"{}")) is None
    assert message_of(row(Kind.SIGHTING, b"{}")) is None
    spoilt = msgspec.json.encode(sighting()).replace(b"aphid", b"\xff\xfe")
    assert message_of(row(Kind.SIGHTING, spoilt)) is None
    assert message_of(row(Kind.HEALTH, b'{"milliseconds": ' + b"[" * 100_000)) is None
    assert isinstance(message_of(row(Kind.SIGHTING, msgspec.json.encode(sighting()))), Sighting)
    assert isinstance(message_of(row(Kind.HEALTH, msgspec.json.encode(health()))), Health)


@pytest.mark.parametrize(
    ("kind", "payload", "worse"),
    [
        (Kind.SIGHTING, b'{"clock":"unsynced"}', True),
        (Kind.HEALTH, b'{"a":1,"clock":"rtc","b":2}', True),
        (Kind.SIGHTING, b'{"clock":"holdover"}', True),
        (Kind.IMAGE, b'{"clock":"rtc"}', False),
        (Kind.SIGHTING, b'{"clock":"synced"}', False),
        (Kind.SIGHTING, b'"clock":"rtc"', True),
        (Kind.SIGHTING, b'rtc"' + b" " * 20, False),
        (Kind.SIGHTING, b'        rtc"', False),
    ],
)
def test_what_may_be_put_right_is_seen_without_reading_it(kind, payload, worse):
    """By the field of its clock."""
    assert looks_worse(row(kind, payload)) is worse


@pytest.fixture
def outbox(tmp_path):
    """An empty one."""
    with Outbox(tmp_path / "o.db") as outbox:
        yield outbox


def counted(outbox: Outbox, patch: pytest.MonkeyPatch) -> list[int]:
    """Have an outbox say how many rows each look at it asked for and got."""
    looks: list[int] = []
    real = outbox.newest

    def newest(after, below, limit):
        page = real(after, below, limit)
        looks.append(len(page))
        return page

    patch.setattr(outbox, "newest", newest)
    return looks


def test_messages_of_earlier_starts_are_not_read_for_nothing(outbox, monkeypatch):
    """One page of them is enough; pages of pictures say nothing of whose they are."""
    clock = Field()
    outbox.append_many([taken(clock, "another start") for _ in range(500)])
    outbox.append_many([taken(clock)])
    clock.set()
    looks = counted(outbox, monkeypatch)
    assert retime(outbox, BOOT, clock.booted()) == (1, 501)
    assert looks == [200, 200]
    outbox.append_many([taken(Field()), *[image(1) for _ in range(250)]])
    del looks[:]
    assert retime(outbox, BOOT, clock.booted(), 501) == (1, 752)
    assert looks == [200, 51, 0]


def test_lives_are_put_right_where_nothing_waits(outbox):
    """What is kept for a kill is not said to be a message that waited."""
    clock = Field()
    begin = msgspec.structs.replace(taken(clock), phase="begin")
    outbox.append_many([begin])
    outbox.delete([1])
    clock.set()
    assert retime(outbox, BOOT, clock.booted()) == (0, 0)
    (life,) = outbox.lives()
    assert (life.clock, life.time) == ("retimed", RIGHT + timedelta(seconds=100))


def test_a_clock_that_is_set_is_told_each_time_and_what_stays_is_not(outbox):
    """Neither at the first look, nor while nothing changed."""
    told: list[int] = []
    clock, counters = Field(), Counters()
    retimer = Retimer(outbox, BOOT, clock, counters, 30, lambda: told.append(1))
    retimer.tick()
    retimer.tick()
    assert told == []
    clock.wrong_by += HOUR  # somebody sets it by hand
    retimer.tick()
    assert told == [1]
    clock.set()
    retimer.tick()
    assert told == [1, 1]
    retimer.tick()
    assert told == [1, 1]


@pytest.mark.parametrize("quality", ["rtc", "holdover", "synced"])
def test_nothing_waits_for_a_clock_that_is_not_unsynced(outbox, quality):
    """From the first look on."""
    clock = Field(quality=quality)
    retimer = Retimer(outbox, BOOT, clock, Counters(), 30, lambda: None)
    assert retimer.hold()
    retimer.tick()
    assert not retimer.hold()


def test_only_what_could_be_better_is_restated(outbox):
    """All else goes out as it was read, and so does all while the clock is not right."""
    clock, counters = Field(), Counters()
    outbox.append_many([taken(clock), image(), taken(clock, "another start"), taken(clock)])
    retimer = Retimer(outbox, BOOT, clock, counters, 30, lambda: None)
    rows = outbox.page()
    assert retimer.righted(rows) == rows
    clock.set()
    found = retimer.righted(rows)
    assert [a == b for a, b in zip(rows, found, strict=True)] == [False, True, True, False]
    assert counters["retimed"] == 2
    assert outbox.page() == found
    assert retimer.righted(found) == found
    assert counters["retimed"] == 2


def test_the_watch_looks_at_once_and_then_time_and_again(outbox, monkeypatch):
    """What fails is told, and the next look is made all the same; it ends when it is told to."""
    clock, counters = Field(quality="synced"), Counters()
    looks, enough = [], threading.Event()

    def quality():
        looks.append(threading.current_thread().name)
        if len(looks) == 2:
            raise ValueError("odd")
        if len(looks) == 3:
            assert counters.problems() == ("retiming: odd",)
        if len(looks) == 4:
            enough.set()
        return "synced"

    monkeypatch.setattr(clock, "quality", quality)
    with Retimer(outbox, BOOT, clock, counters, 30, lambda: None, 0.001) as retimer:
        assert looks[0] == threading.current_thread().name
        assert enough.wait(20)
        assert counters.problems() == ()
    assert not runs("clock")
    retimer.close()
    assert counters.crew.ended is None
    assert counters.errors() == {"ValueError": 1}


def test_a_disk_that_refuses_is_told_until_it_does_not(outbox, monkeypatch):
    """The next look begins where the last that came to its end did."""
    clock, counters = Field(), Counters()
    outbox.append(taken(clock))
    clock.set()
    retimer = Retimer(outbox, BOOT, clock, counters, 30, lambda: None)
    real = outbox.rewrite

    def refuse(*_):
        raise OutboxError("read only")

    outbox.rewrite = refuse
    retimer.tick()
    assert counters.problems() == ("retiming: read only",)
    assert counters["retimed"] == 0
    outbox.rewrite = real
    looks = counted(outbox, monkeypatch)
    for _ in range(2):
        retimer.tick()
        assert counters.problems() == ()
        assert counters["retimed"] == 1
    assert looks == [1, 0, 0]


@pytest.mark.parametrize(
    ("camera", "asked", "seconds"),
    [
        (V4l2Camera(), None, 30),
        (FolderCamera(path=Path("photos")), None, 0),
        (V4l2Camera(), 7, 7),
        (FolderCamera(path=Path("photos")), 7, 7),
        (V4l2Camera(), 0, 0),
    ],
)
def test_how_long_messages_wait_is_as_configured(outbox, camera, asked, seconds):
    """Half a minute unless it is said; pictures in a folder have their time already."""
    config = Config(
        model=Model(bundle=Path("m.wtr")),
        camera=camera,
        broker=Broker(host="h", clock_wait_seconds=asked),
    )
    clock, told = Field(), []
    retimer = Retimer.of(config, outbox, clock, Counters(), lambda: told.append(1))
    assert retimer.hold() is (seconds > 0)
    clock.seconds += seconds - 1
    assert retimer.hold() is (seconds > 0)
    clock.seconds += 1
    assert not retimer.hold()
    outbox.append(taken(clock, boot_id()))
    retimer.tick()
    clock.set()
    retimer.tick()
    (found,) = outbox.page()
    assert msgspec.json.decode(found.payload)["clock"] == "retimed"
    assert told == [1]
