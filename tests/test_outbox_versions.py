"""Files of other versions of the program: taken over without loss, or refused by name."""

from __future__ import annotations

import json
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from first_outbox import first_outbox
from samples import health, sighting

from edge.errors import OutboxError
from edge.messages import new_id
from edge.outbox import Outbox

NOW = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)


def messages():
    """Give what may wait: single sightings, health, and a life that goes on."""
    single = [msgspec.structs.replace(sighting(time=NOW), phase="single") for _ in range(30)]
    begin = msgspec.structs.replace(sighting("mite", NOW), phase="begin", event=new_id())
    return [*single[:20], health(), *single[20:], begin]


def ids(rows):
    """Give what tells messages apart."""
    return [json.loads(row.payload).get("id") for row in rows]


@pytest.mark.parametrize("log", ["in place", "brought in"])
def test_a_file_of_the_first_version_is_taken_over_whole(tmp_path, log):
    """Messages, order, numbers, counts and lives; the next number follows, none is left out
    after a good stop, and what is written from then on is of this version."""
    path, sent = tmp_path / "o.db", messages()
    (tmp_path / "cut").mkdir()
    with first_outbox(path, sent, delivered=5):
        if log == "in place":
            for one in tmp_path.glob("o.db*"):
                shutil.copy(one, tmp_path / "cut")
    if log == "in place":
        path = tmp_path / "cut" / "o.db"
        Path(f"{path}-shm").unlink()
    with Outbox(path) as outbox:
        rows = outbox.page(limit=100)
        assert ids(rows) == [getattr(one, "id", None) for one in sent[5:]]
        assert [row.row for row in rows] == list(range(6, 33))
        assert outbox.depth().waiting == 27
        assert outbox.depth().bytes == sum(len(row.payload) + 100 for row in rows)
        assert [one.labels for one in outbox.hours(NOW)] == [{"aphid": 30, "mite": 1}]
        assert [life.event for life in outbox.lives()] == [sent[-1].event]
        outbox.append(sighting())
        new = outbox.page(limit=100)[-1]
        said = json.loads(new.payload)
        assert new.row == 33
        assert said["seq"] - said["skipped"] == 32
        assert (said["skipped"] > 0) == (log == "in place")
    with Outbox(path) as outbox:
        assert outbox.append(sighting()) == said["seq"] + 1
        assert ids(outbox.page(limit=100))[:27] == ids(rows)


def test_power_may_go_at_any_write_of_the_takeover(tmp_path):
    """Whatever prefix of it is on the disk, the next start finds all there was."""
    path, sent, cut = tmp_path / "o.db", messages(), tmp_path / "cut"
    with first_outbox(path, sent, delivered=5):
        pass
    before = path.read_bytes()
    with Outbox(path):
        after, log = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    written = len(log.rstrip(b"\0"))
    for size in range(0, written + 1024, 1024):
        shutil.rmtree(cut, ignore_errors=True)
        cut.mkdir()
        (cut / "o.db").write_bytes(before if len(after) == len(before) else after)
        (cut / "o.db-wal").write_bytes(log[:size])
        with Outbox(cut / "o.db") as outbox:
            assert ids(outbox.page(limit=100)) == [getattr(one, "id", None) for one in sent[5:]]
            assert outbox.depth().waiting == 27
            assert [life.event for life in outbox.lives()] == [sent[-1].event]


def test_a_file_of_the_first_version_without_lives_learns_of_them(tmp_path):
    """The table came later than the first files."""
    path = tmp_path / "o.db"
    with first_outbox(path, messages(), lives=False):
        pass
    with Outbox(path) as outbox:
        assert outbox.lives() == ()
        outbox.append(msgspec.structs.replace(sighting(), phase="begin", event="e"))
    with Outbox(path) as outbox:
        assert [life.event for life in outbox.lives()] == ["e"]


def test_a_file_of_a_later_version_is_refused_and_left_alone(tmp_path):
    """The error says which versions are read, and what to do."""
    path = tmp_path / "o.db"
    with Outbox(path) as outbox:
        outbox.append(sighting())
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA application_id = 0x57545233")
    db.close()
    before = path.read_bytes()
    with pytest.raises(OutboxError, match="version '3', this program reads '1' and '2'; install"):
        Outbox(path)
    assert path.read_bytes() == before
