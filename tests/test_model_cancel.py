"""Updates that somebody ends, or whose time is over: forgotten, told, and the next one works."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json

import msgspec
import pytest
from servers import Scripted, answer
from test_model_updates import QUICK, broker, field, send  # noqa: F401 - fixtures
from test_models import Place, command

from edge.clock import SystemClock
from edge.errors import StoreError, UpdateBusyError, UpdateError
from edge.models.fetch import Source
from edge.models.jobs import Job, Jobs, cancel, conclude
from edge.models.ledger import Ledger
from edge.models.upload import Chunk, Upload
from edge.runtimes.fake import Fault

CLOCK = SystemClock()
JOB = Job(
    update="u1",
    source=Source(url="http://u:secret@127.0.0.1:1/a.wtr?key=secret"),
    sha256=None,
    allow_downgrade=False,
)
PIECE = b"a piece"


@pytest.fixture
def place(tmp_path):
    """A device with a store, not running."""
    return Place(tmp_path)


@pytest.fixture
def jobs(place):
    """What it has accepted."""
    return Jobs(place.store)


@pytest.fixture
def trickle():
    """A server whose bodies never end."""

    def script(_):
        return itertools.chain(
            [answer(b"PK\x03\x04", length=100_000, ETag='"a"')], server.trickle(b"x")
        )

    with Scripted(script) as server:
        yield server


def upload(place, idle_seconds=100.0):
    """Give the place for uploads."""
    return Upload(place.store.incoming, idle_seconds)


def chunk(data=PIECE, size=100):
    """Give a first chunk."""
    return Chunk(sha256=hashlib.sha256(b"all").hexdigest(), size=size, data=data)


def fetching(camera):
    """Wait until bytes of a download are here."""
    part = camera.place.store.incoming / "url.part"
    assert camera.subscriber.wait(lambda _: part.exists() and part.stat().st_size > 4, 20)


def incoming(place):
    """Give the names of what is on its way."""
    return sorted(file.name for file in place.store.incoming.iterdir())


@pytest.mark.parametrize("restarts", [0, 2])
def test_a_download_is_cancelled_by_request_and_the_next_update_works(field, trickle, restarts):  # noqa: F811
    """Also one that was taken up again after power cuts; one that is cancelled stays so."""
    camera = field()
    camera.start()
    camera.sees_with("1")
    update = camera.ask("model/install", url=trickle.url)["data"]["update"]
    fetching(camera)
    for _ in range(restarts):
        camera.kill()
        asked = len(trickle.asked)
        camera.start()
        assert camera.subscriber.wait(lambda _, asked=asked: len(trickle.asked) > asked, 20)
    assert "wait for its end" in camera.ask("model/install", url=trickle.url)["error"]["message"]
    done = camera.ask("model/cancel")["data"]
    assert done == {"update": update, "upload": None, "ended": True}
    said = camera.ends("cancelled", None)
    assert (said["update"], said["in_progress"]) == (update, False)
    assert camera.ask("models")["data"]["last"]["result"] == "cancelled"
    assert incoming(camera.place) == []
    assert "no update is under way" in camera.ask("model/cancel")["error"]["message"]
    camera.kill()
    camera.start()
    digest = send(camera, camera.place.bundle("2"))
    assert camera.ask("model/install", sha256=digest)["status"] == "ok"
    camera.ends("confirmed", "2")


def test_a_download_expires_over_power_cuts(field, trickle):  # noqa: F811
    """A device that is switched off again and again gives no more time than its seconds."""
    camera = field(model=QUICK + "\ndownload_seconds = 6.0")
    camera.start()
    update = camera.ask("model/install", url=trickle.url)["data"]["update"]
    assert camera.subscriber.wait(lambda _: trickle.asked, 20)
    cuts = 0
    while Jobs(camera.place.store).read() is not None:
        camera.kill()
        asked = len(trickle.asked)
        camera.start()
        cuts += 1
        camera.subscriber.wait(
            lambda _, asked=asked: (
                len(trickle.asked) > asked or Jobs(camera.place.store).read() is None
            ),
            20,
        )
        assert cuts < 30
    assert camera.ends("expired", None)["update"] == update
    assert incoming(camera.place) == []
    camera.sees_with("1")


def test_a_proof_is_cancelled_on_the_command_line(field):  # noqa: F811
    """Beside the running device, which tells of it."""
    camera = field()
    camera.start()
    camera.sees_with("1")
    digest = send(camera, camera.place.bundle("2", fault=Fault(kind="hang")))
    update = camera.ask("model/install", sha256=digest)["data"]["update"]
    assert camera.subscriber.wait(lambda _: camera.updates()[-1]["phase"] == "proving", 20)
    told = command("cancel", "--config", camera.place.path)
    assert told.stdout == f"update {update} is cancelled\n", told
    assert camera.ends("cancelled", None)["update"] == update
    assert incoming(camera.place) == []


def test_an_upload_is_dropped_by_request_and_by_its_time(field):  # noqa: F811
    """One that is never finished takes no room for ever."""
    camera = field(model=QUICK + "\nupload_seconds = 0.5")
    camera.start()
    name = {"sha256": hashlib.sha256(b"all").hexdigest(), "size": 100}
    data = base64.b64encode(PIECE).decode()
    assert camera.ask("model/chunk", **name, data=data)["data"]["next"] == len(PIECE)
    said = camera.ends("expired", None)
    assert "7 of 100 bytes" in said["reason"]
    assert incoming(camera.place) == []
    assert camera.ask("model/chunk", **name)["data"]["next"] == 0


def test_without_a_running_device_the_command_ends_an_update_itself(place, jobs):
    """What was accepted is forgotten, and written down as cancelled; an upload, too."""
    jobs.put(JOB)
    (place.store.incoming / "url.part").write_bytes(b"x")
    assert command("cancel", "--config", place.path).stdout == "update u1 is cancelled\n"
    assert incoming(place) == []
    last = place.store.read().last
    assert (last.result, last.update) == ("cancelled", "u1")
    upload(place).take(chunk())
    assert "is dropped" in command("cancel", "--config", place.path).stdout
    assert incoming(place) == []
    nothing = command("cancel", "--config", place.path)
    assert nothing.returncode == 1
    assert "no update is under way, and no upload is here" in nothing.stderr
    place.install(place.bundle("2"))
    assert "a rollback returns from it" in command("cancel", "--config", place.path).stderr


def test_a_cancelled_update_stays_cancelled_over_a_power_cut(place, jobs):
    """Before whoever carries it out has come to it; another one waits for that."""
    jobs.put(JOB)
    with place.store.installing():
        done = cancel(place.store, jobs, upload(place), CLOCK.now(), 0.2, lambda _: None)
    assert (done.update, done.ended) == ("u1", False)
    again = Jobs(place.store)
    assert again.read().cancelled
    assert again.cancel() == again.read()
    again.spend("u1", 5.0)
    assert again.read().cancelled
    with pytest.raises(UpdateBusyError, match="or cancel it"):
        again.put(msgspec.structs.replace(JOB, update="u2"))
    assert cancel(place.store, again, upload(place), CLOCK.now(), 0.2).ended
    again.put(msgspec.structs.replace(JOB, update="u2"))
    assert not again.read().cancelled


def test_an_update_past_its_last_step_is_not_called_cancelled(place, jobs):
    """The record names it already: rolling back is what is left."""
    place.install(place.bundle("2"), update="u1")
    jobs.put(JOB)
    with pytest.raises(UpdateError, match="a rollback goes back"):
        cancel(place.store, jobs, upload(place), CLOCK.now(), 0.2)
    assert place.store.read().last is None
    assert jobs.read() is None


def test_a_full_disk_keeps_no_update_alive(place, jobs, monkeypatch):
    """How it ended cannot be written down: it is over all the same, and what came is gone."""
    jobs.put(JOB)
    (place.store.incoming / "url.part").write_bytes(b"x")

    def refuse(*_arguments):
        raise StoreError("no space")

    monkeypatch.setattr("edge.models.record.write", refuse)
    told = conclude(
        place.store, jobs, upload(place), JOB, UpdateError("why"), CLOCK.now(), proof=None
    )
    assert (told.result, told.reason) == ("refused", "why")
    assert jobs.read() is None


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff\0"])
def test_what_was_accepted_and_cannot_be_read_is_given_up(place, jobs, text):
    """A damaged file holds no later update up."""
    (place.store.incoming / "job.json").write_bytes(text)
    assert jobs.read() is None
    assert incoming(place) == []
    jobs.put(JOB)


def test_addresses_on_disk_are_their_owners_only(place, jobs):
    """They may hold passwords."""
    jobs.put(JOB)
    jobs.spend("u1", 1.0)
    file = place.store.incoming / "job.json"
    assert file.stat().st_mode & 0o077 == 0
    assert jobs.read() == msgspec.structs.replace(JOB, spent=1.0)
    jobs.spend("another", 9.0)
    assert jobs.read().spent == 1.0
    assert json.loads(file.read_bytes())["source"]["url"] == JOB.source.url


def test_seconds_are_written_down_before_they_pass():
    """A kill at any moment makes them more; a stop in good order sets them right."""
    time, written = [100.0], []
    ledger = Ledger(written.append, 5.0, 600.0, lambda: time[0])
    ledger.tick()
    assert written == [35.0]
    time[0] += 29.0
    ledger.tick()
    assert written == [35.0]
    time[0] += 1.0
    ledger.tick()
    assert written == [35.0, 65.0]
    ledger.settle()
    assert written[-1] == ledger.seconds == 35.0
    assert not ledger.over
    time[0] += 565.0
    assert ledger.over
    short = Ledger(written.append, 0.0, 2.0, lambda: time[0])
    short.tick()
    assert written[-1] == 0.2


def test_an_idle_upload_counts_over_runs_and_anew_with_each_chunk(place):
    """A chunk that brings nothing new keeps no upload alive."""
    first = upload(place)
    first.take(chunk())
    first.expire()
    facts = place.store.incoming / "upload.json"
    assert json.loads(facts.read_bytes())["idle"] == pytest.approx(10.0, abs=1.0)
    again = upload(place)
    again.take(chunk())
    assert json.loads(facts.read_bytes())["idle"] > 0
    again.take(msgspec.structs.replace(chunk(b"more"), offset=len(PIECE)))
    assert json.loads(facts.read_bytes())["idle"] == 0
    over = json.loads(facts.read_bytes()) | {"idle": 100.0}
    facts.write_text(json.dumps(over))
    with pytest.raises(UpdateError, match="11 of 100 bytes"):
        upload(place).expire()
    assert incoming(place) == []
