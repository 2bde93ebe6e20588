"""A disk that others have filled: what was delivered can be deleted, and what is free is used."""

from __future__ import annotations

import os
import subprocess
import threading

import pytest
from samples import drain, sighting
from test_publisher_limits import until

from edge.errors import OutboxError, OutboxFullError
from edge.outbox.disk_reserve import ROOM_BYTES
from edge.outbox.outbox import Outbox
from edge.outbox.writer import Writer
from edge.system.counters import Counters


@pytest.fixture
def disk(tmp_path):
    """A file system of 8 MB, in memory."""
    if os.geteuid() != 0:
        pytest.skip("FULL DISK ABSENT: mounting a small one needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "test", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(file) -> None:
    """Take all room that is left."""
    with open(file, "wb", buffering=0) as ballast:
        for size in (65_536, 4_096):
            try:
                while ballast.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def test_a_full_disk_still_lets_the_outbox_empty(disk):
    """Whatever stands in the log, everything that was delivered can be deleted."""
    with Outbox(disk / "o.db") as outbox:
        written = 0
        with pytest.raises(OutboxFullError, match=r"free space|not full"):  # noqa: PT012
            while True:
                written += len(outbox.append_many([sighting() for _ in range(50)]))
                if written == 6000:
                    fill(disk / "ballast")
        assert drain(outbox) == list(range(1, written + 1))
        assert outbox.depth().waiting == 0
        outbox.append_many([sighting() for _ in range(50)])  # the file has pages to use again
        assert drain(outbox) == list(range(written + 1, written + 51))


def test_an_outbox_on_a_full_disk_empties_after_a_restart(disk):
    """Killed on the full disk and started again: it opens, and empties."""
    with Outbox(disk / "o.db") as outbox:
        outbox.append_many([sighting() for _ in range(500)])
        fill(disk / "ballast")
    with Outbox(disk / "o.db") as outbox:
        assert drain(outbox) == list(range(1, 501))


def test_room_is_taken_again_when_there_is_some(disk):
    """After the disk was freed, it is kept for the next time."""
    room = disk / "o.db.room"
    with Outbox(disk / "o.db") as outbox:
        outbox.append_many([sighting() for _ in range(500)])
        assert room.stat().st_size == ROOM_BYTES
        fill(disk / "ballast")
        with pytest.raises(OutboxError):  # noqa: PT012
            while True:
                outbox.append_many([sighting() for _ in range(50)])
        drain(outbox)
        (disk / "ballast").unlink()
        outbox.append(sighting())
        assert room.stat().st_size == ROOM_BYTES


@pytest.mark.parametrize("ended", ["well", "by a kill"])
def test_a_start_on_a_full_disk_delivers_and_says_what_waits(disk, ended, caplog):
    """Nothing more may be written: opening takes no room, deleting that which is kept for it.

    What is new is kept in memory, named among the problems, and written when there is room.
    """
    path, counters = disk / "o.db", Counters()
    outbox = Outbox(path)
    for _ in range(15):
        outbox.append_many([sighting() for _ in range(200)])
    if ended == "well":
        outbox.close()
    else:
        kept = {one: one.read_bytes() for one in disk.iterdir() if one.suffix != ".room"}
        outbox.close()
        for one, content in kept.items():
            if not one.name.endswith("-shm"):
                one.write_bytes(content)
    fill(disk / "ballast")
    with Outbox(path) as again:
        writer = Writer(again, lambda: None, counters, 0, retry_max_seconds=0.05)
        writer.start()
        assert counters.problems() == (), "nothing was refused yet"
        assert drain(again) == list(range(1, 3001))
        if ended == "well":  # after a kill the log has room to use again
            assert not (disk / "o.db.room").exists()
            assert f"kept in reserve as {disk / 'o.db.room'} is used" in caplog.text
            assert again.full
        fill(disk / "more")
        writer.submit([sighting()])
        assert not writer.flush(0.2)
        assert counters.problems()[0].startswith("outbox: ")
        assert "No space left" in counters.problems()[0]
        assert "edge.outbox.writer" in [
            one.name for one in caplog.records if one.levelname == "WARNING"
        ]
        (disk / "ballast").unlink()
        assert writer.flush(10)
        writer.close()
        assert counters.problems() == ()
        assert again.full is None
        assert [number > 3000 for number in drain(again)] == [True]


def test_that_the_room_is_used_is_said_before_anything_new_comes(disk, monkeypatch):
    """With the writer's next look while nothing is to be written; it ends when there is room."""
    monkeypatch.setattr("edge.outbox.writer._TIDY_SECONDS", 0.02)
    path, counters = disk / "o.db", Counters()
    with Outbox(path) as outbox:
        outbox.append_many([sighting() for _ in range(3000)])
    fill(disk / "ballast")
    with Outbox(path) as outbox:
        writer = Writer(outbox, lambda: None, counters)
        writer.start()
        assert drain(outbox) == list(range(1, 3001))
        fill(disk / "more")
        assert until(lambda: counters.is_failing("outbox"))
        assert "not full" in counters.problems()[0]
        (disk / "ballast").unlink()
        assert until(lambda: not counters.problems())
        writer.close()


@pytest.mark.parametrize("folder", ["", "new/one"])
def test_a_first_start_on_a_full_disk_waits_for_room(disk, folder, caplog):
    """There is nothing to deliver; what comes is written when there is room, under number 1."""
    path = disk / folder / "o.db"
    fill(disk / "ballast")
    counters, woken = Counters(), threading.Event()
    with Outbox(path) as outbox:
        assert outbox.full
        assert "new messages wait in memory" in caplog.text
        assert (outbox.page(), outbox.depth().waiting) == ([], 0)
        assert (outbox.lives(), outbox.hours(sighting().time), outbox.delete([1])) == ((), (), 0)
        writer = Writer(outbox, woken.set, counters, 0, retry_max_seconds=0.05)
        writer.start()
        assert counters.problems()[0].startswith("outbox: ")
        writer.submit([sighting(), sighting()])
        assert not writer.flush(0.2)
        (disk / "ballast").unlink()
        assert writer.flush(10)
        writer.close()
        assert counters.problems() == ()
        assert woken.is_set()
        assert drain(outbox) == [1, 2]


def test_a_stop_on_a_full_disk_still_says_goodbye(disk):
    """The room is used for that too: the next start leaves no number out."""
    path = disk / "o.db"
    outbox = Outbox(path)
    outbox.append_many([sighting() for _ in range(5)])
    drain(outbox)
    fill(disk / "ballast")
    outbox.close()
    (disk / "ballast").unlink()
    with Outbox(path) as outbox:
        assert outbox.append(sighting()) == 6


def test_a_damaged_file_on_a_full_disk_keeps_nobody_from_starting(disk):
    """What can be read is moved with the room that is kept; the damaged file stays beside."""
    path = disk / "o.db"
    with Outbox(path) as outbox:
        outbox.append_many([sighting() for _ in range(200)])
    with path.open("r+b") as file:
        file.seek(9 * 1024)
        file.write(os.urandom(1024))
    fill(disk / "ballast")
    with Outbox(path) as outbox:
        assert outbox.salvaged >= 190
        assert len(drain(outbox)) == outbox.salvaged


@pytest.mark.parametrize("found", ["at the start", "while running"])
def test_a_damaged_file_waits_for_the_room_that_saving_it_takes(disk, found):
    """Nothing is set aside unsaved: what can be read is delivered, then what came meanwhile."""
    path = disk / "o.db"
    outbox = Outbox(path)
    for _ in range(11):
        outbox.append_many([sighting() for _ in range(1000)])
    gone = [row.row for row in outbox.page(limit=300)]
    if found == "at the start":
        outbox.close()
    with path.open("r+b") as file:
        for page in (900, 901):
            file.seek(page * 1024)
            file.write(os.urandom(1024))
    fill(disk / "ballast")
    if found == "at the start":
        outbox = Outbox(path)
        assert "no room for what can be saved" in (outbox.full or "")
        with pytest.raises(OutboxFullError):
            outbox.append(sighting())
    else:
        outbox.delete(gone)
        with pytest.raises(OutboxFullError):
            outbox.page(2500, 1000)
    assert path.is_file()
    (disk / "ballast").unlink()
    outbox.tidy()
    for damaged in disk.glob("o.db.damaged-*"):  # a person has looked at it
        damaged.unlink()
    last = outbox.append(sighting())
    assert outbox.salvaged >= 10_600
    numbers = drain(outbox)
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == last > 11_000
    assert outbox.depth().waiting == 0
    outbox.close()
