"""What a broker refuses: topics, passwords, certificates, connections."""

from __future__ import annotations

import socket
import ssl

import pytest
from brokers import ACL, Mosquitto, Subscriber, free_port, locked
from patience import wait_for
from samples import image, sighting
from senders import Sender, received, settings

from edge.config import Broker, Tls
from edge.mqtt.dial import connect
from edge.mqtt.introduction import Introduction
from edge.mqtt.wire import Will


def test_an_introduction_that_the_broker_does_not_take_is_said_and_tried_again(tmp_path, caplog):
    """Denied by the access list or too large: sightings go through, and so does it, once it can."""
    (tmp_path / "pw").write_text("secret\n")
    says, topic = [b"x" * 3000], "wheatear/cam-1/dashboards"
    with locked(tmp_path, "sighting", "max_packet_size 2000") as broker:
        user = settings(broker.port, username="camera", password_file=tmp_path / "pw")
        about = Introduction(topic, lambda: says[0])
        reader = Subscriber(broker.port, username="reader", password="other")
        with reader, Sender(tmp_path, user, introductions=[about]) as device:
            device.sight(2)
            assert device.drained()
            assert f"denies {topic} (larger than its limit of 2000 bytes)" in caplog.text
            says[0] = b"short"
            (tmp_path / "acl").write_text(ACL.format(allowed="#"))
            broker.reload()
            assert reader.wait(lambda _: reader.on("/dashboards") == [b"short"])


def test_a_denied_sighting_stays_until_the_access_list_is_mended(tmp_path, caplog):
    """Under MQTT 5 a denial does not count as delivery; order holds; it is logged once."""
    (tmp_path / "pw").write_text("secret\n")
    user = settings(0, username="camera", password_file=tmp_path / "pw")
    with locked(tmp_path, "state") as broker:
        import msgspec

        user = msgspec.structs.replace(user, port=broker.port)
        reader = Subscriber(broker.port, username="reader", password="other")
        with reader, Sender(tmp_path, user) as device:
            device.sight(50)
            wait_for(lambda: device.counters["denied"] >= 2)
            assert device.outbox.depth().waiting == 50
            assert any("Not authorized" in problem for problem in device.counters.problems())
            (tmp_path / "acl").write_text(ACL.format(allowed="#"))
            broker.reload()
            assert device.drained()
            assert reader.wait(lambda _: len(received(reader)) == 50)
            assert received(reader) == list(range(1, 51))
            wait_for(lambda: device.counters.problems() == ())
    told = [r for r in caplog.records if "denies wheatear/cam-1/sighting" in r.message]
    assert len(told) == 1


def test_denied_pictures_do_not_hold_up_sightings(tmp_path):
    """A picture that the access list forbids is given up and counted; sightings go through."""
    (tmp_path / "pw").write_text("secret\n")
    with locked(tmp_path, "sighting") as broker:
        user = settings(broker.port, username="camera", password_file=tmp_path / "pw")
        with Sender(tmp_path, user) as device:
            device.outbox.append_many([sighting(), image(), sighting(), image()])
            device.bell.news()
            assert device.drained()
            assert device.counters["delivered"] == 2
            assert device.counters["denied"] >= 2
            assert any(one.startswith("broker access") for one in device.counters.problems())


def test_a_wrong_password_is_named_and_nothing_is_lost(tmp_path, caplog):
    """The refusal says what to check and never shows the password."""
    (tmp_path / "pw").write_text("wr0ng\n")
    with locked(tmp_path, "#") as broker:
        user = settings(broker.port, username="camera", password_file=tmp_path / "pw")
        with Sender(tmp_path, user) as device:
            device.sight(3)
            wait_for(lambda: "check broker.username, its password" in caplog.text)
            assert device.outbox.depth().waiting == 3
    assert "check broker.username, its password" in caplog.text
    assert "wr0ng" not in caplog.text


# paho leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_with_an_authority_of_ones_own_and_a_client_certificate(authority):
    """With both certificates messages arrive; an authority that is not trusted is named."""
    listener = (
        f"cafile {authority}/ca.pem\ncertfile {authority}/server.pem\n"
        f"keyfile {authority}/server.key\nrequire_certificate true"
    )
    for file in authority.iterdir():
        file.chmod(0o644)
    own = Tls(
        ca=authority / "ca.pem",
        certificate=authority / "client.pem",
        key=authority / "client.key",
    )
    with Mosquitto(authority, listener=listener) as broker:
        context = ssl.create_default_context(cafile=authority / "ca.pem")
        context.load_cert_chain(authority / "client.pem", authority / "client.key")
        with Subscriber(broker.port, tls=context) as subscriber:
            with Sender(authority, settings(broker.port, tls=own)) as device:
                device.sight(200)
                assert device.drained()
            assert subscriber.wait(lambda _: len(received(subscriber)) == 200)
        strange = settings(broker.port, tls=Tls(ca=authority / "stranger.pem"))
        with pytest.raises(ConnectionError, match=r"not trusted .*check broker\.tls\.ca"):
            connect(strange, "x", Will("t", b""))


def test_each_way_of_not_reaching_a_broker_has_its_cure():
    """Unknown name, closed port, something that is no broker: three different messages."""
    will = Will("t", b"")
    with pytest.raises(ConnectionError, match=r"nobody listens on .*check broker\.port"):
        connect(settings(free_port()), "x", will)
    with pytest.raises(ConnectionError, match=r"the name of nowhere\.invalid:1883 is unknown"):
        connect(Broker(host="nowhere.invalid", timeout_seconds=1), "x", will)
    mute = socket.create_server(("127.0.0.1", 0))
    with mute, pytest.raises(ConnectionError, match=r"did not answer within .*an MQTT broker"):
        connect(settings(mute.getsockname()[1], timeout_seconds=0.5), "x", will)
