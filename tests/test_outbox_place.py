"""The outbox's files deleted or moved under a running device: nothing is lost, and it is told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest
from open_files import open_files
from samples import drain, sighting
from steps import descriptors

from edge.errors import OutboxError
from edge.outbox.file_location import FileLocation
from edge.outbox.outbox import Outbox
from edge.outbox.writer import Writer
from edge.system.counters import Counters


def killed(outbox: Outbox, copy) -> None:
    """Copy what a kill leaves of the outbox's folder."""
    shutil.copytree(outbox.path.parent, copy, symlinks=True)


@pytest.mark.parametrize(
    "gone",
    [
        "the folder",
        "and the one above",
        "o.db",
        "o.db-wal",
        "o.db.seq",
        "o.db.room",
        "o.db, replaced",
    ],
)
@pytest.mark.parametrize("by", ["an append", "tidying"])
def test_what_waits_in_deleted_files_is_there_after_a_kill(tmp_path, gone, by, caplog):
    """All that was written is found by the next start, under its numbers, none of them given
    again."""
    folder = tmp_path / "device" / "state"
    outbox = Outbox(folder / "o.db")
    outbox.append_many([sighting() for _ in range(40)])
    outbox.delete(row.row for row in outbox.page(limit=10))
    if gone == "the folder":
        shutil.rmtree(folder)
    elif gone == "and the one above":
        shutil.rmtree(folder.parent)
    elif gone == "o.db, replaced":
        other = folder / "other"
        other.write_text("something else")
        other.replace(folder / "o.db")
    else:
        (folder / gone).unlink()
    expected = list(range(11, 41))
    if by == "an append":
        expected.append(outbox.append(sighting()))
    else:
        outbox.tidy()
    killed(outbox, tmp_path / "after")
    assert outbox.depth().waiting == len(expected)
    outbox.close()
    with Outbox(tmp_path / "after" / "o.db") as again:
        assert [number for number in drain(again) if number > 10] == expected
        assert again.append(sighting()) > expected[-1]
    told = gone in ("the folder", "and the one above", "o.db", "o.db-wal", "o.db, replaced")
    assert ("was deleted while in use" in caplog.text) == told


def test_what_took_a_deleted_files_name_is_kept_aside(tmp_path, connections):
    """Also where nothing stands in the log any more, and a copy was begun and cut before."""
    path = tmp_path / "o.db"
    with Outbox(path) as outbox:
        outbox.append_many([sighting() for _ in range(5)])
        connections.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (tmp_path / "other").write_text("something else")
        (tmp_path / "other").replace(path)
        path.with_name("o.db.salvaged").write_text("no whole copy" * 1000)
        assert outbox.append(sighting()) == 6
        assert drain(outbox) == [1, 2, 3, 4, 5, 6]
        assert (outbox.salvaged, outbox.lost) == (0, 0)
    kept = [one for one in tmp_path.iterdir() if "damaged" in one.name and "-wal" not in one.name]
    assert [one.read_text() for one in kept] == ["something else"]


def test_an_outbox_deleted_before_a_stop_is_written_once_more(tmp_path):
    """Also where nothing was appended since."""
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append_many([sighting() for _ in range(5)])
        for file in tmp_path.iterdir():
            file.unlink()
    with Outbox(tmp_path / "o.db") as again:
        assert drain(again) == [1, 2, 3, 4, 5]


def test_numbers_of_an_outbox_that_is_gone_are_not_said_to_be_left_out(tmp_path):
    """Sightings may have waited in it: a gap is what a subscriber is to see."""
    outbox = Outbox(tmp_path / "o.db")
    outbox.append_many([sighting() for _ in range(5)])
    killed(outbox, tmp_path / "after")
    outbox.close()
    (tmp_path / "after" / "o.db").unlink()
    with Outbox(tmp_path / "after" / "o.db") as again:
        assert again.append(sighting()) > 5
        assert json.loads(again.page()[0].payload)["skipped"] == 0


def test_an_outbox_that_was_moved_goes_on_and_says_so(tmp_path):
    """What is written lies in the moved file; the trouble is told until it is put back."""
    folder, counters = tmp_path / "state", Counters()
    with Outbox(folder / "o.db") as outbox:
        writer = Writer(outbox, lambda: None, counters, 0)
        writer.start()
        for moved, back in ((folder / "o.db", folder / "x.db"), (folder / "x.db", folder / "o.db")):
            moved.rename(back)
            writer.submit([sighting()])
            assert writer.flush(10)
            told = [one for one in counters.problems() if "was moved away" in one]
            assert bool(told) == (back.name == "x.db")
        writer.close()
        assert drain(outbox) == [1, 2]


def test_an_outbox_whose_file_system_is_unmounted_is_not_begun_anew_below(tmp_path):
    """A lazy unmount: the file stays open, and its numbers go on where it is mounted again."""
    if os.geteuid() != 0:
        pytest.skip("UNMOUNTED DISK ABSENT: mounting one needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    (tmp_path / "image").write_bytes(b"")
    os.truncate(tmp_path / "image", 8_000_000)
    subprocess.run(["mkfs.ext4", "-q", tmp_path / "image"], check=True)
    mount = ["mount", "-o", "loop", tmp_path / "image", folder]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("UNMOUNTED DISK ABSENT: no loop device")
    try:
        with Outbox(folder / "o.db") as outbox:
            outbox.append(sighting())
            subprocess.run(["umount", "-l", folder], check=True)
            assert outbox.append(sighting()) == 2
            assert "unmounted" in (outbox.astray() or "")
            assert not (folder / "o.db").exists()
        subprocess.run(mount, check=True)
        with Outbox(folder / "o.db") as outbox:
            assert drain(outbox) == [1, 2]
    finally:
        subprocess.run(["umount", "-l", folder], capture_output=True)


def test_a_deleted_file_is_neither_there_nor_moved(tmp_path):
    """And one that nobody watches any more is neither."""
    file, opened = tmp_path / "o.db", open_files()
    file.touch()
    place = FileLocation(file)
    assert not place.deleted
    assert not place.moved
    file.unlink()
    assert place.deleted
    assert not place.moved
    place.close()
    assert open_files() <= opened
    place.close()
    assert not place.deleted


def test_an_outbox_that_cannot_be_opened_for_want_of_descriptors_leaves_none_open(tmp_path):
    """However few there are; one that is opened watches all of its files."""
    path = tmp_path / "o.db"
    failed, opened = list[OutboxError](), open_files()
    outbox = None
    while outbox is None:
        assert len(failed) < 30
        try:
            with descriptors(len(failed)):
                outbox = Outbox(path)
        except OutboxError as error:  # kept, with all that it refers to
            failed.append(error)
            assert open_files() <= opened
    assert len(failed) > 5
    for name in ("o.db", "o.db-wal"):
        (tmp_path / name).unlink()
        outbox.append(sighting())
        assert (tmp_path / name).exists()
    outbox.close()
    assert open_files() <= opened
