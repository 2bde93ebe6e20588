"""Updates that somebody ends, or whose time is over: forgotten, told, and the next one works."""

from __future__ import annotations

import base64
import hashlib
import itertools

import pytest
from servers import Scripted, answer
from test_model_updates import QUICK, broker, field, send  # noqa: F401 - fixtures
from test_models import Place, command

from edge.messages.updates import Chunk
from edge.model.runtimes.fake import Fault
from edge.updates.fetch import Source
from edge.updates.jobs import Job, Jobs
from edge.updates.upload import Upload

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


def fetching(camera):
    """Wait until bytes of a download are here."""
    part = camera.place.store.incoming / "url.part"
    assert camera.subscriber.wait(lambda _: part.exists() and part.stat().st_size > 4)


def incoming(place):
    """The names of what is on its way."""
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
        assert camera.subscriber.wait(lambda _, asked=asked: len(trickle.asked) > asked)
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
    assert camera.subscriber.wait(lambda _: trickle.asked)
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
    assert camera.subscriber.wait(lambda _: camera.updates()[-1]["phase"] == "proving")
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
    first = Chunk(sha256=hashlib.sha256(b"all").hexdigest(), size=100, data=PIECE)
    Upload(place.store.incoming, 100.0).take(first)
    assert "is dropped" in command("cancel", "--config", place.path).stdout
    assert incoming(place) == []
    nothing = command("cancel", "--config", place.path)
    assert nothing.returncode == 1
    assert "no update is under way, and no upload is here" in nothing.stderr
    place.install(place.bundle("2"))
    assert "a rollback takes it back" in command("cancel", "--config", place.path).stderr
