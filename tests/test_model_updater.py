"""An accepted update is carried out up to its probation, or comes to nothing, and is told."""

from __future__ import annotations

import hashlib
import json
import time

import msgspec
import pytest
from models_here import Here
from servers import Scripted, answer

from edge.errors import StoppedError, StoreError, UpdateError
from edge.messages.updates import Chunk
from edge.updates.fetch import Source
from edge.updates.jobs import Job

QUICK = "[model.update]\nunsigned = true\nattempts = 1\ndownload_seconds = 600.0"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The models of a device."""
    return Here(tmp_path, monkeypatch, QUICK)


def send(here, data: bytes, size: int | None = None) -> Job:
    """Upload a bundle; give the update that installs it."""
    digest = hashlib.sha256(data).hexdigest()
    here.models.upload.take(Chunk(sha256=digest, size=size or len(data), data=data))
    return Job(update="u1", source=None, sha256=digest, allow_downgrade=False)


def fetched(url: str, **more) -> Job:
    """An update that fetches a bundle."""
    return Job(
        update="u1", source=Source(url=url), **{"sha256": None, "allow_downgrade": False, **more}
    )


def work(here):
    """Carry out what was accepted."""
    here.updater.work(here.closing.is_set)


def incoming(here):
    """The names of what is on its way."""
    return sorted(file.name for file in here.store.incoming.iterdir())


def phases(here):
    """The phases that were published, in their order."""
    return [(one["phase"], one["update"], one["version"]) for one in here.payloads]


def test_an_upload_is_installed(here):
    """Proved, kept and named; nothing of it is left on its way."""
    here.models.accept(send(here, here.place.bundle("2").read_bytes()))
    work(here)
    record = here.store.read()
    assert record.models[record.current].version == "2"
    assert (record.update, record.last) == ("u1", None)
    assert phases(here) == [
        ("proving", "u1", None),
        ("proving", "u1", "2"),
        ("switching", "u1", "2"),
    ]
    assert incoming(here) == []
    assert here.models.jobs.read() is None
    assert here.counters.errors() == {}


def test_a_bundle_is_fetched_and_installed(here):
    """How far it is is told; an upload that waits is none of it."""
    data = here.place.bundle("2").read_bytes()
    waiting = send(here, b"x", 100)
    with Scripted(lambda _: [answer(data)]) as server:
        here.models.accept(fetched(server.url, sha256=hashlib.sha256(data).hexdigest()))
        work(here)
    record = here.store.read()
    assert record.models[record.current].version == "2"
    first, *more = here.payloads
    assert (first["phase"], first["update"], first["percent"]) == ("fetching", "u1", None)
    assert [one["percent"] for one in more if one["phase"] == "fetching"][-1] == 100.0
    assert incoming(here) == ["upload.json", "upload.part"]
    assert here.models.upload.forget() == waiting.sha256


@pytest.mark.parametrize("allowed", [False, True])
def test_an_older_version_is_taken_where_it_was_asked_for(here, allowed):
    """Otherwise it comes to nothing: counted, told, written down."""
    job = send(here, here.place.bundle("0.9").read_bytes())
    here.models.accept(msgspec.structs.replace(job, allow_downgrade=allowed))
    work(here)
    record = here.store.read()
    assert (record.current is not None) == allowed
    assert incoming(here) == []
    if allowed:
        return
    last = record.last
    assert (last.name, last.version, last.result, last.update) == (
        "colours",
        "0.9",
        "refused",
        "u1",
    )
    assert last.time == here.clock.now()
    assert "not newer than 1" in last.reason
    said = here.said
    assert (said["phase"], said["result"], said["reason"]) == ("idle", "refused", last.reason)
    assert here.counters.errors() == {"DowngradeError": 1}


def test_what_was_asked_for_is_what_is_installed(here):
    """Another hash is another file."""
    with Scripted(lambda _: [answer(here.place.bundle("2").read_bytes())]) as server:
        here.models.accept(fetched(server.url, sha256="0" * 64))
        work(here)
    assert here.store.read().current is None
    assert f"not {'0' * 64} as asked for" in here.said["reason"]


def test_why_a_server_was_not_reached_is_not_told_afar(here, caplog):
    """It stands in the device's own log."""
    with Scripted(lambda _: [answer(b"", "404 Not Found")]) as server:
        here.models.accept(fetched(server.url))
        work(here)
    assert "cannot be fetched; the device's own log says why" in here.said["reason"]
    assert "404" not in here.said["reason"]
    assert any("404 Not Found" in one.message and one.local for one in caplog.records)


def test_an_upload_that_is_gone_comes_to_nothing(here):
    """A file that somebody removed is an error of the system."""
    here.models.accept(send(here, here.place.bundle("2").read_bytes()))
    (here.store.incoming / "upload.part").unlink()
    work(here)
    assert here.said["result"] == "refused"
    assert here.models.jobs.read() is None


def test_a_device_that_stops_goes_on_later(here):
    """With the seconds that it took until now, and what is here."""
    here.models.jobs.put(send(here, here.place.bundle("2").read_bytes()))
    here.closing.set()
    started = time.monotonic()
    with pytest.raises(StoppedError):
        work(here)
    job = here.models.jobs.read()
    assert (job.update, job.cancelled) == ("u1", False)
    assert 0.0 <= job.spent <= time.monotonic() - started
    assert incoming(here) == ["job.json", "upload.json", "upload.part"]
    assert here.payloads == []
    here.closing.clear()
    work(here)
    assert here.store.read().update == "u1"


