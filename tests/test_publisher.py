"""The publisher against real brokers: order, outages, MQTT versions, state."""

from __future__ import annotations

import datetime
import json
import re
import time
from functools import partial

import pytest
from brokers import Embedded, Mosquitto, Subscriber, retained
from patience import wait_for
from samples import health, image, sighting
from senders import Sender, received, settings
from there import there

from edge.messages.base import encode
from edge.mqtt.dial import connect
from edge.mqtt.introduction import Introduction
from edge.mqtt.wire import Will
from edge.system.clock import SystemClock
from edge.system.counters import Backoff, Counters


@pytest.fixture(params=["mosquitto", "embedded"])
def broker(request, tmp_path):
    """Each of the two brokers."""
    kind = {"mosquitto": Mosquitto, "embedded": Embedded}[request.param]
    with kind(tmp_path) as running:
        yield running


def failed(counters: Counters, times: int) -> bool:
    """Whether so many connections failed."""
    return counters["broker_failures"] >= times


def test_waiting_messages_arrive_oldest_first_and_leave_the_disk(tmp_path, broker):
    """What waited before the connection and what comes during it arrive in one order."""
    with Subscriber(broker.port) as subscriber, Sender(tmp_path, settings(broker.port)) as device:
        device.sight(250)
        assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) >= 250)
        device.sight(50)
        assert device.drained()
        assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) >= 300)
        assert received(subscriber) == list(range(1, 301))
        assert device.counters["delivered"] == 300


def test_the_newest_protocol_that_the_broker_speaks_is_agreed(tmp_path, broker, caplog):
    """MQTT 5 with mosquitto; with amqtt, which refuses it, 3.1.1, said in the log and in info."""
    caplog.set_level("INFO")
    expected = "5" if isinstance(broker, Mosquitto) else "3.1.1"
    with Sender(tmp_path, settings(broker.port)) as device:
        device.sight(1)
        assert device.drained()
        info = there(retained(broker.port, "wheatear/cam-1/info"))
        assert json.loads(info) == {"protocol": expected}
    assert f"MQTT {expected}" in caplog.text
    assert ("does not speak MQTT 5" in caplog.text) == (expected == "3.1.1")


def test_availability_says_online_and_offline(tmp_path):
    """Online while connected; offline after a clean end, and from the last will after a break."""
    with Mosquitto(tmp_path) as broker:
        topic = "wheatear/cam-1/availability"
        with Sender(tmp_path, settings(broker.port)) as device:
            device.sight(1)
            assert device.drained()
            assert retained(broker.port, topic) == b"online"
        assert retained(broker.port, topic) == b"offline"
        connection = connect(settings(broker.port), "x", Will(topic, b"offline"))
        connection.publish(topic, b"online", 1, retain=True)
        connection.poll(0.2)
        connection.close()  # without goodbye
        wait_for(lambda: retained(broker.port, topic) == b"offline")


def test_an_outage_loses_repeats_and_reorders_nothing(tmp_path, caplog):
    """The broker goes away twice in the middle; every id arrives, in order; logged once each."""
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        with Sender(tmp_path, settings(broker.port)) as device:
            for some in (100, 900):
                device.sight(400)
                subscriber.wait(lambda _, some=some: len(received(subscriber)) > some)
                broker.stop()
                device.sight(400)
                more = device.counters["broker_failures"] + 2
                wait_for(partial(failed, device.counters, more))
                broker.start()
            assert device.drained()
            assert subscriber.wait(lambda _: len(received(subscriber)) == 1600)
            assert device.counters["connects"] == 3
            assert device.counters["broker_failures"] >= 4
        assert received(subscriber) == list(range(1, 1601))
        ids = [json.loads(p)["id"] for p in subscriber.on("/sighting")]
        assert len(set(ids)) == 1600
    refused = [r for r in caplog.records if "nobody listens" in r.message]
    assert len(refused) <= 2


def test_what_cannot_be_deleted_is_not_sent_again_and_again(tmp_path, connections):
    """While the disk refuses deletions each goes out once; it is deleted when the disk can."""
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        with Sender(tmp_path, settings(broker.port), delete_seconds=0) as device:
            connections.reader.execute("PRAGMA query_only = 1")
            device.sight(300)
            assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) == 300)
            wait_for(lambda: device.counters.errors()["OutboxError"] >= 3)
            assert len(subscriber.on("/sighting")) == 300
            assert device.counters.problems()[0].startswith("deleting what was delivered: ")
            connections.reader.execute("PRAGMA query_only = 0")
            assert device.drained()
            assert device.counters["connects"] == 1
        assert len(subscriber.on("/sighting")) == 300


def test_sightings_that_waited_too_long_say_so(tmp_path):
    """`historical` is decided when a sighting is sent; its time stays when it was taken."""
    old = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=5)
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        with Sender(tmp_path, settings(broker.port)) as device:
            device.outbox.append_many([sighting(time=old), sighting()])
            device.bell.news()
            assert device.drained()
            subscriber.wait(lambda _: len(subscriber.on("/sighting")) == 2)
        found = [json.loads(p) for p in subscriber.on("/sighting")]
    assert [one["historical"] for one in found] == [True, False]
    assert datetime.datetime.fromisoformat(found[0]["time"]) == old


def test_pictures_and_health_arrive_as_they_are(tmp_path):
    """JPEG bytes on the sighting's own topic, health as JSON."""
    picture, report = image(3000), health()
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        with Sender(tmp_path, settings(broker.port)) as device:
            device.outbox.append_many([picture, report])
            device.bell.news()
            assert device.drained()
            assert subscriber.wait(lambda _: subscriber.on("/health"))
        assert subscriber.on(f"wheatear/cam-1/sighting/{picture.id}/image") == [picture.jpeg]
        assert subscriber.on("/health") == [encode(report)]


