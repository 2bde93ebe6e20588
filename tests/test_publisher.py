"""The publisher against real brokers: order, outages, denials, TLS, MQTT versions."""

from __future__ import annotations

import datetime
import ipaddress
import json
import re
import socket
import ssl
import threading
import time

import paho.mqtt.client as paho
import pytest
from brokers import Embedded, Mosquitto, Subscriber, end, free_port
from paho.mqtt.enums import CallbackAPIVersion
from test_outbox import health, image, sighting

from edge.clock import SystemClock
from edge.config import Broker, Tls
from edge.counters import Backoff, Counters
from edge.messages import encode
from edge.mqtt import Will, connect
from edge.outbox import Outbox
from edge.publisher import Introduction, Publisher


class Device:
    """An outbox and a publisher, as `wheatear run` puts them together."""

    def __init__(self, folder, broker: Broker, denied_seconds=0.3, state=lambda: b"{}", **more):
        self.outbox = Outbox(folder / "outbox.db")
        self.counters = Counters()
        self.publisher = Publisher(
            broker,
            "cam-1",
            self.outbox,
            lambda protocol: json.dumps({"protocol": protocol}).encode(),
            state,
            self.counters,
            state_seconds=0.1,
            denied_seconds=denied_seconds,
            **more,
        )

    def sight(self, count: int) -> None:
        """Write sightings, and say so."""
        self.outbox.append_many([sighting() for _ in range(count)])
        self.publisher.wake()

    def drained(self, seconds=10.0) -> bool:
        """Wait until everything was acknowledged and deleted."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.outbox.depth().waiting:
                return True
            time.sleep(0.01)
        return False

    def __enter__(self):
        self.publisher.start()
        return self

    def __exit__(self, *_):
        self.publisher.close()
        self.outbox.close()


def settings(port: int, **more) -> Broker:
    """Give a broker's settings with short waits."""
    return Broker(
        host="127.0.0.1", port=port, retry_min_seconds=0.05, retry_max_seconds=0.2, **more
    )


def received(subscriber) -> list[int]:
    """Give the numbers of the sightings in the order of their first arrival."""
    return list(dict.fromkeys(json.loads(p)["seq"] for p in subscriber.on("/sighting")))


def retained(port: int, topic: str) -> bytes | None:
    """Ask, as a newcomer does, for the retained message of a topic."""
    got, arrived = [], threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda *a: (got.append(a[2].payload), arrived.set())
    client.on_connect = lambda *_: client.subscribe(topic)
    client.connect("127.0.0.1", port)
    client.loop_start()
    arrived.wait(1.0)
    end(client)
    return got[0] if got else None


@pytest.fixture(params=["mosquitto", "embedded"])
def broker(request, tmp_path):
    """Each of the two brokers."""
    kind = {"mosquitto": Mosquitto, "embedded": Embedded}[request.param]
    with kind(tmp_path) as running:
        yield running


def test_waiting_messages_arrive_oldest_first_and_leave_the_disk(tmp_path, broker):
    """What waited before the connection and what comes during it arrive in one order."""
    with Subscriber(broker.port) as subscriber, Device(tmp_path, settings(broker.port)) as device:
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
    with Device(tmp_path, settings(broker.port)) as device:
        device.sight(1)
        assert device.drained()
        assert json.loads(retained(broker.port, "wheatear/cam-1/info")) == {"protocol": expected}
    assert f"MQTT {expected}" in caplog.text
    assert ("does not speak MQTT 5" in caplog.text) == (expected == "3.1.1")


def test_availability_says_online_and_offline(tmp_path):
    """Online while connected; offline after a clean end, and from the last will after a break."""
    with Mosquitto(tmp_path) as broker:
        topic = "wheatear/cam-1/availability"
        with Device(tmp_path, settings(broker.port)) as device:
            device.sight(1)
            assert device.drained()
            assert retained(broker.port, topic) == b"online"
        assert retained(broker.port, topic) == b"offline"
        connection = connect(settings(broker.port), "x", Will(topic, b"offline"))
        connection.publish(topic, b"online", 1, retain=True)
        connection.poll(0.2)
        connection.close()  # without goodbye
        time.sleep(0.2)
        assert retained(broker.port, topic) == b"offline"


def test_an_outage_loses_repeats_and_reorders_nothing(tmp_path, caplog):
    """The broker goes away twice in the middle; every id arrives, in order; logged once each."""
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        with Device(tmp_path, settings(broker.port)) as device:
            for some in (100, 900):
                device.sight(400)
                subscriber.wait(lambda _, some=some: len(received(subscriber)) > some)
                broker.stop()
                device.sight(400)
                time.sleep(0.6)
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


def test_what_cannot_be_deleted_is_not_sent_again_and_again(tmp_path):
    """While the disk refuses deletions each goes out once; it is deleted when the disk can."""
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        with Device(tmp_path, settings(broker.port)) as device:
            with device.outbox._lock:
                device.outbox._reader.execute("PRAGMA query_only = 1")
            device.sight(300)
            assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) == 300)
            time.sleep(1.5)
            assert len(subscriber.on("/sighting")) == 300
            assert device.counters.problems()[0].startswith("deleting what was delivered: ")
            with device.outbox._lock:
                device.outbox._reader.execute("PRAGMA query_only = 0")
            assert device.drained()
            assert device.counters["connects"] == 1
        assert len(subscriber.on("/sighting")) == 300


