"""What may be asked of the models of a device, and what each answer says."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from typing import Any

import msgspec
import pytest
from models_here import Here
from remotes import BASE
from there import there

from edge.config import Requests as Settings
from edge.device.models import DeviceModels
from edge.messages.requests import VerbName
from edge.mqtt.packets import Incoming
from edge.mqtt.requests import RequestServer
from edge.system.handover import Handover
from edge.updates.install import factory
from edge.updates.jobs import Job, cancel
from edge.updates.verbs import Verbs

OPEN = "[model.update]\nunsigned = true"
VERBS: tuple[VerbName, ...] = (
    "models",
    "model/install",
    "model/chunk",
    "model/cancel",
    "model/rollback",
)
URL = "https://models.example/a.wtr"


class Asked(Here):
    """A device that can be asked."""

    def ask(self, verb: str, **params: object) -> dict[str, Any]:
        """Return the answer."""
        settings = Settings(allow=VERBS, unnumbered=True)
        requests = RequestServer(settings, BASE, self.counters, self.clock, lambda: None)
        Verbs(self.models, self.model, self.clock).serve(requests)
        asked = {"transaction": "t", **params}
        requests.carry_out(Incoming(f"{BASE}/request/{verb}", json.dumps(asked).encode()))
        return json.loads(requests.answers()[0].payload)

    def why(self, verb: str, **params: object) -> str:
        """Why the request is refused."""
        return self.ask(verb, **params)["error"]["message"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A device that takes unsigned bundles."""
    return Asked(tmp_path, monkeypatch, OPEN)


def test_the_list_of_models_is_what_the_record_says(here):
    """And what the factory's is."""
    first = json.loads(msgspec.json.encode(factory(here.model)))
    empty: dict[str, object] = {
        "current": None,
        "previous": None,
        "probation": None,
        "models": {},
        "last": None,
    }
    assert here.ask("models")["data"] == {**empty, "factory": first}
    done = here.place.install(here.place.bundle("2"))
    listed = here.ask("models")["data"]
    assert (listed["current"], list(listed["models"])) == (done.id, [done.id])
    assert listed["probation"]["starts"] == 0
    assert here.ask("model/rollback")["data"] == {"current": None}
    assert here.models.news.is_set()
    last = here.ask("models")["data"]["last"]
    assert (last["result"], last["reason"]) == ("returned", "asked for by request")
    assert "factory model runs" in here.why("model/rollback")


def test_an_update_from_an_address_is_accepted(here):
    """With all that was said of it; its id is that of the messages to come."""
    said = {"url": URL, "sha256": "1" * 64, "size": 5, "allow_downgrade": True}
    answer = here.ask("model/install", **said)["data"]
    job = here.models.jobs.read()
    assert answer == {"accepted": True, "update": job.update}
    assert (job.source.url, job.source.sha256, job.source.size) == (URL, "1" * 64, 5)
    assert (job.sha256, job.allow_downgrade) == ("1" * 64, True)
    assert "an update is under way" in here.why("model/chunk", sha256="1" * 64, size=5)
    done = here.ask("model/cancel")["data"]
    assert done == {"update": job.update, "upload": None, "ended": True}
    assert here.models.jobs.read() is None
    here.ask("model/install", url=URL)
    assert not here.models.jobs.read().allow_downgrade


def test_an_update_that_was_sent_is_accepted(here):
    """By its hash; one of the two has to be said."""
    data = here.place.bundle("2").read_bytes()
    name: dict[str, Any] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    assert here.ask("model/chunk", **name)["data"]["next"] == 0
    sent = here.ask("model/chunk", **name, data=base64.b64encode(data).decode())["data"]
    assert sent == {"sha256": name["sha256"], "next": len(data), "complete": True}
    assert "give a url, or the sha256" in here.why("model/install")
    assert here.models.jobs.read() is None
    update = here.ask("model/install", sha256=name["sha256"])["data"]["update"]
    job = Job(update=update, source=None, sha256=name["sha256"], allow_downgrade=False)
    assert here.models.jobs.read() == job


def test_addresses_that_may_not_be_asked_are_refused_at_once(here):
    """Before anything is accepted."""
    assert "only http and https" in here.why("model/install", url="ftp://models.example/a.wtr")
    assert here.models.jobs.read() is None


def test_without_keys_nothing_is_taken(tmp_path, monkeypatch):
    """Neither from an address nor in chunks."""
    closed = Asked(tmp_path, monkeypatch)
    assert "trusted_keys is empty" in closed.why("model/install", url=URL)
    assert "trusted_keys is empty" in closed.why("model/chunk", sha256="1" * 64, size=5)


def test_a_cancel_waits_five_seconds(here, monkeypatch):
    """For whoever is at it, and says where that was not enough."""
    here.ask("model/install", url=URL)
    slept: list[float] = []
    monkeypatch.setattr(cancel, "__defaults__", (slept.append,))
    with here.store.installing():
        assert not here.ask("model/cancel")["data"]["ended"]
    assert sum(slept) == pytest.approx(5.0)


@pytest.mark.parametrize("store", [True, False])
def test_a_device_follows_its_store_where_there_is_one(here, store):
    """Otherwise it judges with the configured bundle, and nothing is asked or told."""
    config = here.place.config
    here.place.install(here.place.bundle("2"))
    if not store:
        model = msgspec.structs.replace(config.model, store=None)
        config = msgspec.structs.replace(config, model=model)
    kept = Handover(lambda: False)
    models = DeviceModels(config, kept, here.counters, here.clock)
    requests = RequestServer(
        Settings(allow=VERBS, unnumbered=True), BASE, here.counters, here.clock, lambda: None
    )
    told = models.introductions(lambda _topic: None)
    models.serve(requests)
    with models as entered, models.switch as switch:
        assert entered is models
        assert switch.running.version == ("2" if store else "1")
        running = {thread.name for thread in threading.enumerate()}
        assert ("models" in running) == store
    assert [one.topic for one in told] == (["wheatear/cam-1/update"] if store else [])
    assert len(models.watchers) == store
    assert set(requests.verbs) & set(VERBS) == (set(VERBS) if store else set())
    if store:
        assert json.loads(there(told[0].payload()))["installed_version"] == "2"
        assert here.store.read().probation.starts == 0
