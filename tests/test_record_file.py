"""Small files of the device's own: whole or not there, and whatever is wrong is said one way."""

from __future__ import annotations

import errno
import os
import stat

import msgspec
import pytest

from edge.errors import DamagedRecordError, RecordError, ShortageError
from edge.system.record_file import RecordFile


class Kept(msgspec.Struct, frozen=True):
    """What the file of these tests holds."""

    name: str
    count: int = 0


@pytest.fixture
def file(tmp_path):
    """A file that is not there yet."""
    return RecordFile(tmp_path / "kept.json", Kept)


def test_what_is_put_there_is_read(file):
    """Before, there is nothing; people can read it too."""
    assert file.read() is None
    file.replace(Kept("a"))
    file.replace(Kept("b", 2))
    assert file.read() == Kept("b", 2)
    assert file.path.read_text() == '{\n  "name": "b",\n  "count": 2\n}\n'
    assert os.listdir(file.path.parent) == ["kept.json"]


def test_it_is_for_those_only_who_may_read_it(tmp_path):
    """From its first byte on."""
    file = RecordFile(tmp_path / "kept.json", Kept, 0o600)
    file.replace(Kept("a"))
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_it_is_on_disk_with_its_name_before_anything_goes_on(file, monkeypatch):
    """The contents, then the folder; also where it is deleted."""
    synced, fsync = [], os.fsync

    def watched(descriptor: int) -> None:
        synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    folder = file.path.parent.name
    file.replace(Kept("a"))
    assert synced == ["kept.json.new", folder]
    file.remove()
    assert synced == ["kept.json.new", folder, folder]
    file.remove()
    assert len(synced) == 3, "nothing was there any more"


@pytest.mark.parametrize(
    "data", [b"", b"{", b"null", b'{"name": 5}', b'{"name": "\xff"}', b"[" * 100_000]
)
def test_a_damaged_file_is_said_to_be_damaged(file, data):
    """Whatever it holds; the file stays as it is."""
    file.path.write_bytes(data)
    with pytest.raises(DamagedRecordError) as caught:
        file.read()
    assert str(caught.value) == f"{file.path} is damaged ({caught.value.why})"
    assert file.path.read_bytes() == data


def test_what_is_no_file_cannot_be_read_and_is_put_aside_by_the_next_write(file):
    """A folder under its name."""
    file.path.mkdir()
    with pytest.raises(RecordError, match=r"^cannot read .*kept\.json: it is not a file$"):
        file.read()
    file.replace(Kept("a"))
    assert file.read() == Kept("a")
    assert sorted(os.listdir(file.path.parent)) == ["kept.json", "kept.json.aside-1"]


def test_a_full_disk_leaves_what_was_there(file, monkeypatch):
    """And says which file, and why; the number of the error is kept for those who ask."""
    file.replace(Kept("a"))

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecordError, match=r"^cannot write .*kept\.json: No space left on") as told:
        file.replace(Kept("b"))
    assert told.value.errno == errno.ENOSPC
    assert file.read() == Kept("a")
    assert os.listdir(file.path.parent) == ["kept.json"]


def test_what_cannot_be_opened_just_now_is_not_damaged(file, monkeypatch):
    """It is worth another try."""
    file.replace(Kept("a"))

    def short(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", short)
    with pytest.raises(ShortageError, match="just now: Too many open files"):
        file.read()


def test_a_file_that_is_deleted_leaves_nothing_of_a_cut(file):
    """Nor is it an error where there is none, or no folder."""
    file.replace(Kept("a"))
    file.path.with_name("kept.json.new").write_bytes(b"{")
    file.remove()
    assert os.listdir(file.path.parent) == []
    file.remove()
    RecordFile(file.path.parent / "none" / "kept.json", Kept).remove()
    with pytest.raises(RecordError, match=r"cannot write .*none/kept\.json: No such file"):
        RecordFile(file.path.parent / "none" / "kept.json", Kept).replace(Kept("a"))


def test_what_is_set_aside_takes_the_place_of_what_was_before(file):
    """Once is enough to look at; a folder is kept beside a file of that name."""
    for name in ("a", "b"):
        file.replace(Kept(name))
        assert file.set_aside(".damaged").name == "kept.json.damaged"
    assert b'"b"' in file.path.with_name("kept.json.damaged").read_bytes()
    file.path.mkdir()
    assert file.set_aside(".damaged").name == "kept.json.aside-1"
    assert file.set_aside(".damaged") == file.path, "nothing is there"
