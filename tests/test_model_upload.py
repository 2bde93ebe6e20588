"""Bundles that come in chunks: what is kept, what is refused, and for how long it waits."""

from __future__ import annotations

import errno
import hashlib
import json
import os

import msgspec
import pytest

from edge.errors import DownloadError, StoreError, UpdateError, UpdateExpiredError
from edge.messages.updates import Chunk, UploadProgress
from edge.updates.upload import Upload

PIECE = b"a piece"
WHOLE = b"a piece, and another one"
DIGEST = hashlib.sha256(WHOLE).hexdigest()


@pytest.fixture
def folder(tmp_path):
    """Where they are kept."""
    return tmp_path


def chunk(data=PIECE, size=100):
    """A first chunk of a file that never arrives whole."""
    return Chunk(sha256=hashlib.sha256(b"all").hexdigest(), size=size, data=data)


def part(first=0, last=None, **more):
    """A chunk of WHOLE."""
    data = WHOLE[first:last]
    return Chunk(**{"sha256": DIGEST, "size": len(WHOLE), "offset": first, "data": data, **more})


def idle(folder):
    """The seconds that are written down."""
    return json.loads((folder / "upload.json").read_bytes())["idle"]


def test_an_idle_upload_counts_over_runs_and_anew_with_each_chunk(folder):
    """A chunk that brings nothing new keeps no upload alive."""
    first = Upload(folder, 100.0)
    first.take(chunk())
    first.expire()
    facts = folder / "upload.json"
    assert json.loads(facts.read_bytes())["idle"] == pytest.approx(10.0, abs=1.0)
    again = Upload(folder, 100.0)
    again.take(chunk())
    assert json.loads(facts.read_bytes())["idle"] > 0
    again.take(msgspec.structs.replace(chunk(b"more"), offset=len(PIECE)))
    assert json.loads(facts.read_bytes())["idle"] == 0
    over = json.loads(facts.read_bytes()) | {"idle": 100.0}
    facts.write_text(json.dumps(over))
    with pytest.raises(UpdateError, match="11 of 100 bytes"):
        Upload(folder, 100.0).expire()
    assert not list(folder.iterdir())


def test_chunks_become_the_whole(folder):
    """Each answer says what is wanted next; what is out of turn changes nothing."""
    upload = Upload(folder, 100.0)
    assert upload.take(part(0, 0)) == UploadProgress(sha256=DIGEST, next=0, complete=False)
    with pytest.raises(DownloadError, match=r"the upload has 0 of 24 bytes; send the rest"):
        upload.complete(DIGEST)
    assert upload.take(part(0, 7)) == UploadProgress(sha256=DIGEST, next=7, complete=False)
    for other in (part(0, 7), part(9, 12), part(7, 7)):
        assert upload.take(other) == UploadProgress(sha256=DIGEST, next=7, complete=False)
    with pytest.raises(DownloadError, match=r"the upload has 7 of 24 bytes; send the rest"):
        upload.complete(DIGEST)
    again = Upload(folder, 100.0)
    assert again.take(part(7)) == UploadProgress(sha256=DIGEST, next=24, complete=True)
    assert again.complete(DIGEST).read_bytes() == WHOLE
    with pytest.raises(DownloadError, match="no upload 000000000000 is here; send it with"):
        again.complete("0" * 64)


def test_without_an_upload_none_is_complete(folder):
    """And none is dropped."""
    upload = Upload(folder, 100.0)
    with pytest.raises(DownloadError, match="is here; send it with model/chunk"):
        upload.complete(DIGEST)
    assert upload.forget() is None
    upload.expire()


@pytest.mark.parametrize(
    "other", [chunk(b"other"), part(0, 5, size=30), part(0, 5, sha256="1" * 64)]
)
def test_another_upload_takes_the_place_of_the_one_before(folder, other):
    """Another hash or size is another one; nothing of both is joined."""
    upload = Upload(folder, 100.0)
    upload.take(part(0, 7))
    (folder / "upload.json.new").write_bytes(b"{")
    assert upload.take(other).next == 5
    assert (folder / "upload.part").read_bytes() == other.data
    assert upload.forget() == other.sha256
    assert not list(folder.iterdir())


