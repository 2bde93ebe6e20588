"""What others may ask over MQTT: checked, carried out once, answered."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from brokers import Embedded, Mosquitto, Subscriber, end
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from test_publisher import Device, locked, settings

from edge.clock import SystemClock
from edge.config import Requests as Settings
from edge.counters import Counters
from edge.errors import CameraError, ConfigError
from edge.mqtt import Incoming
from edge.requests import BURST, Params, Requests
from edge.transactions import Memory

BASE = "wheatear/cam-1"
EVERY = ("status", "capture", "log", "restart", "models")


class Number(Params, frozen=True, kw_only=True):
    """Parameters of a verb for tests."""

    number: int = 0


class Desk:
    """Requests with verbs for tests: what was carried out is in `done`."""

    def __init__(self, tell=lambda: None, memory: Memory | None = None, **more):
        self.counters = Counters()
        self.done: list[tuple[str, int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.requests = Requests(
            Settings(**{"allow": EVERY, "per_second": 1000.0, **more}),
            BASE,
            self.counters,
            SystemClock(),
            tell,
            memory,
        )
        for verb in ("status", "restart", "config/set"):
            self.requests.on(verb, Number, lambda params, verb=verb: self._count(verb, params))
        self.requests.on("capture", Number, self._fail)
        self.requests.on("log", Number, self._break)

    def _count(self, verb: str, params: Number) -> dict[str, int]:
        self.gate.wait(10)
        self.done.append((verb, params.number))
        return {"count": len(self.done)}

    def _fail(self, _: Number) -> None:
        raise CameraError("the lens cap is on")

    def _break(self, _: Number) -> None:
        raise KeyError("a bug")

    def ask(self, verb: str, payload: object, **more) -> dict:
        """Carry out a request at once; give its answer."""
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.requests.carry_out(Incoming(f"{BASE}/request/{verb}", data, **more))
        (answer,) = self.requests.answers()
        return {"topic": answer.topic, **json.loads(answer.payload)}


def refused(answer: dict) -> str:
    """Give the kind of error of an answer that says no."""
    assert answer["status"] == "error"
    assert answer["data"] is None
    assert answer["error"]["message"]
    return answer["error"]["kind"]


def test_a_request_is_answered_with_its_transaction():
    """The answer names device, verb and transaction, and holds what the handler gave."""
    answer = Desk().ask("status", {"transaction": "t1", "number": 7})
    assert answer["topic"] == f"{BASE}/response/status"
    assert (answer["device"], answer["verb"], answer["transaction"]) == ("cam-1", "status", "t1")
    assert (answer["status"], answer["data"], answer["error"]) == ("ok", {"count": 1}, None)


@pytest.mark.parametrize(
    ("verb", "payload", "kind", "says"),
    [
        ("status", b"", "MalformedRequestError", "send a JSON object"),
        ("status", b"[" * 100_000, "MalformedRequestError", "no request"),
        ("status", b"\xff\xfe", "MalformedRequestError", "no request"),
        ("status", [1], "MalformedRequestError", "no request"),
        ("status", {}, "MalformedRequestError", "transaction"),
        ("status", {"transaction": 5}, "MalformedRequestError", "transaction"),
        ("status", {"transaction": "x" * 65}, "MalformedRequestError", "transaction"),
        ("status", {"transaction": "t", "number": "7"}, "MalformedRequestError", "number"),
        (
            "status",
            {"transaction": "t", "nummer": 7},
            "MalformedRequestError",
            "nummer`; what is taken here: number",
        ),
        ("status", b" " * 262_145, "MalformedRequestError", "requests.max_bytes = 262144"),
        ("self-destruct", {"transaction": "t"}, "UnknownRequestError", "known: capture"),
        ("config/set", {"transaction": "t"}, "RequestDeniedError", "requests.allow does not list"),
        ("capture", {"transaction": "t"}, "CameraError", "the lens cap is on"),
        ("log", {"transaction": "t"}, "KeyError", "a bug"),
    ],
)
def test_what_is_not_carried_out_is_answered_with_an_error(verb, payload, kind, says):
    """Every refusal has a name, the reason in words, and changes nothing."""
    desk = Desk()
    answer = desk.ask(verb, payload)
    assert refused(answer) == kind
    assert says in answer["error"]["message"]
    assert desk.counters.errors() == {kind: 1}
    assert desk.done == []


def test_with_a_token_file_each_request_needs_the_token(tmp_path):
    """A missing or wrong token is refused, whatever else is in the request."""
    (tmp_path / "token").write_text("s3cret\n")
    desk = Desk(token_file=tmp_path / "token")
    assert refused(desk.ask("restart", {"transaction": "1"})) == "RequestDeniedError"
    wrong = {"transaction": "1", "token": "S3cret"}
    assert refused(desk.ask("restart", wrong)) == "RequestDeniedError"
    assert refused(desk.ask("nonsense", wrong)) == "RequestDeniedError"
    assert desk.done == []
    answer = desk.ask("restart", {"transaction": "1", "token": "s3cret"})
    assert answer["status"] == "ok"
    assert "s3cret" not in json.dumps(answer)


def test_without_its_token_file_a_device_does_not_start(tmp_path):
    """It would otherwise take requests of anybody, or of nobody, in silence."""
    with pytest.raises(ConfigError, match=r"requests\.token_file: cannot read .*token"):
        Desk(token_file=tmp_path / "token")
    (tmp_path / "token").write_text("\nsecond line\n")
    with pytest.raises(ConfigError, match="has no token in its first line"):
        Desk(token_file=tmp_path / "token")


def test_a_request_that_comes_twice_is_carried_out_once():
    """A second delivery gets the first answer, also from the next start of the agent."""
    memory = Memory()
    desk = Desk(memory=memory)
    first = desk.ask("restart", {"transaction": "t", "number": 1})
    assert desk.ask("restart", {"transaction": "t", "number": 1}) == first
    assert Desk(memory=memory).ask("restart", {"transaction": "t", "number": 1}) == first
    assert desk.done == [("restart", 1)]
    other = desk.ask("restart", {"transaction": "t", "number": 2})
    assert refused(other) == "MalformedRequestError"
    assert desk.ask("status", {"transaction": "t", "number": 1})["data"] == {"count": 2}


def test_the_memory_of_answers_is_bounded():
    """The newest answers stay, within a number and within bytes."""
    memory = Memory(most=3, most_bytes=100)
    for i in range(10):
        memory.keep("status", str(i), b"", b"x" * 30)
    known = [i for i in range(10) if memory.find("status", str(i), b"")]
    assert known == [7, 8, 9]
    memory.keep("status", "large", b"", b"x" * 90)
    assert memory.find("status", "9", b"") is None
    assert memory.find("status", "large", b"")


def test_a_retained_request_is_refused():
    """It would be carried out on every connection."""
    desk = Desk()
    answer = desk.ask("restart", {"transaction": "t"}, retained=True)
    assert refused(answer) == "RequestDeniedError"
    assert desk.done == []


def test_answers_go_where_mqtt_5_asks_within_the_device_only():
    """A Response Topic below the device's own responses is honoured, any other refused."""
    desk = Desk()
    wanted = f"{BASE}/response/status/office-1"
    answer = desk.ask("status", {"transaction": "1"}, response_topic=wanted)
    assert (answer["topic"], answer["status"]) == (wanted, "ok")
    for other in ("wheatear/cam-2/response/status", f"{BASE}/state", f"{BASE}/response/#", ""):
        answer = desk.ask("status", {"transaction": "2"}, response_topic=other)
        assert answer["topic"] == f"{BASE}/response/status"
        assert refused(answer) == "RequestDeniedError"