def test_sightings_that_waited_too_long_say_so(tmp_path):
    """`historical` is decided when a sighting is sent; its time stays when it was taken."""
    old = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=5)
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        with Device(tmp_path, settings(broker.port)) as device:
            device.outbox.append_many([sighting(time=old), sighting()])
            device.publisher.wake()
            assert device.drained()
            subscriber.wait(lambda _: len(subscriber.on("/sighting")) == 2)
        found = [json.loads(p) for p in subscriber.on("/sighting")]
    assert [one["historical"] for one in found] == [True, False]
    assert datetime.datetime.fromisoformat(found[0]["time"]) == old


def test_pictures_and_health_arrive_as_they_are(tmp_path):
    """JPEG bytes on the sighting's own topic, health as JSON."""
    picture, report = image(3000), health()
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        with Device(tmp_path, settings(broker.port)) as device:
            device.outbox.append_many([picture, report])
            device.publisher.wake()
            assert device.drained()
            assert subscriber.wait(lambda _: subscriber.on("/health"))
        assert subscriber.on(f"wheatear/cam-1/sighting/{picture.id}/image") == [picture.jpeg]
        assert subscriber.on("/health") == [encode(report)]


ACL = """user camera
topic write wheatear/cam-1/availability
topic write wheatear/cam-1/info
topic write wheatear/cam-1/{allowed}
user reader
topic read #
"""


def locked(folder, allowed: str, extra: str = "") -> Mosquitto:
    """Start a mosquitto with users, passwords and an access list."""
    import subprocess

    passwd = folder / "passwd"
    passwd.write_text("camera:secret\nreader:other\n")
    tool = "mosquitto_passwd"
    subprocess.run([tool, "-U", str(passwd)], check=True, env={"PATH": "/usr/bin:/usr/local/bin"})
    (folder / "acl").write_text(ACL.format(allowed=allowed))
    for file in (passwd, folder / "acl"):
        file.chmod(0o600)
    return Mosquitto(
        folder, f"allow_anonymous false\npassword_file {passwd}\nacl_file {folder}/acl\n{extra}"
    )


def test_introductions_are_retained_on_every_connection_and_when_renewed(tmp_path):
    """Whatever the broker forgot is there again; what changed is said again; empty removes it."""
    says, taken = [b"one"], []
    topic = "dashboards/cam-1/config"
    about = Introduction(topic, lambda: says[0], lambda: taken.append(topic))
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        with Device(tmp_path, settings(broker.port), introductions=[about]) as device:
            assert subscriber.wait(lambda _: subscriber.on(topic) == [b"one"])
            says[0] = b"two"
            device.publisher.renew(topic)
            assert subscriber.wait(lambda _: subscriber.on(topic) == [b"one", b"two"])
            assert retained(broker.port, topic) == b"two"
            broker.stop()
            broker.start()
            deadline = time.monotonic() + 10
            while len(taken) < 3 and time.monotonic() < deadline:
                time.sleep(0.02)
            says[0] = b""
            device.publisher.renew(topic)
            assert subscriber.wait(lambda _: subscriber.on(topic)[-1] == b"")
            assert retained(broker.port, topic) is None
        assert len(taken) >= 4  # one more after the broker's restart


def test_an_introduction_that_the_broker_does_not_take_is_said_and_tried_again(tmp_path, caplog):
    """Denied by the access list or too large: sightings go through, and so does it, once it can."""
    (tmp_path / "pw").write_text("secret\n")
    says, topic = [b"x" * 3000], "wheatear/cam-1/dashboards"
    with locked(tmp_path, "sighting", "max_packet_size 2000") as broker:
        user = settings(broker.port, username="camera", password_file=tmp_path / "pw")
        about = Introduction(topic, lambda: says[0])
        reader = Subscriber(broker.port, username="reader", password="other")
        with reader, Device(tmp_path, user, introductions=[about]) as device:
            device.sight(2)
            assert device.drained()
            assert f"denies {topic} (larger than its limit of 2000 bytes)" in caplog.text
            says[0] = b"short"
            (tmp_path / "acl").write_text(ACL.format(allowed="#"))
            broker.reload()
            assert reader.wait(lambda _: reader.on("/dashboards") == [b"short"])


def test_the_state_is_renewed_when_an_hour_ends(tmp_path):
    """Counts of the last 24 hours change with the clock alone, and subscribers are told."""
    clock, said = Hours(), []

    def state() -> bytes:
        said.append(clock.now())
        return clock.now().isoformat().encode()

    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        with Device(tmp_path, settings(broker.port), state=state, clock=clock):
            assert subscriber.wait(lambda _: len(subscriber.on("/state")) == 1)
            clock.hour += 1
            assert subscriber.wait(lambda _: len(subscriber.on("/state")) == 2)
        assert [time.hour for time in said[:2]] == [6, 7]


