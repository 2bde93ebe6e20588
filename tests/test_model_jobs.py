"""The update that was accepted, without a device around it: how it is kept, ended and told."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from pathlib import Path

import msgspec
import pytest
from proofs import PROOF
from there import there

from edge.errors import (
    StoreError,
    UnreachableError,
    UpdateBusyError,
    UpdateError,
    UpdateExpiredError,
)
from edge.messages.updates import Chunk, ModelEntry, Probation
from edge.system.clock import SystemClock
from edge.updates.fetch import Source
from edge.updates.jobs import Job, Jobs, by_request, cancel, conclude, expired_upload, public
from edge.updates.record import Record
from edge.updates.store import Store
from edge.updates.upload import Upload

CLOCK = SystemClock()
JOB = Job(
    update="u1",
    source=Source(url="http://u:secret@127.0.0.1:1/a.wtr?key=secret"),
    sha256=None,
    allow_downgrade=False,
)
SENT = Job(update="u1", source=None, sha256="0" * 64, allow_downgrade=False)
PIECE = b"a piece"


@pytest.fixture
def store(tmp_path):
    """A new one."""
    return Store(tmp_path)


@pytest.fixture
def jobs(store):
    """What it has accepted."""
    return Jobs(store)


def upload(store):
    """The place for uploads."""
    return Upload(store.incoming, 100.0)


def send(store) -> str:
    """Begin an upload; give its hash."""
    digest = hashlib.sha256(b"all").hexdigest()
    upload(store).take(Chunk(sha256=digest, size=100, data=PIECE))
    return digest


def incoming(store):
    """The names of what is on its way."""
    return sorted(file.name for file in store.incoming.iterdir())


def named(store, update, **more):
    """Have the record name a model that an update brought."""
    entry = ModelEntry(name="a", version="2", sha256="2" * 64, bytes=1, labels=("x",))
    record = Record(current="a-2", models={"a-2": entry}, update=update, **more)
    store.change(lambda _: record)
    return record


def test_a_cancelled_update_stays_cancelled_over_a_power_cut(store, jobs):
    """Before whoever carries it out has come to it; another one waits for that."""
    jobs.put(JOB)
    with store.installing():
        done = cancel(store, jobs, upload(store), CLOCK.now(), 0.2, lambda _: None)
    assert (done.update, done.ended) == ("u1", False)
    again = Jobs(store)
    assert there(again.read()).cancelled
    assert again.cancel() == again.read()
    again.spend("u1", 5.0)
    assert there(again.read()).cancelled
    with pytest.raises(UpdateBusyError, match="or cancel it"):
        again.put(msgspec.structs.replace(JOB, update="u2"))
    assert cancel(store, again, upload(store), CLOCK.now(), 0.2).ended
    last = store.read().last
    assert (last.result, last.update) == ("cancelled", "u1")
    assert last.reason == "cancelled by request; the previous model goes on"
    again.put(msgspec.structs.replace(JOB, update="u2"))
    assert not there(again.read()).cancelled


def test_an_update_past_its_last_step_is_not_called_cancelled(store, jobs):
    """The record names it already: rolling back is what is left."""
    named(store, "u1")
    jobs.put(JOB)
    with pytest.raises(UpdateError, match="a rollback goes back"):
        cancel(store, jobs, upload(store), CLOCK.now(), 0.2)
    assert store.read().last is None
    assert jobs.read() is None


def test_a_full_disk_keeps_no_update_alive(store, jobs, monkeypatch):
    """How it ended cannot be written down: it is over all the same, and what came is gone."""
    jobs.put(JOB)
    (store.incoming / "url.part").write_bytes(b"x")

    def refuse(*_arguments):
        raise StoreError("no space")

    monkeypatch.setattr("edge.updates.record.write", refuse)
    told = there(
        conclude(store, jobs, upload(store), JOB, UpdateError("why"), CLOCK.now(), proof=None)
    )
    assert (told.result, told.reason) == ("refused", "why")
    assert jobs.read() is None


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff\0"])
def test_what_was_accepted_and_cannot_be_read_is_given_up(store, jobs, text):
    """A damaged file holds no later update up."""
    (store.incoming / "job.json").write_bytes(text)
    assert jobs.read() is None
    assert incoming(store) == []
    jobs.put(JOB)


def test_addresses_on_disk_are_their_owners_only(store, jobs):
    """They may hold passwords."""
    jobs.put(JOB)
    jobs.spend("u1", 1.0)
    file = store.incoming / "job.json"
    assert file.stat().st_mode & 0o077 == 0
    assert jobs.read() == msgspec.structs.replace(JOB, spent=1.0)
    jobs.spend("another", 9.0)
    assert jobs.read().spent == 1.0
    assert json.loads(file.read_bytes())["source"]["url"] == there(JOB.source).url


def test_what_is_accepted_begins_with_no_second_spent(store, jobs):
    """And not cancelled; another start finds it as it was put."""
    jobs.put(JOB)
    assert json.loads((store.incoming / "job.json").read_bytes())["spent"] == 0.0
    assert Jobs(store).read() == JOB
    assert jobs.cancel() == msgspec.structs.replace(JOB, cancelled=True)
    assert incoming(store) == ["job.cancelled.json"]


def test_what_is_over_is_gone_with_all_its_files(store, jobs):
    """Also what a cut left half written."""
    for end in (jobs.read, jobs.cancel):
        jobs.put(msgspec.structs.replace(JOB, update=f"u-{end.__name__}"))
        (store.incoming / "job.json.new").write_bytes(b"{")
        jobs.drop(end())
        assert incoming(store) == []


def test_a_disk_that_keeps_what_is_over_does_not_begin_it_again(store, jobs, monkeypatch):
    """Not in this run of the program; another update can be accepted."""
    jobs.put(JOB)

    def refuse(*_arguments, **_options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    jobs.drop(JOB)
    assert incoming(store) == ["job.json"]
    assert jobs.read() is None
    jobs.put(msgspec.structs.replace(JOB, update="u2"))
    assert jobs.read().update == "u2"


def test_a_disk_that_refuses_is_told_by_the_name_of_the_file(store, jobs):
    """When an update is accepted, and when its end is asked for."""
    (store.incoming / "job.json.new").mkdir()
    with pytest.raises(StoreError, match=r"cannot write .*job\.json: "):
        jobs.put(JOB)
    (store.incoming / "job.json.new").rmdir()
    jobs.put(JOB)
    (store.incoming / "job.cancelled.json").mkdir()
    with pytest.raises(StoreError, match=r"cannot rename .*job\.json: "):
        jobs.cancel()
    assert jobs.read() == JOB


def test_what_cannot_be_opened_just_now_is_not_given_up(jobs, monkeypatch):
    """It may be there: nothing else is accepted meanwhile."""
    jobs.put(JOB)
    real = os.open

    def refuse(path, *arguments):
        if os.fspath(path).endswith("job.json"):
            raise OSError(errno.EMFILE, "Too many open files")
        return real(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(StoreError, match="Too many open files"):
            jobs.read()
    assert jobs.read() == JOB


def test_why_a_server_was_not_reached_stays_on_the_device():
    """Whoever asks learns only that; any other reason is told as it is."""
    far = UnreachableError("10.0.0.7 refused it")
    assert public(far, JOB).startswith("http://127.0.0.1:1/a.wtr cannot be fetched; the device's")
    assert public(far, SENT) == "10.0.0.7 refused it"
    assert public(UpdateError("too old"), JOB) == "too old"


@pytest.mark.parametrize(
    ("job", "error", "result", "stays"),
    [
        (JOB, UpdateError("why"), "refused", ["upload.json", "upload.part", "url.part"]),
        (JOB, by_request(), "cancelled", ["upload.json", "upload.part"]),
        (JOB, UpdateExpiredError("why"), "expired", ["upload.json", "upload.part"]),
        (SENT, UpdateError("why"), "refused", ["url.part"]),
        (SENT, by_request(), "cancelled", ["url.part"]),
    ],
)
def test_how_an_update_ended_is_written_down(store, jobs, job, error, result, stays):
    """And its file is dropped; a download that may be gone on with stays."""
    send(store)
    (store.incoming / "url.part").write_bytes(b"x")
    jobs.put(job)
    now = CLOCK.now()
    told = there(conclude(store, jobs, upload(store), job, error, now, PROOF))
    assert told == store.read().last
    assert (told.name, told.version, told.result, told.update) == ("a", "2", result, "u1")
    assert (told.reason, told.time) == (str(error), now)
    assert incoming(store) == stays


def test_an_update_that_is_in_already_did_not_come_to_nothing(store, jobs):
    """A kill came between its last step and the end of its file: nothing is told."""
    before = named(store, "u1")
    jobs.put(JOB)
    assert conclude(store, jobs, upload(store), JOB, UpdateError("again"), CLOCK.now()) is None
    assert store.read() == before
    assert jobs.read() is None


def test_an_upload_that_was_dropped_is_said():
    """It has no name yet."""
    now = CLOCK.now()
    told = expired_upload(UpdateExpiredError("late"), now)
    assert (told.name, told.version, told.result) == ("", "", "expired")
    assert (told.reason, told.time, told.update) == ("late", now, None)


def test_by_request_an_upload_is_dropped(store, jobs):
    """Where there is none either, that is said, with what else could be ended."""
    digest = send(store)
    done = cancel(store, jobs, upload(store), CLOCK.now(), 0.0)
    assert (done.update, done.upload, done.ended) == (None, digest, True)
    assert incoming(store) == []
    with pytest.raises(UpdateError, match="no update is under way, and no upload is here"):
        cancel(store, jobs, upload(store), CLOCK.now(), 0.0)
    named(store, "u1", probation=Probation())
    with pytest.raises(UpdateError, match="a-2 is on probation, and a rollback takes it back"):
        cancel(store, jobs, upload(store), CLOCK.now(), 0.0)


@pytest.mark.parametrize(("seconds", "looks"), [(0.0, 1), (0.1, 1), (0.5, 5), (3.0, 30)])
def test_a_cancel_waits_so_long_for_whoever_carries_it_out(store, jobs, seconds, looks):
    """A tenth of a second from one look to the next, once at the least."""
    jobs.put(JOB)
    slept: list[float] = []
    with store.installing():
        done = cancel(store, jobs, upload(store), CLOCK.now(), seconds, slept.append)
    assert (done.update, done.upload, done.ended) == ("u1", None, False)
    assert slept == [0.1] * looks


@pytest.mark.parametrize("after", [None, "u2"])
@pytest.mark.parametrize("past", [False, True])
def test_a_cancel_finds_that_another_ended_the_update_meanwhile(store, jobs, after, past):
    """It is left as that one wrote it, and what was accepted after it goes on."""
    jobs.put(JOB)
    other = contextlib.ExitStack()
    other.enter_context(store.installing())

    def ends(_seconds):
        theirs = Jobs(store)
        theirs.drop(there(theirs.read()))
        if past:
            named(store, "u1")
        if after is not None:
            theirs.put(msgspec.structs.replace(JOB, update=after))
        other.close()

    said = pytest.raises(UpdateError, match="past its last step") if past else None
    with said or contextlib.nullcontext():
        done = cancel(store, jobs, upload(store), CLOCK.now(), 1.0, ends)
        assert (done.update, done.upload, done.ended) == ("u1", None, True)
    assert store.read().last is None
    left = jobs.read()
    assert (left and left.update) == after
