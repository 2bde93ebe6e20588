"""Messages that make the broker hang up: found out, set aside, and nothing else is held up."""

from __future__ import annotations

import json

import msgspec
import pytest
from broker_script import Script
from brokers import Mosquitto, Subscriber
from samples import image, sighting
from senders import Sender, received, settings
from strict_broker import StrictBroker
from test_publisher_limits import seqs, until

from edge.messages.sighting import Sighting

POISON = b"poison"


def poisoned() -> Sighting:
    """A sighting with the poison in it."""
    return sighting(label="poison")


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_picture_at_which_the_broker_hangs_up_holds_nothing_up(tmp_path, protocol):
    """All else arrives; it is named and kept; a few connections went."""
    with StrictBroker(Script(hang_up_payload=POISON)) as broker:
        with Sender(tmp_path, settings(broker.port, protocol=protocol)) as device:
            bad = msgspec.structs.replace(image(), jpeg=POISON * 100)
            device.outbox.append_many([sighting(), image(), sighting(), bad, sighting(), image()])
            device.bell.news()
            assert device.drained()
            (letter,) = device.publisher.letters.held()
            assert (letter.kind, letter.bytes) == ("image", 600)
            assert letter.topic == f"sighting/{bad.id}/image"
            assert "closed the connection (2 times with nothing else under way)" in letter.why
            assert any(letter.topic in problem for problem in device.counters.problems())
            assert not device.counters.is_failing("delivery")
        assert broker.findings == []
        assert seqs(broker) == [1, 2, 3]
        assert len(broker.payloads("/image")) == 2
        assert sum(POISON in one.payload for one in broker.seen) <= 4


def test_connections_that_soon_break_and_yet_carry_something_blame_nobody(tmp_path, caplog):
    """A backlog goes out bit by bit: no message is set back, no other device is suspected."""
    with StrictBroker(Script(hang_up_after=12)) as broker:
        with Sender(tmp_path, settings(broker.port)) as device:
            device.sight(60)
            assert device.drained()
        assert broker.findings == []
        assert seqs(broker) == list(range(1, 61))
        assert len(broker.connects) > 5
        assert device.counters["dead_letters"] == 0
    assert "device id" not in caplog.text
    assert "set back" not in caplog.text


def test_mosquitto_without_a_word_about_its_limit(tmp_path):
    """3.1.1 cannot say how large a packet may be: the ones that are too large go aside."""
    limit = "allow_anonymous true\nmax_packet_size 20000"
    with Mosquitto(tmp_path, limit) as broker:
        reader = Subscriber(broker.port)
        with reader, Sender(tmp_path, settings(broker.port, protocol="3.1.1")) as device:
            for size in (12_000, 24_000, 60_000, 19_000):
                device.outbox.append_many([sighting(), image(size)])
            device.bell.news()
            assert device.drained()
            assert [one.bytes for one in device.publisher.letters.held()] == [24_000, 60_000]
            assert reader.wait(lambda _: len(received(reader)) == 4)
        assert {len(one) for one in reader.on("/image")} == {12_000, 19_000}


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_sighting_at_which_the_broker_hangs_up_is_set_aside_when_the_next_passes(
    tmp_path, protocol
):
    """Alone it is kept and tried now and then; only a neighbour that passes proves it."""
    with StrictBroker(Script(hang_up_payload=POISON)) as broker:
        user = settings(broker.port, protocol=protocol)
        with Sender(tmp_path, user, denied_seconds=60) as device:
            device.outbox.append_many([sighting(), poisoned()])
            device.bell.news()
            assert until(lambda: device.counters.is_failing("delivery"))
            assert until(lambda: any("is held back" in p for p in device.counters.problems()))
            assert until(lambda: device.outbox.depth().waiting == 1)
            assert len(device.publisher.letters) == 0
            device.sight(5)
            assert device.drained()
            (letter,) = device.publisher.letters.held()
            assert letter.kind == "sighting"
        assert seqs(broker) == [1, 3, 4, 5, 6, 7]
        assert broker.findings == []


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("topics", ["/sighting", ""])
def test_a_broker_that_hangs_up_on_everything_makes_no_dead_letter(tmp_path, protocol, topics):
    """No message is to blame: all wait, and all arrive in their order once it takes them."""
    with StrictBroker(Script(hang_up=(topics,))) as broker:
        user = settings(broker.port, protocol=protocol)
        with Sender(tmp_path, user, denied_seconds=0.2) as device:
            device.sight(10)
            assert broker.wait(lambda one: len(one.connects) > 14)
            assert len(device.publisher.letters) == 0
            assert device.outbox.depth().waiting == 10
            broker.change(hang_up=())
            assert device.drained()
            assert until(lambda: not device.counters.problems())
        assert sorted(seqs(broker)) == list(range(1, 11))
        assert len(device.publisher.letters) == 0