def test_a_flood_is_dropped_and_told_once():
    """Beyond the burst requests are not looked at, and the answers are no flood either."""
    desk = Desk(per_second=0.1)
    for i in range(500):
        payload = json.dumps({"transaction": str(i)}).encode()
        desk.requests.offer(Incoming(f"{BASE}/request/status", payload))
    assert desk.counters["requests_dropped"] == 500 - BURST
    (told,) = desk.requests.answers()
    assert refused(json.loads(told.payload)) == "TooManyRequestsError"


@examples(deadline=None)
@given(
    verb=st.sampled_from(["status", "restart", "config/set", "x", "", "a/b/c"]) | st.text(),
    payload=st.binary(max_size=200)
    | st.dictionaries(
        st.sampled_from(["transaction", "token", "number", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
    ).map(lambda fields: json.dumps(fields).encode()),
    retained=st.booleans(),
    response_topic=st.none() | st.text(),
    correlation=st.none() | st.binary(),
)
def test_whatever_comes_in_gets_an_answer_with_a_named_error(
    verb, payload, retained, response_topic, correlation
):
    """Arbitrary requests never break the thread, and all of them are answered below response/."""
    answer = Desk().ask(
        verb,
        payload,
        retained=retained,
        response_topic=response_topic,
        correlation=correlation,
    )
    assert answer["topic"].startswith(f"{BASE}/response/")
    assert not set(answer["topic"]) & set("+#\0")
    if answer["status"] == "error":
        assert refused(answer) in {
            "MalformedRequestError",
            "UnknownRequestError",
            "RequestDeniedError",
        }


class Asker:
    """A client that publishes requests (MQTT 5, so that it can set properties)."""

    def __init__(self, port: int, username=None, password=None):
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        if username:
            self._client.username_pw_set(username, password)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def send(self, verb: str, payload: object, retain=False, **properties) -> None:
        """Publish a request, QoS 1."""
        about = Properties(PacketTypes.PUBLISH)
        for name, value in properties.items():
            setattr(about, name, value)
        data = json.dumps(payload)
        info = self._client.publish(f"{BASE}/request/{verb}", data, 1, retain, about)
        info.wait_for_publish(5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end(self._client)


class Served:
    """A device that takes requests over a broker."""

    def __init__(self, folder, broker, **more):
        self.desk = Desk(lambda: self.device.publisher.nudge(), **more)
        self.device = Device(folder, broker, requests=self.desk.requests)

    def __enter__(self):
        self.desk.requests.start()
        self.device.__enter__()
        return self

    def __exit__(self, *_):
        self.desk.gate.set()
        self.desk.requests.close()
        self.device.__exit__()


def answered(subscriber, transaction: str) -> dict:
    """Wait for the answer to a transaction."""

    def find(messages):
        answers = [json.loads(m.payload) for m in messages if "/response/" in m.topic]
        return next((a for a in answers if a["transaction"] == transaction), None)

    assert subscriber.wait(find)
    return find(subscriber.messages)


def keep_asking(subscriber, ask, verb: str, transaction: str) -> dict:
    """Ask, again and again until the device has subscribed, under one transaction."""
    mark = f'"transaction":"{transaction}"'.encode()
    for _ in range(50):
        ask(verb, {"transaction": transaction})
        if subscriber.wait(lambda messages: any(mark in m.payload for m in messages), 0.3):
            return answered(subscriber, transaction)
    raise AssertionError("no answer")


@pytest.mark.parametrize("kind", [Mosquitto, Embedded], ids=["mosquitto", "embedded"])
def test_requests_are_taken_over_a_real_broker(tmp_path, kind):
    """Under MQTT 5 and 3.1.1; again after the broker was away."""
    with kind(tmp_path) as broker, Subscriber(broker.port, f"{BASE}/#") as subscriber:
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        ask = lambda verb, what: client.publish(f"{BASE}/request/{verb}", json.dumps(what), 1)  # noqa: E731
        with Served(tmp_path, settings(broker.port)) as served:
            assert keep_asking(subscriber, ask, "restart", "t1")["data"] == {"count": 1}
            if kind is Mosquitto:
                broker.stop()
                broker.start()
                assert keep_asking(subscriber, ask, "restart", "t2")["data"] == {"count": 2}
            assert len(served.desk.done) == (2 if kind is Mosquitto else 1)
        end(client)


def test_mqtt_5_carries_correlation_data_and_shows_what_is_retained(tmp_path):
    """The answer repeats the correlation data; a retained request is seen as such."""
    with (
        Mosquitto(tmp_path) as broker,
        Asker(broker.port) as asker,
        Subscriber5(broker.port) as subscriber,
        Served(tmp_path, settings(broker.port)),
    ):
        keep_asking(subscriber, asker.send, "status", "first")
        asker.send("status", {"transaction": "t"}, CorrelationData=b"\x00c-17")
        answered(subscriber, "t")
        (message,) = [m for m in subscriber.messages if b'"t"' in m.payload]
        assert message.properties.CorrelationData == b"\x00c-17"
        assert not message.retain
        asker.send("restart", {"transaction": "r"}, retain=True)
        assert refused(answered(subscriber, "r")) == "RequestDeniedError"


class Subscriber5(Subscriber):
    """Collects over MQTT 5, with the properties."""

    def __init__(self, port: int):
        self.messages = []
        self._change = threading.Condition()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.on_message = self._on_message
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe(f"{BASE}/response/#", qos=1)
        assert subscribed.wait(5)


def test_what_is_far_too_large_is_not_even_sent_to_the_device(tmp_path):
    """Under MQTT 5 the broker keeps it back; a little too large gets an error, and all goes on."""
    with (
        Mosquitto(tmp_path) as broker,
        Asker(broker.port) as asker,
        Subscriber(broker.port, f"{BASE}/response/#") as subscriber,
        Served(tmp_path, settings(broker.port), max_bytes=1000) as served,
    ):
        keep_asking(subscriber, asker.send, "status", "first")
        before = served.desk.counters["requests"]
        asker.send("status", {"transaction": "huge", "x": "x" * 5000})
        asker.send("status", {"transaction": "large", "x": "x" * 2000})
        assert subscriber.wait(lambda messages: b"larger than" in messages[-1].payload)
        assert served.desk.counters["requests"] == before + 1
        assert served.device.counters["connects"] == 1


def test_a_slow_request_holds_up_no_sighting(tmp_path):
    """While a handler works, sightings are delivered."""
    with (
        Mosquitto(tmp_path) as broker,
        Asker(broker.port) as asker,
        Subscriber(broker.port) as subscriber,
        Served(tmp_path, settings(broker.port)) as one,
    ):
        keep_asking(subscriber, asker.send, "status", "first")
        one.desk.gate.clear()
        asker.send("restart", {"transaction": "slow"})
        one.device.sight(5)
        assert one.device.drained()
        assert one.desk.done == [("status", 0)]
        one.desk.gate.set()
        assert answered(subscriber, "slow")["status"] == "ok"


def test_an_answer_goes_out_before_the_program_ends(tmp_path):
    """Closing lets the request under way end, and sends its answer."""
    with (
        Mosquitto(tmp_path) as broker,
        Asker(broker.port) as asker,
        Subscriber(broker.port) as subscriber,
    ):
        with Served(tmp_path, settings(broker.port)) as served:
            keep_asking(subscriber, asker.send, "status", "first")
            served.desk.gate.clear()
            asker.send("restart", {"transaction": "last"})
            deadline = time.monotonic() + 5
            while served.desk.counters["requests"] < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            threading.Timer(0.3, served.desk.gate.set).start()
            time.sleep(0.1)
            served.desk.requests.close()
        assert answered(subscriber, "last")["status"] == "ok"


def shown_acl() -> str:
    """Give the access list that the guide shows."""
    page = Path(__file__).parents[1] / "docs" / "device.md"
    if not page.exists():
        pytest.skip("the documentation does not travel with the wheel")
    block = page.read_text("utf-8").partition("  pattern write")[2].partition("```")[0]
    return "\n".join(line.strip() for line in f"pattern write{block}".splitlines()) + "\n"


def test_the_access_list_in_the_guide_lets_the_office_ask_and_nobody_else(tmp_path):
    """A device answers the office; what another device asks of it does not arrive."""
    with locked(tmp_path, "#") as broker:
        passwords = "cam-1:a\ncam-2:b\noffice:c\n"
        (tmp_path / "passwd").write_text(passwords)
        subprocess.run(["mosquitto_passwd", "-U", f"{tmp_path}/passwd"], check=True)
        (tmp_path / "acl").write_text(shown_acl())
        broker.reload()
        (tmp_path / "pw").write_text("a\n")
        camera = settings(broker.port, username="cam-1", password_file=tmp_path / "pw")
        with (
            Subscriber(broker.port, username="office", password="c") as office,
            Asker(broker.port, "office", "c") as asker,
            Asker(broker.port, "cam-2", "b") as other,
            Served(tmp_path, camera) as served,
        ):
            keep_asking(office, asker.send, "status", "first")
            known = len(served.desk.done)
            other.send("restart", {"transaction": "stranger"})
            asker.send("status", {"transaction": "second"})
            assert answered(office, "second")["status"] == "ok"
            assert len(served.desk.done) == known + 1
            assert office.on("/availability") == [b"online"]


def denying(folder, topics: str) -> Mosquitto:
    """Start a mosquitto that denies a subscription (its access list file never does)."""
    found = sorted(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"))
    if not found:
        pytest.skip("NO BROKER: mosquitto's dynamic security plugin is not installed")
    rights = {"publishClientSend": True, "publishClientReceive": True, "subscribe": True}
    rule = {"acltype": "subscribePattern", "topic": topics, "priority": 1, "allow": False}
    (folder / "security.json").write_text(
        json.dumps(
            {
                "defaultACLAccess": rights | {"unsubscribe": True},
                "anonymousGroup": "all",
                "groups": [{"groupname": "all", "roles": [{"rolename": "all"}]}],
                "roles": [{"rolename": "all", "acls": [rule]}],
            }
        )
    )
    return Mosquitto(
        folder,
        f"allow_anonymous true\nplugin {found[0]}\nplugin_opt_config_file {folder}/security.json",
    )


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_denied_subscription_is_told_once_and_holds_nothing_up(tmp_path, caplog, protocol):
    """Sightings go on, `state` and `health` say it, the log says it once; it is tried again."""
    with (
        denying(tmp_path, f"{BASE}/request/#") as broker,
        Served(tmp_path, settings(broker.port, protocol=protocol)) as served,
    ):
        counters = served.device.counters
        served.device.sight(3)
        assert served.device.drained()
        deadline = time.monotonic() + 10
        while counters["denied"] < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert counters["denied"] >= 2
        assert counters.errors()["DeniedError"] >= 2
        (problem,) = counters.problems()
        assert f"denies the subscription to {BASE}/request/#" in problem
    assert caplog.text.count("denies the subscription") == 1


def test_a_device_that_allows_nothing_subscribes_to_nothing(tmp_path):
    """`allow = []` switches requests off."""
    with (
        denying(tmp_path, f"{BASE}/request/#") as broker,
        Served(tmp_path, settings(broker.port), allow=()) as served,
    ):
        served.device.sight(3)
        assert served.device.drained()
        assert served.device.counters["denied"] == 0
