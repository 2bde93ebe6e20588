"""A disk that others have filled: what was delivered can be deleted, and what is free is used."""

from __future__ import annotations

import os
import subprocess

import pytest
from samples import drain, sighting

from edge.errors import OutboxError, OutboxFullError
from edge.outbox import Outbox
from edge.room import ROOM_BYTES


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
                if written == 1000:
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