@pytest.mark.parametrize("topic", ["/info", "/state", "/availability"])
def test_what_the_device_says_of_itself_holds_no_sighting_up(tmp_path, topic):
    """Such a message is left out for a while, named, and said again later."""
    with StrictBroker(Script(hang_up=(topic,))) as broker:
        with Sender(tmp_path, settings(broker.port)) as device:
            device.sight(10)
            assert device.drained()
            assert until(lambda: any(topic in p for p in device.counters.problems()))
            broker.change(hang_up=())
            assert broker.wait(lambda one: one.payloads(topic))
        assert seqs(broker) == list(range(1, 11))
        assert len(device.publisher.letters) == 0


@pytest.mark.parametrize("code", [0x80, 0x83, 0x99])
def test_a_sighting_that_alone_is_refused_for_what_it_is_goes_aside(tmp_path, code):
    """MQTT 5 says no to one message: the others pass, over the same connection."""
    with StrictBroker(Script(refuse_payload=(POISON, code))) as broker:
        with Sender(tmp_path, settings(broker.port)) as device:
            device.outbox.append_many([sighting(), poisoned(), sighting(), sighting()])
            device.bell.news()
            assert device.drained()
            (letter,) = device.publisher.letters.held()
            assert (letter.kind, letter.seq) == ("sighting", 2)
            assert f"0x{code:02X}" in letter.why
            assert device.counters["connects"] == 1
        assert seqs(broker) == [1, 3, 4]
        assert broker.findings == []


@pytest.mark.parametrize("code", [0x80, 0x83, 0x87, 0x90, 0x97, 0x99])
def test_sightings_that_are_all_refused_wait_in_their_order(tmp_path, code):
    """Whatever the reason: nothing is set aside or lost, and all is sent once it is taken."""
    with StrictBroker(Script(codes={"/sighting": code})) as broker:
        with Sender(tmp_path, settings(broker.port), denied_seconds=0.1) as device:
            device.sight(10)
            assert broker.wait(lambda one: len(one.came("/sighting")) > 12)
            assert device.outbox.depth().waiting == 10
            assert any(f"0x{code:02X}" in problem for problem in device.counters.problems())
            broker.change(codes={})
            assert device.drained()
            assert until(lambda: not device.counters.problems())
            assert len(device.publisher.letters) == 0
        assert sorted(seqs(broker)) == list(range(1, 11))
        assert broker.findings == []


def test_released_letters_are_sent_again_as_they_were(tmp_path):
    """With the same id and seq, at the end of what waits."""
    with StrictBroker(Script(hang_up_payload=POISON)) as broker:
        with Sender(tmp_path, settings(broker.port)) as device:
            device.outbox.append_many([poisoned(), sighting()])
            device.bell.news()
            assert device.drained()
            (letter,) = device.publisher.letters.held()
            broker.change(hang_up_payload=None)
            assert device.publisher.letters.release([letter.id]) == 1
            assert device.drained()
            assert broker.wait(lambda one: len(one.payloads()) == 2)
            assert until(lambda: not device.counters.problems())
            assert len(device.publisher.letters) == 0
        said = [json.loads(one) for one in broker.payloads()]
        assert [one["seq"] for one in said] == [2, 1]
        assert said[1]["label"] == "poison"