def test_introductions_are_retained_on_every_connection_and_when_renewed(tmp_path):
    """Whatever the broker forgot is there again; what changed is said again; empty removes it."""
    says, taken = [b"one"], []
    topic = "dashboards/cam-1/config"
    about = Introduction(topic, lambda: says[0], lambda: taken.append(topic))
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        with Sender(tmp_path, settings(broker.port), introductions=[about]) as device:
            assert subscriber.wait(lambda _: subscriber.on(topic) == [b"one"])
            says[0] = b"two"
            device.bell.renew(topic)
            assert subscriber.wait(lambda _: subscriber.on(topic) == [b"one", b"two"])
            assert retained(broker.port, topic) == b"two"
            broker.stop()
            broker.start()
            wait_for(lambda: len(taken) >= 3)
            says[0] = b""
            device.bell.renew(topic)
            assert subscriber.wait(lambda _: subscriber.on(topic)[-1] == b"")
            assert retained(broker.port, topic) is None
        assert len(taken) >= 4  # one more after the broker's restart


def test_the_state_is_renewed_when_an_hour_ends(tmp_path):
    """Counts of the last 24 hours change with the clock alone, and subscribers are told."""
    clock, said = Hours(), []

    def state() -> bytes:
        said.append(clock.now())
        return clock.now().isoformat().encode()

    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        with Sender(tmp_path, settings(broker.port), state=state, clock=clock):
            assert subscriber.wait(lambda _: len(subscriber.on("/state")) == 1)
            clock.hour += 1
            assert subscriber.wait(lambda _: len(subscriber.on("/state")) == 2)
        assert [time.hour for time in said[:2]] == [6, 7]


def test_the_state_says_without_news_what_fails_and_what_works_again(tmp_path):
    """A disk that refuses brings no sighting that could take the state along."""
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        device: Sender = Sender(
            tmp_path,
            settings(broker.port),
            state=lambda: json.dumps(device.counters.problems()).encode(),
        )
        with device:
            for why, told in (("read-only", [b'["outbox: read-only"]']), (None, [b"[]"])):
                assert subscriber.wait(lambda _: subscriber.on("/state"))
                device.counters.failing("outbox", why)
                assert subscriber.wait(lambda _, told=told: subscriber.on("/state")[-1:] == told)


def test_the_state_does_not_count_as_waiting_what_is_on_its_way(tmp_path):
    """A sighting that is delivered at once leaves no state behind that says it waits."""
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        device: Sender = Sender(
            tmp_path,
            settings(broker.port),
            state=lambda: b"%d" % device.outbox.depth().waiting,
        )
        with device:
            assert subscriber.wait(lambda _: subscriber.on("/state"))
            time.sleep(0.2)  # a state may be told at once again
            device.sight(1)
            assert subscriber.wait(lambda _: len(subscriber.on("/state")) > 1)
            assert subscriber.on("/state")[-1] == b"0"
            time.sleep(0.2)  # and again
            device.sight(3)
        assert subscriber.wait(lambda _: subscriber.on("/availability")[-1] == b"offline")
        assert retained(broker.port, "wheatear/cam-1/state") == b"0"


class Hours(SystemClock):
    """A clock whose hour the test sets."""

    hour = 6

    def now(self) -> datetime.datetime:
        """Half past the hour."""
        return datetime.datetime(2026, 6, 21, self.hour, 30, tzinfo=datetime.UTC)


def test_state_follows_sightings_at_a_limited_pace(tmp_path):
    """The retained state is written again after news, not with every sighting."""
    count = iter(range(10**6))
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        device = Sender(tmp_path, settings(broker.port), state=lambda: b"%d" % next(count))
        started = time.monotonic()
        with device:
            for _ in range(40):
                device.sight(1)
                time.sleep(0.01)  # for longer than a state's pace, which is what is tried
            assert device.drained()
        subscriber.wait(lambda _: b"offline" in subscriber.on("/availability"))
        states = subscriber.on("/state")
        assert 2 <= len(states) <= 8 + (time.monotonic() - started) / 0.1
        assert retained(broker.port, "wheatear/cam-1/state") == states[-1]


def test_closing_delivers_what_still_waits(tmp_path):
    """A program that ends sends what it can within its time."""
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        with Sender(tmp_path, settings(broker.port)) as device:
            device.sight(1)
            assert device.drained()
            device.outbox.append_many([sighting() for _ in range(300)])
            device.publisher.close(5.0)
            assert device.outbox.depth().waiting == 0
        assert subscriber.wait(lambda _: len(received(subscriber)) == 301)


def test_waits_between_attempts_grow_and_are_spread():
    """Doubling up to the maximum, between half and whole, and from the start after a success."""
    backoff = Backoff(1, 5)
    assert [backoff.next(1.0) for _ in range(4)] == [1, 2, 4, 5]
    assert backoff.next(0.0) == 2.5
    backoff.reset()
    assert backoff.next(1.0) == 1


def test_the_log_never_shows_a_payload(tmp_path, caplog):
    """Sightings stay out of the log."""
    caplog.set_level("DEBUG")
    with Mosquitto(tmp_path) as broker, Sender(tmp_path, settings(broker.port)) as device:
        device.sight(3)
        assert device.drained()
    assert not re.search(r"confidence", caplog.text)
