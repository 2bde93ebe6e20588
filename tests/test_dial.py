"""How a connection comes about: the MQTT version, whose certificate, whose acknowledgement."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest
from broker_script import Script
from brokers import Mosquitto
from certificates import authority
from senders import Sender, settings
from strict_broker import StrictBroker
from there import there

from edge.config import Broker, Tls
from edge.errors import ConfigError
from edge.mqtt.addresses import KnownAddresses, addresses
from edge.mqtt.connection_errors import broken_off, unreachable
from edge.mqtt.dial import connect
from edge.mqtt.tls import tls_context
from edge.mqtt.wire import Will

WILL = Will("wheatear/cam-1/availability", b"offline")
SAID = "failed to receive on socket: "


def test_a_broker_that_changes_its_version_is_followed(tmp_path):
    """From 5 to 3.1.1, as after a restored backup, and back."""
    with StrictBroker() as broker, Sender(tmp_path, settings(broker.port)) as device:
        for levels, version in (((4, 5), "5"), ((4,), "3.1.1"), ((4, 5), "5")):
            broker.change(speaks=levels, hang_up=("/sighting",))
            seen = len(broker.connects)
            device.sight(1)
            assert broker.wait(lambda one, seen=seen: len(one.connects) > seen)
            broker.change(hang_up=())
            assert device.drained()
            assert device.publisher.protocol == version
        assert broker.findings == []


def test_a_connection_that_was_only_cut_is_no_broker_of_an_older_version():
    """One dead server of several, or a bad moment: under 3.1.1 a denial could not be seen."""
    cut = [True]

    def first_is_dead(sock: socket.socket) -> socket.socket:
        if cut:
            cut.clear()
            sock.close()
            raise ConnectionError
        return sock

    with (
        StrictBroker(wrap=first_is_dead) as broker,
        connect(settings(broker.port), "x", WILL) as connection,
    ):
        assert connection.protocol == "5"


def test_a_broker_that_hangs_up_on_5_without_a_word_speaks_the_older_version():
    """After it did so again and again, and took 3.1.1 in between."""
    with (
        StrictBroker(Script(silent=(5,))) as broker,
        connect(settings(broker.port), "x", WILL) as connection,
    ):
        assert connection.protocol == "3.1.1"
        assert [bool(one.will) for one in broker.connects] == [False, False, True]
        assert broker.wait(lambda one: one.goodbyes == 2)


def test_a_broker_that_says_that_it_speaks_the_older_version_is_believed():
    """At once."""
    with (
        StrictBroker(Script(speaks=(4,))) as broker,
        connect(settings(broker.port), "x", WILL) as connection,
    ):
        assert connection.protocol == "3.1.1"
        assert len(broker.connects) == 1


def test_a_first_connection_learns_which_will_the_broker_takes():
    """It leaves in good order; the second has that will, and is not refused."""
    with (
        StrictBroker(Script(maximum_qos=0, retain=False)) as broker,
        connect(settings(broker.port), "x", WILL) as connection,
    ):
        assert connection.protocol == "5"
        first, second = broker.connects
        assert first.will is None
        will = there(second.will)
        assert (will.qos, bool(will.retain)) == (0, False)
        assert broker.wait(lambda one: one.goodbyes == 1)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_what_is_refused_for_another_reason_than_its_will_is_tried_once(protocol):
    """The broker would say no again."""
    with StrictBroker(Script(connack=0x87 if protocol == "5" else 5)) as broker:
        with pytest.raises(ConnectionError, match="refused the connection"):
            connect(settings(broker.port, protocol=protocol), "x", WILL)
        assert len(broker.connects) == 1


def test_one_dead_address_of_several_is_passed_over():
    """It takes connections and says nothing; the next address of the name is tried."""
    with StrictBroker() as broker:
        try:
            dead = socket.create_server(("::1", broker.port), family=socket.AF_INET6)
        except OSError:
            pytest.skip("NO IPv6 on this computer")
        asked = settings(broker.port, timeout_seconds=0.3)
        both = ["::1", "127.0.0.1"]
        with dead, connect(asked, "x", WILL, resolve=lambda *_: both) as connection:
            assert connection.connected
    with pytest.raises(ConnectionError, match=r"nobody listens on 127\.0\.0\.1:\d+ \(::1\)"):
        connect(asked, "x", WILL, resolve=lambda *_: both[::-1])


def test_the_address_that_answered_last_is_tried_first():
    """Dead ones cost their time once, not with every connection; it may be dead by then itself."""
    with StrictBroker() as broker, StrictBroker(Script(silent=(4, 5))) as dead:
        asked, known, tried = settings(broker.port, protocol="5"), KnownAddresses(), []
        for where in (["127.0.0.2", "127.0.0.1"], ["127.0.0.2", "127.0.0.1"], ["127.0.0.1"]):

            def resolve(_host, _port, where=where):
                tried.append(known.first(where))
                return where

            with connect(asked, "x", None, resolve=resolve, known=known):
                pass
        assert tried == [["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2"], ["127.0.0.1"]]
        asked = settings(dead.port, protocol="5")
        with pytest.raises(ConnectionError, match=r"127\.0\.0\.2"):
            connect(
                asked, "x", None, resolve=lambda *_: ["127.0.0.2", "127.0.0.1"], known=known
            ).close()


def test_a_resolver_that_does_not_answer_is_no_unknown_name():
    """It may answer later; a certificate is held against the clock here, which is named; a port
    without TLS shows none.
    """
    assert unreachable("b:1883", socket.gaierror(socket.EAI_AGAIN, "try again")) == (
        "the name of b:1883 cannot be looked up now (try again); check the network and DNS"
    )
    error = ssl.SSLCertVerificationError("x")
    for error.verify_code, error.verify_message in ((9, "not yet valid"), (10, "expired")):
        assert f"({error.verify_message}); the clock here says 20" in unreachable("b:8883", error)
    error.verify_code, error.verify_message = 18, "self-signed certificate"
    assert unreachable("b:8883", error).endswith("the name in broker.host and the clock")
    other = ssl.SSLError()
    other.reason = "WRONG_VERSION_NUMBER"
    assert unreachable("b:1883", other) == (
        "no TLS with b:1883 (WRONG_VERSION_NUMBER); check broker.port and broker.tls"
    )


def test_a_name_is_resolved_into_its_addresses():
    """Each once; one that is unknown is named."""
    assert addresses("127.0.0.1", 1883) == ["127.0.0.1"]
    with pytest.raises(ConnectionError, match=r"nowhere\.invalid:1883 is unknown .*DNS"):
        addresses("nowhere.invalid", 1883)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_only_its_own_acknowledgement_counts_for_a_message(tmp_path, protocol):
    """Not that of a subscription with the same number."""
    with StrictBroker(Script(subacks=("/sighting",))) as broker:
        limits = {"protocol": protocol, "acknowledge_seconds": 0.4}
        with Sender(tmp_path, settings(broker.port, **limits)) as device:
            device.sight(3)
            assert broker.wait(lambda one: len(one.connects) > 2)
            assert device.outbox.depth().waiting == 3
            broker.change(subacks=())
            assert device.drained()


def test_packet_identifiers_go_on_from_one_connection_to_the_next():
    """What an earlier connection still owes is never taken for an answer to another message."""
    with StrictBroker(Script(mute=("",))) as broker:
        given = []
        for _ in range(3):
            with connect(settings(broker.port, protocol="5"), "x", None) as connection:
                given += [connection.publish("t", b"", 1) for _ in range(5)]
    assert len(set(given)) == 15


@pytest.mark.parametrize("protocol", ["auto", "5", "3.1.1"])
def test_a_certificate_that_the_broker_wants_is_named(tmp_path, protocol):
    """Under TLS 1.3 it says so when the connection is open already."""
    folder = authority(tmp_path)
    for file in folder.iterdir():
        file.chmod(0o644)
    listener = (
        f"cafile {folder}/ca.pem\ncertfile {folder}/server.pem\nkeyfile {folder}/server.key\n"
        "require_certificate true"
    )
    with Mosquitto(folder, listener=listener) as broker:
        asked = settings(broker.port, protocol=protocol, tls=Tls(ca=folder / "ca.pem"))
        with pytest.raises(ConnectionError, match="take this device's certificate"):
            connect(asked, "x", WILL)


@pytest.mark.parametrize(
    ("failure", "why"),
    [
        ("", None),
        (SAID + "[Errno 104] Connection reset by peer", None),
        (SAID + "[Errno 32] Broken pipe", None),
        (SAID + "[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred (_ssl.c:2580)", None),
        (SAID + "[Errno 113] No route to host", "the network failed (No route to host)"),
        (
            SAID + "[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca (_ssl.c:2580)",
            "it does not take this device's certificate (unknown ca); check "
            "broker.tls.certificate, its dates, who signed it, and the clock",
        ),
        (
            SAID + "[SSL: TLSV1_ALERT_INTERNAL_ERROR] tlsv1 alert internal error (_ssl.c:1)",
            "it ended TLS (internal error); look at its log",
        ),
    ],
)
def test_why_an_open_connection_ended_is_said(failure, why):
    """By whom: the other end, which may be a message's doing, or the network, which is not."""
    assert broken_off(failure) == why


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            OSError(errno.EHOSTUNREACH, "No route to host"),
            "no route to b:1 (No route to host); check the network and broker.host",
        ),
        (
            ConnectionResetError(),
            "b:1 closed the connection at once; check broker.port and broker.tls",
        ),
        (TimeoutError(), "b:1 cannot be reached in time; check the network and broker.host"),
        (OSError(errno.EPERM, "not here"), "cannot connect to b:1: [Errno 1] not here"),
        (ValueError("odd"), "cannot connect to b:1: odd"),
    ],
)
def test_why_no_connection_came_about_is_said(error, told):
    """No route, an end at once, no answer; and what is not known, as it is."""
    assert unreachable("b:1", error) == told


def test_a_key_with_a_passphrase_is_refused_without_asking(tmp_path, capfd):
    """Nobody could type it in, and the device would wait for it."""
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    folder = authority(tmp_path)
    key = serialization.load_pem_private_key((folder / "client.key").read_bytes(), None)
    (folder / "locked.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"hush"),
        )
    )
    with pytest.raises(ConfigError, match="without a passphrase"):
        tls_context(
            Tls(
                ca=folder / "ca.pem",
                certificate=folder / "client.pem",
                key=folder / "locked.key",
            )
        )
    assert capfd.readouterr().err == ""


def test_what_is_no_name_of_a_computer_is_said():
    """A label of more than 63 characters, for example."""
    with pytest.raises(ConnectionError, match=r"not the name of a computer .*check broker\.host"):
        connect(Broker(host="a" * 70 + ".example"), "x", None)