def test_seconds_are_written_down_while_an_update_is_carried_out(here):
    """Ahead: power that goes takes none of them back."""
    seen = []
    real = here.tell.phase

    def phase(*given):
        seen.append(here.models.jobs.read().spent)
        return real(*given)

    here.tell.phase = phase
    here.models.accept(send(here, here.place.bundle("2").read_bytes()))
    work(here)
    assert seen[0] == pytest.approx(30.0, abs=1.0)


def test_an_update_has_so_many_seconds_over_all_runs(here):
    """Then it is expired."""
    job = send(here, here.place.bundle("2").read_bytes())
    here.models.jobs.put(msgspec.structs.replace(job, spent=600.0))
    work(here)
    last = here.store.read().last
    assert (last.result, last.update) == ("expired", "u1")
    assert last.reason == "it did not end within model.update.download_seconds = 600"
    assert incoming(here) == []


def test_the_seconds_of_earlier_runs_count_for_a_download(here):
    """It has what is left of them."""
    with Scripted(lambda _: server.silence()) as server:
        here.models.jobs.put(msgspec.structs.replace(fetched(server.url), spent=599.7))
        work(here)
    assert here.store.read().last.result == "expired"


def test_an_update_that_was_cancelled_ends(here):
    """Before it begins, or while it is proved."""
    job = send(here, here.place.bundle("2").read_bytes())
    here.models.jobs.put(job)
    here.models.jobs.cancel()
    work(here)
    assert (here.said["result"], here.said["update"]) == ("cancelled", "u1")
    assert "cancelled by request" in here.said["reason"]
    assert incoming(here) == []
    assert here.models.jobs.read() is None


@pytest.mark.parametrize("how", ["cancelled", "gone", "another"])
def test_an_update_that_is_ended_meanwhile_goes_no_further(here, how):
    """Whoever ended it; one accepted after it is left for the next time."""
    job = send(here, here.place.bundle("2").read_bytes())
    here.models.accept(job)
    jobs, real = here.models.jobs, here.tell.phase

    def meanwhile(*given):
        real(*given)
        if how == "cancelled":
            jobs.cancel()
            return
        (here.store.incoming / "job.json").unlink()
        if how == "another":
            jobs.put(msgspec.structs.replace(job, update="u2"))

    here.tell.phase = meanwhile
    work(here)
    assert here.store.read().current is None
    assert (here.said["result"], here.said["update"]) == ("cancelled", "u1")


def test_what_is_not_known_just_now_stops_no_update(here, monkeypatch):
    """Whether somebody cancelled it is asked again in a moment."""
    here.models.accept(send(here, here.place.bundle("2").read_bytes()))
    real, looked = here.models.jobs.read, []

    def read():
        looked.append(1)
        if len(looked) > 2:
            raise StoreError("cannot open job.json just now")
        return real()

    monkeypatch.setattr(here.models.jobs, "read", read)
    work(here)
    assert here.store.read().update == "u1"
    assert len(looked) > 4


def test_what_another_process_is_at_is_waited_for(here):
    """And done at the next look."""
    here.models.accept(send(here, here.place.bundle("2").read_bytes()))
    with here.store.installing():
        work(here)
        assert here.payloads == []
    work(here)
    assert here.store.read().update == "u1"


def test_what_another_process_ended_is_not_carried_out(here, monkeypatch):
    """It was there before the lock was taken, and is not any more."""
    here.models.accept(send(here, here.place.bundle("2").read_bytes()))
    jobs = here.models.jobs
    reads = iter([jobs.read(), None])
    monkeypatch.setattr(jobs, "read", lambda: next(reads))
    work(here)
    assert here.payloads == []


def test_an_upload_that_nobody_goes_on_with_is_dropped_and_told(here):
    """At a look without an update."""
    send(here, b"x", 100)
    work(here)
    assert incoming(here) == ["upload.json", "upload.part"]
    facts = here.store.incoming / "upload.json"
    facts.write_text(json.dumps(json.loads(facts.read_bytes()) | {"idle": 1e9}))
    here.start()
    work(here)
    assert incoming(here) == []
    last = here.store.read().last
    assert (last.result, last.time) == ("expired", here.clock.now())
    assert "1 of 100 bytes" in last.reason
    here.follow()
    assert (here.said["result"], here.said["reason"]) == ("expired", last.reason)


def test_an_update_that_is_in_already_is_not_told_again(here):
    """A kill came after its last step: its file goes, and nothing else."""
    job = send(here, here.place.bundle("2").read_bytes())
    here.models.accept(job)
    work(here)
    here.place.confirm()
    before = here.store.read()
    here.payloads.clear()
    here.start()
    here.models.jobs.put(job)
    work(here)
    assert here.store.read() == before
    assert here.models.jobs.read() is None
    assert [one["phase"] for one in here.payloads] == []


def test_a_disk_that_refuses_ends_an_update_all_the_same(here, monkeypatch):
    """How it ended is told, and in no record."""
    here.models.accept(send(here, here.place.bundle("2").read_bytes()))

    def refuse(*_arguments):
        raise StoreError("cannot write models.json: No space left on device")

    monkeypatch.setattr("edge.updates.record.write", refuse)
    work(here)
    assert here.said["result"] == "refused"
    assert "No space left" in here.said["reason"]
    assert here.models.jobs.read() is None


def test_only_one_update_is_accepted(here):
    """And only of what is here whole."""
    with pytest.raises(UpdateError, match="no upload 000000000000 is here"):
        here.models.accept(Job(update="u", source=None, sha256="0" * 64, allow_downgrade=False))
    here.models.accept(fetched("http://127.0.0.1:1/a.wtr"))
    with pytest.raises(UpdateError, match="another update is under way"):
        here.models.accept(fetched("http://127.0.0.1:1/a.wtr"))
