"""New models in a running device, over a real broker: taken, tried, returned from."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import signal
import subprocess
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import devices
import pytest
import tiny
from brokers import Mosquitto, Subscriber
from patience import PATIENCE
from test_models import Place, command
from there import there

from edge.model.runtimes.fake import Fault

ALLOWED = (
    'allow = ["models", "model/install", "model/chunk", "model/cancel", "model/rollback", "log"]'
)
QUICK = (
    "[model.update]\nunsigned = true\nframes = 10\nseconds = 0.3\nhang_seconds = 1.5\nattempts = 3"
)


@pytest.fixture
def broker(tmp_path):
    """A mosquitto."""
    with Mosquitto(tmp_path) as running:
        yield running


class Field:
    """A device that replays photos at 20 frames a second, and somebody who listens to it."""

    def __init__(self, folder: Path, broker: Mosquitto, model: str = QUICK, rate: int = 20):
        self.place = Place(folder, model)
        devices.photos(folder / "photos", 6)
        text = self.place.path.read_text()
        text = text.replace("port = 1\n", f"port = {broker.port}\n")
        text = text.replace(
            'path = "photos"', f'path = "photos"\nframes_per_second = {rate}\nloop = true'
        )
        self.place.path.write_text(f"{text}\n[requests]\n{ALLOWED}\nper_second = 100.0\n")
        self.subscriber = Subscriber(broker.port)
        self.process: subprocess.Popen[str] | None = None
        self.asked = 0
        self.sent = 0

    def start(self) -> None:
        """Start the device."""
        self.process = devices.start("run", "--config", str(self.place.path))

    def stop(self) -> str:
        """Stop the device in good order; give what it said."""
        there(self.process).send_signal(signal.SIGTERM)
        return there(self.process).communicate(timeout=20)[1]

    def kill(self) -> None:
        """Take the power away."""
        there(self.process).kill()
        there(self.process).communicate()

    def ended(self) -> bool:
        """Wait until the program is gone (True), or the factory model runs again in it.

        A hanging program writes down that it does, and ends a moment later.
        """
        returned = False
        while not returned:
            returned = self.place.store.read().current is None
            with contextlib.suppress(subprocess.TimeoutExpired):
                there(self.process).communicate(timeout=2.0 if returned else 0.2)
                return True
        return False

    def ask(self, verb: str, **params: object) -> dict[str, Any]:
        """Send a request until it is answered; give the answer."""
        self.asked += 1
        transaction = f"t{self.asked}"
        # As a sender must: a later request has a higher number, whatever the clock does.
        sent = self.sent = max(self.sent + 1, time.time_ns() // 1_000_000)
        payload = json.dumps({"transaction": transaction, "sent": sent, **params}).encode()
        for _ in range(40):
            self.subscriber.publish(f"wheatear/cam-1/request/{verb}", payload)
            if self.subscriber.wait(lambda _: self._answer(transaction), 1.0):
                return there(self._answer(transaction))
        raise AssertionError(f"no answer to {verb}")

    def _answer(self, transaction: str) -> dict[str, Any] | None:
        answers = [
            json.loads(one.payload) for one in self.subscriber.messages if "/response/" in one.topic
        ]
        return next((one for one in answers if one["transaction"] == transaction), None)

    def seen(self) -> list[dict[str, Any]]:
        """All sightings, in the order of arrival."""
        return [json.loads(payload) for payload in self.subscriber.on("/sighting")]

    def sees_with(self, version: str, seconds: float = PATIENCE) -> None:
        """Wait until a sighting names this version of the model."""
        before = len(self.seen())
        assert self.subscriber.wait(
            lambda _: any(one["model"]["version"] == version for one in self.seen()[before:]),
            seconds,
        ), self.updates()[-1:]

    def updates(self) -> list[dict[str, Any]]:
        """All that was said on ``update``."""
        return [json.loads(payload) for payload in self.subscriber.on("/update")]

    def ends(self, result: str, version: str | None, seconds: float = PATIENCE) -> dict[str, Any]:
        """Wait until an update of this version has ended so; give what was said of it."""

        def found() -> dict[str, Any] | None:
            return next(
                (
                    one
                    for one in self.updates()
                    if (one["phase"], one["result"], one["version"]) == ("idle", result, version)
                ),
                None,
            )

        assert self.subscriber.wait(lambda _: found(), seconds), self.updates()[-3:]
        return there(found())


@pytest.fixture
def field(tmp_path, broker):
    """A device in a field; not started."""
    made = []

    def make(**options) -> Field:
        made.append(Field(tmp_path, broker, **options))
        return made[-1]

    yield make
    for one in made:
        with contextlib.suppress(Exception):
            one.kill()
        one.subscriber.__exit__()


def send(field: Field, file: Path, size: int = 3000) -> str:
    """Send a bundle in chunks; give its hash."""
    data = file.read_bytes()
    name: dict[str, Any] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    wanted = 0
    while wanted < len(data):
        piece = base64.b64encode(data[wanted : wanted + size]).decode()
        answer = field.ask("model/chunk", **name, offset=wanted, data=piece)
        assert answer["status"] == "ok", answer
        wanted = answer["data"]["next"]
    assert answer["data"]["complete"]
    return name["sha256"]


def test_a_new_model_takes_over_between_two_frames_and_is_confirmed(field):
    """No frame is left out, each sighting names the model that gave it, `info` follows."""
    camera = field()
    camera.start()
    camera.sees_with("1")
    digest = send(camera, camera.place.bundle("2", size=16))
    answer = camera.ask("model/install", sha256=digest)
    assert answer["data"]["accepted"]
    done = camera.ends("confirmed", "2")
    assert done["update"] == answer["data"]["update"]
    assert (done["installed_version"], done["latest_version"]) == ("2", "2")
    assert not done["in_progress"]
    phases = [one["phase"] for one in camera.updates()]
    assert [p for p, after in pairwise([*phases, ""]) if p != after][-4:] == [
        "proving",
        "switching",
        "probation",
        "idle",
    ]
    listed = camera.ask("models")["data"]
    assert listed["probation"] is None
    assert listed["models"][listed["current"]]["version"] == "2"
    info = json.loads(camera.subscriber.on("/info")[-1])
    assert info["model"]["version"] == "2"
    camera.stop()
    seen = camera.seen()
    names = [photo["frame"]["source"] for photo in seen]
    assert all(int(b[:5]) == (int(a[:5]) + 1) % 6 for a, b in pairwise(names))
    versions = [one["model"]["version"] for one in seen]
    assert versions == sorted(versions)
    assert {one["model"]["sha256"] for one in seen if one["model"]["version"] == "2"} == {digest}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(kind="error", after=3), "failed on"),
        (Fault(kind="slow", after=1, seconds=0.3), "frames a second"),
    ],
)
def test_a_model_that_does_not_hold_up_is_returned_from(field, fault, reason):
    """Errors and a rate below half: the one before judges again, in the same process."""
    camera = field(model=QUICK.replace("seconds = 0.3", "seconds = 60.0"))
    camera.start()
    camera.sees_with("1")
    assert camera.subscriber.wait(lambda _: len(camera.seen()) > 30)
    command("install", camera.place.bundle("2", fault=fault), "--config", camera.place.path)
    assert reason in camera.ends("returned", "2")["reason"]
    camera.sees_with("1")
    assert camera.process.poll() is None


@pytest.mark.parametrize("kind", ["crash", "hang"])
def test_a_model_that_takes_the_program_down_is_returned_from(field, kind):
    """A crash or a hang on a later frame: after a few starts the one before runs again."""
    camera = field(model=QUICK.replace("seconds = 0.3", "seconds = 60.0"))
    camera.start()
    camera.sees_with("1")
    new = camera.place.bundle("2", fault=Fault(kind=kind, after=4))
    command("install", new, "--config", camera.place.path)
    starts = 0
    while camera.ended():
        assert camera.process.returncode in (-signal.SIGSEGV, 70)
        starts += 1
        assert starts <= 4
        camera.start()
    camera.sees_with("1")
    assert camera.ends("returned", "2")["reason"]
    assert starts == (1 if kind == "hang" else 3)


def test_a_roll_back_by_request_judges_the_next_frames_with_the_one_before(field):
    """And once more goes to the factory model; then there is nothing to go back to."""
    camera = field()
    for version in ("2", "3"):
        camera.place.install(camera.place.bundle(version))
        camera.place.confirm()
    camera.start()
    camera.sees_with("3")
    for version in ("2", "1"):
        assert camera.ask("model/rollback")["status"] == "ok"
        camera.sees_with(version)
    assert "factory" in camera.ask("model/rollback")["error"]["message"]


def test_chunks_go_on_where_they_broke_off_also_after_a_kill(field):
    """Each answer says which offset is wanted; repeated and wrong ones change nothing."""
    camera = field()
    camera.start()
    data = camera.place.bundle("2").read_bytes()
    name: dict[str, Any] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    piece = lambda a, b: base64.b64encode(data[a:b]).decode()  # noqa: E731
    assert camera.ask("model/chunk", **name, data=piece(0, 1000))["data"]["next"] == 1000
    again = camera.ask("model/chunk", **name, offset=0, data=piece(0, 1000))["data"]
    assert again == {"sha256": name["sha256"], "next": 1000, "complete": False}
    ahead = camera.ask("model/chunk", **name, offset=1500, data=piece(1500, 1600))
    assert ahead["data"]["next"] == 1000
    early = camera.ask("model/install", sha256=name["sha256"])
    assert "1000 of" in early["error"]["message"]
    camera.kill()
    camera.start()
    assert camera.ask("model/chunk", **name)["data"]["next"] == 1000
    beyond = camera.ask("model/chunk", **name, offset=1000, data=piece(0, len(data)))
    assert "beyond the size" in beyond["error"]["message"]
    digest = send(camera, camera.place.folder / "new-2.wtr")
    assert camera.ask("model/install", sha256=digest)["status"] == "ok"
    camera.ends("confirmed", "2")


def test_a_damaged_upload_is_dropped_and_can_be_sent_again(field):
    """What does not hash as announced is no upload."""
    camera = field()
    camera.start()
    name: dict[str, Any] = {"sha256": hashlib.sha256(b"right").hexdigest(), "size": 5}
    wrong = base64.b64encode(b"wrong").decode()
    assert "SHA-256" in camera.ask("model/chunk", **name, data=wrong)["error"]["message"]
    assert camera.ask("model/chunk", **name)["data"]["next"] == 0


def test_without_trusted_keys_nothing_is_taken_over_the_network(field):
    """Unless the configuration says so."""
    camera = field(model=QUICK.replace("unsigned = true", "unsigned = false"))
    camera.start()
    answer = camera.ask("model/install", url="http://127.0.0.1:1/x.wtr")
    assert "trusted_keys" in answer["error"]["message"]


def test_an_update_refused_says_why_and_the_old_model_goes_on(field):
    """An older version, by request: refused on `update`, and in the list."""
    camera = field()
    camera.start()
    digest = send(camera, camera.place.bundle("0.9"))
    assert camera.ask("model/install", sha256=digest)["status"] == "ok"
    assert "not newer than 1" in camera.ends("refused", "0.9")["reason"]
    assert camera.ask("models")["data"]["last"]["result"] == "refused"
    camera.sees_with("1")


def test_a_probation_goes_on_over_stops_in_good_order(field):
    """Frames and seconds add up over runs; such starts are not held against the model."""
    camera = field(model=QUICK.replace("frames = 10", "frames = 25"))
    camera.place.install(camera.place.bundle("2"))
    for _ in range(12):
        camera.start()
        camera.sees_with("2")
        before = len(camera.seen())
        assert camera.subscriber.wait(lambda _, n=before: len(camera.seen()) > n + 3)
        told = camera.stop()
        assert camera.process.returncode == 0, told
        record = camera.place.store.read()
        if record.probation is None:
            break
        assert record.probation.starts == 0
    assert record.last.result == "confirmed"


def test_a_real_model_is_exchanged_for_another_real_one(field):
    """LiteRT, int8: proved, switched, confirmed, as any."""
    pytest.importorskip("ai_edge_litert")
    camera = field()
    text = camera.place.path.read_text().replace('runtime = "fake"', 'runtime = "litert"')
    camera.place.path.write_text(text)
    tiny.write(camera.place.folder / "model.wtr")
    camera.start()
    camera.sees_with("1.0")
    new = tiny.write(camera.place.folder / "new.wtr", version="1.1")
    assert command("install", new, "--config", camera.place.path).returncode == 0
    camera.ends("confirmed", "1.1")
    camera.sees_with("1.1")
