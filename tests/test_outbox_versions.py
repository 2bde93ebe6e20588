"""Files of other versions of the program: taken over without loss, or refused by name."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from first_outbox import first_outbox
from samples import health, sighting

from edge.errors import OutboxError, OutboxFullError
from edge.messages.base import new_id
from edge.outbox.outbox import Outbox

NOW = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)


def messages():
    """What may wait: single sightings, health, and a life that goes on."""
    single = [msgspec.structs.replace(sighting(time=NOW), phase="single") for _ in range(30)]
    begin = msgspec.structs.replace(sighting("mite", NOW), phase="begin", event=new_id())
    return [*single[:20], health(), *single[20:], begin]


def ids(rows):
    """What distinguishes messages."""
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


@pytest.mark.parametrize(
    ("mark", "version"),
    [("application_id = 0x57545233", "'3'"), ("user_version = 1", "'2.1'")],
)
@pytest.mark.parametrize("log", ["in place", "brought in"])
def test_a_file_of_a_later_version_is_refused_and_left_alone(tmp_path, mark, version, log):
    """The error says which versions are read, and what to do; the later program finds all, also
    what it wrote last before it was killed.
    """
    path, kept = tmp_path / "o.db", tmp_path / "kept"
    with Outbox(path) as outbox:
        outbox.append(sighting())
    kept.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(
            f"PRAGMA {mark}; ALTER TABLE message ADD COLUMN more; "
            "UPDATE message SET more = 'precious'"
        )
        if log == "in place":
            for one in tmp_path.glob("o.db*"):
                shutil.copy(one, kept)
    if log == "brought in":
        for one in tmp_path.glob("o.db*"):
            shutil.copy(one, kept)
    (kept / "o.db-shm").unlink(missing_ok=True)
    before = {one.name: one.read_bytes() for one in kept.iterdir()}
    said = f"version {version}, this program reads '1' and '2'; install"
    for _ in range(2):
        with pytest.raises(OutboxError, match=said):
            Outbox(kept / "o.db")
    if log == "brought in":
        assert {one.name: one.read_bytes() for one in kept.iterdir()} == before
    assert (kept / "o.db.seq").read_bytes() == before["o.db.seq"]
    assert not list(kept.glob("*damaged*"))
    with contextlib.closing(sqlite3.connect(kept / "o.db")) as db:
        assert db.execute("SELECT more FROM message").fetchall() == [("precious",)]


def test_a_full_disk_at_any_point_of_the_takeover_costs_nothing(tmp_path):
    """Whatever room is left: it is taken over, or waits for room; then all is there, in order."""
    if os.geteuid() != 0:
        pytest.skip("FULL DISK ABSENT: mounting a small one needs root")
    sent, first, disk = messages(), tmp_path / "first", tmp_path / "disk"
    first.mkdir(), disk.mkdir()
    with first_outbox(first / "o.db", sent, delivered=5):
        pass
    outcomes = set()
    for left in (0, 1, 2, 4, 8, 12, 16, 24, 32, 64, 128, 256, 400):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "test", disk], check=True)
        try:
            for one in first.iterdir():
                shutil.copy(one, disk)
            room = os.statvfs(disk)
            with (disk / "ballast").open("wb") as ballast:
                size = room.f_bavail * room.f_bsize - left * 1024
                os.posix_fallocate(ballast.fileno(), 0, size)
            with Outbox(disk / "o.db") as outbox:
                outcomes.add(bool(outbox.full))
                if outbox.full:
                    with pytest.raises(OutboxFullError):
                        outbox.append(sighting())
            (disk / "ballast").unlink()
            with Outbox(disk / "o.db") as outbox:
                assert not outbox.full
                rows = outbox.page(limit=100)
                assert ids(rows) == [getattr(one, "id", None) for one in sent[5:]]
                assert [life.event for life in outbox.lives()] == [sent[-1].event]
            assert not list(disk.glob("*damaged*"))
        finally:
            subprocess.run(["umount", "-l", disk], check=True)
    assert outcomes == {True, False}