class Hours(SystemClock):
    """A clock whose hour the test sets."""

    hour = 6

    def now(self) -> datetime.datetime:
        """Give half past the hour."""
        return datetime.datetime(2026, 6, 21, self.hour, 30, tzinfo=datetime.UTC)


def test_a_denied_sighting_stays_until_the_access_list_is_mended(tmp_path, caplog):
    """Under MQTT 5 a denial does not count as delivery; order holds; it is logged once."""
    (tmp_path / "pw").write_text("secret\n")
    user = settings(0, username="camera", password_file=tmp_path / "pw")
    with locked(tmp_path, "state") as broker:
        import msgspec

        user = msgspec.structs.replace(user, port=broker.port)
        reader = Subscriber(broker.port, username="reader", password="other")
        with reader, Device(tmp_path, user) as device:
            device.sight(50)
            time.sleep(1.2)
            assert device.outbox.depth().waiting == 50
            assert device.counters["denied"] >= 1
            assert any("Not authorized" in problem for problem in device.counters.problems())
            (tmp_path / "acl").write_text(ACL.format(allowed="#"))
            broker.reload()
            assert device.drained()
            assert reader.wait(lambda _: len(received(reader)) == 50)
            assert received(reader) == list(range(1, 51))
            deadline = time.monotonic() + 3
            while device.counters.problems() and time.monotonic() < deadline:
                time.sleep(0.02)
            assert device.counters.problems() == ()
    told = [r for r in caplog.records if "denies wheatear/cam-1/sighting" in r.message]
    assert len(told) == 1


def test_denied_pictures_do_not_hold_up_sightings(tmp_path):
    """A picture that the access list forbids is given up and counted; sightings go through."""
    (tmp_path / "pw").write_text("secret\n")
    with locked(tmp_path, "sighting") as broker:
        user = settings(broker.port, username="camera", password_file=tmp_path / "pw")
        with Device(tmp_path, user) as device:
            device.outbox.append_many([sighting(), image(), sighting(), image()])
            device.publisher.wake()
            assert device.drained()
            assert device.counters["delivered"] == 2
            assert device.counters["denied"] >= 2
            assert any(one.startswith("broker access") for one in device.counters.problems())


def test_a_wrong_password_is_named_and_nothing_is_lost(tmp_path, caplog):
    """The refusal says what to check and never shows the password."""
    (tmp_path / "pw").write_text("wr0ng\n")
    with locked(tmp_path, "#") as broker:
        user = settings(broker.port, username="camera", password_file=tmp_path / "pw")
        with Device(tmp_path, user) as device:
            device.sight(3)
            time.sleep(0.5)
            assert device.outbox.depth().waiting == 3
    assert "check broker.username, its password" in caplog.text
    assert "wr0ng" not in caplog.text


@pytest.fixture
def authority(tmp_path):
    """A certificate authority of its own, and a certificate for 127.0.0.1 made by it."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.datetime.now(datetime.UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key

    def usage(ca):
        others = "content_commitment key_encipherment data_encipherment key_agreement"
        no = dict.fromkeys([*others.split(), "encipher_only", "decipher_only"], False)
        return x509.KeyUsage(digital_signature=True, key_cert_sign=ca, crl_sign=ca, **no)

    def certify(name, issuer=None, issuer_key=None, ca=False):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        cert = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            # Python 3.13 holds certificates to RFC 5280: key identifiers and key usage.
            .add_extension(identifier(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    (issuer_key or key).public_key()
                ),
                critical=False,
            )
            .add_extension(usage(ca), critical=True)
            .sign(issuer_key or key, hashes.SHA256())
        )
        (tmp_path / f"{name}.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        (tmp_path / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return subject, key

    issuer, key = certify("ca", ca=True)
    certify("server", issuer, key)
    certify("client", issuer, key)
    certify("stranger", ca=True)
    return tmp_path


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
            with Device(authority, settings(broker.port, tls=own)) as device:
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


def test_state_follows_sightings_at_a_limited_pace(tmp_path):
    """The retained state is written again after news, not with every sighting."""
    count = iter(range(10**6))
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        device = Device(tmp_path, settings(broker.port), state=lambda: b"%d" % next(count))
        started = time.monotonic()
        with device:
            for _ in range(40):
                device.sight(1)
                time.sleep(0.01)
            assert device.drained()
        subscriber.wait(lambda _: b"offline" in subscriber.on("/availability"))
        states = subscriber.on("/state")
        assert 2 <= len(states) <= 8 + (time.monotonic() - started) / 0.1
        assert retained(broker.port, "wheatear/cam-1/state") == states[-1]


def test_closing_delivers_what_still_waits(tmp_path):
    """A program that ends sends what it can within its time."""
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        with Device(tmp_path, settings(broker.port)) as device:
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
    with Mosquitto(tmp_path) as broker, Device(tmp_path, settings(broker.port)) as device:
        device.sight(3)
        assert device.drained()
    assert not re.search(r"confidence", caplog.text)