def test_a_chunk_may_not_go_beyond_the_size(folder):
    """It is refused whole; one that ends there is not."""
    upload = Upload(folder, 100.0)
    upload.take(part(0, 7))
    with pytest.raises(DownloadError, match="18 bytes at 7 go beyond the size of 24"):
        upload.take(part(7, data=WHOLE[7:] + b"!"))
    assert upload.take(part(7)).complete


def test_what_is_not_what_was_announced_is_dropped(folder):
    """At its last byte, and where the file was changed later."""
    upload = Upload(folder, 100.0)
    with pytest.raises(DownloadError, match=f"what came has SHA-256 .*, not {DIGEST}; it is drop"):
        upload.take(part(data=WHOLE.upper()))
    assert upload.take(part(7, 7)).next == 0
    upload.take(part())
    (folder / "upload.part").write_bytes(WHOLE.upper())
    with pytest.raises(DownloadError, match="it is dropped, send it again"):
        upload.complete(DIGEST)
    assert not (folder / "upload.part").exists()


def test_a_chunk_is_on_disk_before_it_is_answered(folder, monkeypatch):
    """All of its bytes, and the names of both files."""
    synced, real = [], os.fsync

    def fsync(fd):
        path = os.readlink(f"/proc/self/fd/{fd}")
        synced.append((path, os.fstat(fd).st_size if os.path.isfile(path) else None))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    upload = Upload(folder, 100.0)
    upload.take(part(0, 7))
    assert (str(folder / "upload.part"), 7) in synced
    assert synced[-1] == (str(folder), None)
    synced.clear()
    upload.take(part(7, 9))  # nothing but the file changes
    assert synced == [(str(folder / "upload.part"), 9)]


def test_a_chunk_that_the_disk_refuses_leaves_what_was_there(folder, monkeypatch):
    """It can be sent again."""
    upload = Upload(folder, 100.0)
    upload.take(part(0, 7))
    with monkeypatch.context() as patch:

        def full(fd):
            if os.readlink(f"/proc/self/fd/{fd}").endswith("upload.part"):
                raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match=r"cannot keep the upload in .*: No space left"):
            upload.take(part(7))
    assert (folder / "upload.part").read_bytes() == WHOLE[:7]
    assert upload.take(part(7)).complete


def test_an_idle_time_begins_anew_with_a_chunk_and_with_another_upload(folder):
    """Whoever sent it; the seconds ahead are written down again."""
    watching, taking = Upload(folder, 100.0), Upload(folder, 100.0)
    watching.take(chunk())
    watching.expire()
    assert idle(folder) == pytest.approx(10.0, abs=1.0)
    watching.take(msgspec.structs.replace(chunk(b"more"), offset=len(PIECE)))
    assert idle(folder) == 0
    watching.expire()
    assert idle(folder) == pytest.approx(10.0, abs=1.0)
    taking.forget()
    watching.expire()
    taking.take(part(0, 7))
    watching.expire()
    assert idle(folder) == pytest.approx(10.0, abs=1.0)
    (folder / "upload.json").unlink()
    watching.expire()
    assert (folder / "upload.part").exists()


def test_an_upload_that_nobody_goes_on_with_is_dropped_and_said(folder):
    """With how far it was."""
    Upload(folder, 100.0).take(part(0, 7))
    facts = folder / "upload.json"
    facts.write_text(json.dumps(json.loads(facts.read_bytes()) | {"idle": 100.0}))
    with pytest.raises(UpdateExpiredError, match=r"7 of 24 bytes, and none .*seconds = 100"):
        Upload(folder, 100.0).expire()
    assert not list(folder.iterdir())
