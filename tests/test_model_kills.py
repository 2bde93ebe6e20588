"""Power that goes at any step of an update: a working model runs afterwards."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from itertools import groupby

from brokers import Mosquitto
from downloads import DATA
from servers import Scripted, answer
from steps import kill_at, moments
from test_model_updates import Field, send
from test_models import CLOCK, Place
from there import there

from edge.config import Update
from edge.messages.updates import Chunk
from edge.updates.fetch import Source, fetch, forget
from edge.updates.install import roll_back
from edge.updates.jobs import Job, Jobs, by_request, cancel, conclude
from edge.updates.store import Store
from edge.updates.upload import Upload


def test_a_kill_at_every_durable_step_leaves_a_model_that_works(tmp_path):
    """Before and after each, also where what was not synced is lost with the power: the next start
    runs the model before or the new one, proved, as the steps until then say.
    """
    place = Place(tmp_path)
    bundle = place.bundle("2")

    def live():
        place.install(bundle)
        place.open()
        place.confirm()
        place.open()
        roll_back(place.store, "a test", CLOCK.now())
        place.install(bundle)  # over the file that is there

    found = moments(place.store.folder, live, tmp_path / "moments")
    names = {what.split()[2] for what, _ in found}
    assert names >= {"fsync", "replace", "unlink", "open"}
    ran = []
    for what, folder in found:
        place.store = Store(folder)
        ran.append((what, starts(place)))
    assert [version for version, _ in groupby(ran, lambda one: one[1])] == ["1", "2", "1", "2"], ran
    assert sum(what.startswith("killed") for what, _ in ran) >= 20
    assert sum(what.startswith("cut") for what, _ in ran) >= 10


def starts(place):
    """Start after the power came back; hold the record against the folder. Gives the version."""
    before = place.store.read()
    version = place.open()
    with place.store.installing():
        place.store.prune()
    record = place.store.read()
    assert (record.current, record.models) == (before.current, before.models)
    assert version == ("1" if record.current is None else record.models[record.current].version)
    kept = {one.stem: sha256(one.read_bytes()) for one in place.store.bundles.iterdir()}
    assert kept == {id: entry.sha256 for id, entry in record.models.items()}
    assert not [*place.store.folder.glob("*.damaged"), *place.store.folder.glob("*.aside-*")]
    return version


def test_kills_at_random_times_of_an_update_strand_no_camera(tmp_path):
    """After each, sightings come again; the update ends one way or the other."""
    dice = random.Random(11)
    with Mosquitto(tmp_path) as broker:
        camera = Field(tmp_path, broker)
        try:
            camera.start()
            camera.sees_with("1")
            digest = send(camera, camera.place.bundle("2"))
            assert camera.ask("model/install", sha256=digest)["status"] == "ok"
            for _ in range(5):
                time.sleep(dice.uniform(0.05, 1.2))  # at any moment: no event is waited for
                camera.kill()
                camera.start()
            before = len(camera.seen())
            assert camera.subscriber.wait(lambda _: len(camera.seen()) > before + 5)
            assert camera.subscriber.wait(
                lambda _: camera.updates()[-1]["result"] in ("confirmed", "returned"), 20
            )
            listed = camera.ask("models")["data"]
            assert listed["probation"] is None
            runs = "2" if listed["current"] else "1"
            # What was seen before the last cut may still be on its way.
            assert camera.subscriber.wait(
                lambda _: camera.seen()[-1]["model"]["version"] == runs, 20
            )
        finally:
            camera.kill()
            camera.subscriber.__exit__()


def test_a_kill_at_every_durable_step_of_a_download_wedges_no_update(tmp_path):
    """Accepted, counted, fetched, cancelled, concluded: what is left can be ended, and another one
    begun; what was cancelled stays so.
    """
    place = Place(tmp_path)
    with Scripted(served) as server:
        for number in range(1000):
            child = os.fork()
            if child == 0:
                try:
                    with kill_at(number, place.store.folder):
                        live_download(place.store, server.url)
                    os._exit(0)
                finally:
                    os._exit(1)
            ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert ended in (0, -signal.SIGKILL)
            jobs, upload = Jobs(place.store), Upload(place.store.incoming, 9.0)
            left = jobs.read()
            if left is not None:
                assert cancel(place.store, jobs, upload, CLOCK.now(), 1.0).ended
                assert there(place.store.read().last).result == "cancelled"
            upload.forget()
            jobs.put(job("later"))
            assert fetch(source(server.url), place.store.incoming, Update()).read_bytes() == DATA
            forget(place.store.incoming)
            jobs.drop(job("later"))
            assert not list(place.store.incoming.iterdir())
            if ended == 0:
                break
    assert number >= 30


def live_download(store, url):
    """What a device does with an upload and an update, until it is killed."""
    jobs, upload = Jobs(store), Upload(store.incoming, 9.0)
    data = b"a piece"
    upload.take(Chunk(sha256=sha256(data), size=len(data), data=data))
    upload.expire()
    upload.forget()
    jobs.put(job("first"))
    jobs.spend("first", 30.0)
    fetch(source(url), store.incoming, Update())
    jobs.cancel()
    conclude(store, jobs, upload, job("first"), by_request(), CLOCK.now())


def sha256(data):
    """The digest in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def served(_request):
    """Answer with DATA."""
    return [answer(DATA, ETag='"a"')]


def source(url):
    """What to fetch."""
    return Source(url=url)


def job(update):
    """An update."""
    return Job(
        update=update, source=source("http://127.0.0.1:1/"), sha256=None, allow_downgrade=False
    )
