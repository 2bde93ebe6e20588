"""Requests over real brokers: versions, sizes, access, and what they hold up."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from brokers import Embedded, Mosquitto, Subscriber, end, locked
from desks import BASE, Served, refused
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from patience import PATIENCE, wait_for
from senders import settings
from there import there

from edge.mqtt.transactions import Memory


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


def answered(subscriber, transaction: str) -> dict[str, Any]:
    """Wait for the answer to a transaction."""

    def find(messages):
        answers = [json.loads(m.payload) for m in messages if "/response/" in m.topic]
        return next((a for a in answers if a["transaction"] == transaction), None)

    assert subscriber.wait(find)
    return find(subscriber.messages)


def keep_asking(subscriber, ask, verb: str, transaction: str) -> dict[str, Any]:
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
        assert vars(there(message.properties))["CorrelationData"] == b"\x00c-17"
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
        assert subscribed.wait(PATIENCE)


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


def test_a_recorded_request_is_worth_nothing_also_after_a_restart(tmp_path):
    """Published again as it was, it is answered as it was; under another transaction, refused."""
    recorded, path = {"transaction": "r", "sent": 1000}, tmp_path / "requests.json"
    with Mosquitto(tmp_path) as broker, Asker(broker.port) as asker:
        for number in range(2):
            with (
                Subscriber(broker.port, f"{BASE}/response/#") as subscriber,
                Served(
                    tmp_path, settings(broker.port), memory=Memory(path), unnumbered=False
                ) as served,
            ):
                keep_asking(subscriber, asker.send, "status", f"first-{number}")
                asker.send("restart", recorded)
                assert answered(subscriber, "r")["data"] == {"count": 2}
                asker.send("restart", {**recorded, "transaction": f"other-{number}"})
                answer = answered(subscriber, f"other-{number}")
                assert refused(answer) == "ReplayedRequestError"
                assert [verb for verb, _ in served.desk.done].count("restart") == 1 - number


def test_junk_keeps_nobody_out_who_has_the_token(tmp_path):
    """Five hundred messages without it; the operator's one among them is answered."""
    (tmp_path / "token").write_text("s3cret\n")
    with (
        Mosquitto(tmp_path) as broker,
        Asker(broker.port) as stranger,
        Asker(broker.port) as operator,
        Subscriber(broker.port, f"{BASE}/response/#") as subscriber,
        Served(
            tmp_path, settings(broker.port), token_file=tmp_path / "token", per_second=0.1
        ) as served,
    ):
        ask = lambda verb, what: operator.send(verb, {**what, "token": "s3cret"})  # noqa: E731
        keep_asking(subscriber, ask, "status", "first")
        for number in range(500):
            stranger.send("status", {"transaction": f"junk-{number}"})
        ask("status", {"transaction": "ours"})
        assert answered(subscriber, "ours")["status"] == "ok"
        assert served.desk.counters["requests_refused"] == 500
        assert "requests" in served.desk.counters.failing_now()


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
        assert one.desk.done == [("status", {})]
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
            wait_for(lambda: served.desk.counters["requests"] >= 2)
            threading.Timer(0.3, served.desk.gate.set).start()  # while closing waits for it
            served.desk.requests.close()
        assert answered(subscriber, "last")["status"] == "ok"


def shown_acl() -> str:
    """The access list that the guide shows."""
    page = Path(__file__).parents[1] / "docs" / "device" / "requests.md"
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
        wait_for(lambda: counters["denied"] >= 2)
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
