"""Where a camera is: gpsd over TCP, pictures' own places, and which goes first."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import socket
import subprocess
import threading
import time

import devices
import pytest
from brokers import Mosquitto, Subscriber, free_port
from clocks import Field
from PIL import Image
from there import there
from threads_here import runs

from edge.cameras.photo import facts
from edge.config import Gps as GpsConfig
from edge.errors import GpsError
from edge.messages.sighting import Location, ModelRef
from edge.sightings.identity import Identity
from edge.system.counters import Counters
from edge.system.gps import GpsReceiver, ask, fix, parse

VERSION = {"class": "VERSION", "release": "3.22", "proto_major": 3, "proto_minor": 14}
TPV = {"class": "TPV", "device": "/dev/a", "mode": 3, "lat": 23.8, "lon": 90.4, "altMSL": 8.5}
TPV |= {"altHAE": -45.0, "eph": 4.2, "time": "2026-06-21T09:30:00.000Z", "speed": 0.1}


class Gpsd:
    """A scripted gpsd: greets, waits for ?WATCH, then says what it is told to."""

    def __init__(self, port: int = 0):
        self._server = socket.create_server(("127.0.0.1", port))
        self.port = self._server.getsockname()[1]
        self.watches: list[str] = []
        self._client: socket.socket | None = None

    def accept(self, greeting=VERSION) -> None:
        """Take the next client and its request."""
        self.hang_up()
        self._server.settimeout(10)
        self._client, _ = self._server.accept()
        self.say(greeting)
        with self._client.makefile("r") as lines:
            self.watches.append(lines.readline())

    def say(self, report) -> None:
        """Send a report, or bytes that are none."""
        line = report if isinstance(report, bytes) else json.dumps(report).encode()
        there(self._client).sendall(line + b"\r\n")

    def hang_up(self) -> None:
        """End the connection."""
        if self._client:
            self._client.close()
            self._client = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.hang_up()
        self._server.close()


def until(condition, seconds: float = 10.0):
    """Wait for a condition; give what it gave."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.01)
    return found


def client(port: int, clock=None, counters=None, found=lambda: None, **settings) -> GpsReceiver:
    """Make a client that tries again at once."""
    config = GpsConfig(enabled=True, host="127.0.0.1", port=port, **settings)
    return GpsReceiver(
        config, clock or Field(), counters or Counters(), found, retry_min_seconds=0.01
    )


def test_a_fix_is_taken_from_gpsd_and_grows_old():
    """With height above the sea and accuracy; after max_age_seconds it is no place any more."""
    clock, news = Field(), threading.Event()
    with Gpsd() as gpsd, client(gpsd.port, clock, found=news.set, max_age_seconds=10) as gps:
        gpsd.accept()
        assert gpsd.watches == ['?WATCH={"enable":true,"json":true}\n']
        assert gps.where() is None
        gpsd.say({"class": "DEVICES", "devices": []})
        gpsd.say(TPV)
        place = until(gps.where)
        assert place == Location(lat=23.8, lon=90.4, alt=8.5, accuracy_metres=4.2, source="gps")
        assert news.is_set()
        clock.seconds += 5
        clock.asleep += 5
        assert gps.where() == place
        clock.asleep += 0.1
        assert gps.where() is None, "while it slept it may have been carried away"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"mode": 0}, None),
        ({"mode": 1}, None),
        ({"class": "SKY"}, None),
        ({"lat": None}, None),
        ({"mode": 2}, (None, 4.2)),
        ({"altMSL": None}, (-45.0, 4.2)),
        ({"altMSL": None, "altHAE": None, "alt": 7.0}, (7.0, 4.2)),
        ({"eph": None}, (8.5, None)),
        ({"eph": float("nan")}, (8.5, None)),
        ({"eph": -1}, (8.5, None)),
        ({"altMSL": 1e9}, (-45.0, 4.2)),
        ({"mode": 3.0}, (8.5, 4.2)),
        ({"mode": "3"}, None),
        ({"mode": True}, None),
        ({"device": None}, (8.5, 4.2)),
        ({"lon": 180.5}, None),
        ({"lat": float("nan")}, None),
        ({"lat": float("inf")}, None),
        ({"lat": "23.8"}, None),
        ({"lat": 0.0, "lon": 0.0}, None),
        ({"lat": 0.0}, (8.5, 4.2)),
    ],
)
def test_only_a_fix_is_a_place(change, expected):
    """Two dimensions have no height; other heights stand in where the sea's is not told."""
    place = fix(parse(json.dumps(TPV | change).encode()))
    assert (place and (place.alt, place.accuracy_metres)) == expected


def test_gpsd_may_come_late_restart_and_talk_rubbish():
    """Each time it is tried again; the failure is named and logged once, then it works again."""
    counters, port = Counters(), free_port()
    with client(port, counters=counters) as gps:
        until(lambda: counters.errors().get("GpsError", 0) > 2)
        assert f"gpsd at 127.0.0.1:{port}: Connection refused" in counters.problems()[0]
        with Gpsd(port) as gpsd:
            gpsd.accept()
            gpsd.say(TPV)
            until(gps.where)
            assert counters.problems() == ()
            gpsd.hang_up()
            gpsd.accept(b"SSH-2.0-OpenSSH_9.2")
            gpsd.say(b"Invalid SSH identification string.")
            gpsd.hang_up()
            until(lambda: "does not speak as gpsd does" in "".join(counters.problems()))
            gpsd.accept()
            gpsd.say(TPV | {"lat": -1.5})
            until(lambda: there(gps.where()).lat == -1.5)
            assert counters.problems() == ()


ODD = {
    "cut off": b'{"class":"TPV","mode":3,"lat":23.8,',
    "trailing comma": b'{"class":"TPV","mode":3,"lat":1.0,"lon":1.0,}',
    "no JSON": b"$GPGGA,,,,",
    "no object": b"[1, 2]",
    "no class": b'{"mode":3}',
    "class no text": b'{"class":3}',
    "deep": b'{"class":"TPV","x":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "long": b"x" * 200_000,
    "lon 180.5": b'{"class":"TPV","mode":3,"lat":1.0,"lon":180.5}',
    "null island": b'{"class":"TPV","mode":2,"lat":0.0,"lon":0.0}',
}
HARMLESS = {
    "blank": b"",
    "NaN": b'{"class":"SKY","hdop":NaN}',
    "nan": b'{"class":"SKY","hdop":nan,"vdop":-nan,"all":[inf,nan]}',
    "not UTF-8": b'{"class":"DEVICE","subtype":"\xff\xfe"}',
    "zero byte": b'{"class":"AIS","shipname":"A\x00B"}',
    "ERROR": b'{"class":"ERROR","message":"Unrecognized request"}',
}


@pytest.mark.parametrize("name", [*ODD, *HARMLESS])
def test_an_odd_line_is_left_out_and_the_connection_stays(name):
    """It is counted; the fix behind it is taken from the same connection."""
    counters = Counters()
    with Gpsd() as gpsd, client(gpsd.port, counters=counters) as gps:
        gpsd.accept()
        gpsd.say((ODD | HARMLESS)[name])
        gpsd.say(TPV)
        assert until(gps.where).lat == 23.8
        gpsd.say((ODD | HARMLESS)[name])
        gpsd.say(TPV | {"lat": 5.0})
        until(lambda: there(gps.where()).lat == 5.0)
    assert len(gpsd.watches) == 1
    assert counters.errors().get("GpsError", 0) == (2 if name in ODD else 0)


def test_an_error_that_is_not_known_does_not_cost_the_fix():
    """As gpsd's C library prints it."""
    place = there(fix(parse(json.dumps(TPV).replace("4.2", "nan").encode())))
    assert (place.lat, place.accuracy_metres) == (23.8, None)


def test_what_never_speaks_as_gpsd_does_is_named():
    """A stream of other lines, such as a receiver's own sentences; a first odd line is none yet."""
    counters = Counters()
    with Gpsd() as gpsd, client(gpsd.port, counters=counters) as gps:
        gpsd.accept(b"odd")
        gpsd.say(TPV)
        until(gps.where)
        assert counters.problems() == ()
        gpsd.accept(b"$GPGGA,1")
        for _ in range(20):
            gpsd.say(b"$GPGGA,2")
        until(lambda: "does not speak as gpsd does" in "".join(counters.problems()))


def test_one_receiver_of_several_can_be_chosen():
    """Reports of others are passed over."""
    with Gpsd() as gpsd, client(gpsd.port, device="/dev/b") as gps:
        gpsd.accept()
        gpsd.say(TPV)
        gpsd.say(TPV | {"device": "/dev/b", "lat": 1.0})
        assert until(gps.where).lat == 1.0


def test_closing_does_not_wait_for_a_silent_gpsd():
    """The thread that reads is woken."""
    with Gpsd() as gpsd:
        gps = client(gpsd.port)
        with gps:
            gpsd.accept()
        assert not runs("gps")
        gps.close()


def test_check_tells_the_fix_that_there_is_none_yet_or_what_is_wrong():
    """In words; only a gpsd that is not there, or is none, is a failure."""
    with Gpsd() as gpsd:
        config = GpsConfig(enabled=True, host="127.0.0.1", port=gpsd.port)
        for reports, expected in (
            ([TPV], "23.800000, 90.400000, 8.5 m high, within 4.2 m"),
            ([TPV | {"mode": 1}], "gpsd answers; no fix within 0.3 s"),
        ):
            serve = threading.Thread(target=lambda r=reports: (gpsd.accept(), *map(gpsd.say, r)))
            serve.start()
            assert ask(config, 5.0 if expected[0] == "2" else 0.3) == expected
            serve.join()
    with pytest.raises(GpsError, match="Connection refused"):
        ask(config, 0.3)


def test_without_a_fix_the_configured_place_counts():
    """And with one it does not."""
    home, there = Location(lat=1, lon=2), Location(lat=3, lon=4, source="gps")
    fixes = [None, there, None]
    identity = Identity("c", "b", ModelRef(name="m", version="1", sha256="0"), home, fixes.pop)
    assert [identity.location for _ in range(3)] == [home, there, home]


@pytest.mark.parametrize(
    ("ref", "height", "expected"),
    [
        (0, 12.5, 12.5),
        (1, 12.5, -12.5),
        (b"\x01", 12.5, -12.5),
        (2, 12.5, 12.5),
        (3, 12.5, -12.5),
        (None, 12.5, 12.5),
    ],
)
def test_a_photos_height_is_read_with_its_reference(ref, height, expected):
    """Above or below, of the ellipsoid or of the sea; the error where it is told."""
    exif = Image.Exif()
    gps = exif.get_ifd(0x8825)
    gps.update({1: "S", 2: (1.0, 30.0, 0.0), 3: "E", 4: (2.0, 0.0, 0.0), 6: height, 31: 0.25})
    if ref is not None:
        gps[5] = ref
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", exif=exif)
    place = there(facts(buffer.getvalue()).location)
    assert (place.lat, place.lon, place.alt) == (-1.5, 2.0, expected)
    assert place.accuracy_metres == 0.25


def sentence(body: str) -> bytes:
    """An NMEA 0183 sentence with its checksum."""
    checksum = 0
    for character in body.encode():
        checksum ^= character
    return f"${body}*{checksum:02X}\r\n".encode()


def test_a_real_process_takes_its_place_from_a_real_gpsd(tmp_path):
    """NMEA sentences go to gpsd, sightings and info come with the place."""
    gpsd = shutil.which("gpsd") or shutil.which("gpsd", path="/usr/sbin")
    if gpsd is None:
        pytest.skip("GPSD ABSENT: gpsd is not installed")
    nmea, port = free_port(), free_port()
    daemon = subprocess.Popen(
        [gpsd, "-N", "-n", "-S", str(port), f"udp://127.0.0.1:{nmea}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    stop = threading.Event()

    def receiver() -> None:
        """Be a receiver: five fixes a second."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            while not stop.wait(0.2):
                clock = time.strftime("%H%M%S", time.gmtime())
                day = time.strftime("%d%m%y", time.gmtime())
                for body in (
                    f"GPRMC,{clock}.00,A,2348.600,N,09024.700,E,0.0,0.0,{day},,,A",
                    f"GPGGA,{clock}.00,2348.600,N,09024.700,E,1,09,0.9,8.5,M,-53.5,M,,",
                    "GPGSA,A,3,02,05,07,09,12,15,21,25,29,,,,1.7,0.9,1.4",
                ):
                    with contextlib.suppress(OSError):  # gpsd does not listen yet
                        sock.sendto(sentence(body), ("127.0.0.1", nmea))

    thread = threading.Thread(target=receiver)
    thread.start()
    devices.photos(tmp_path / "photos", 1)
    extra = f'[gps]\nenabled = true\nhost = "127.0.0.1"\nport = {port}\n'
    camera = "loop = true\nframes_per_second = 10"
    try:
        with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
            path = devices.config(tmp_path, broker.port, extra, camera)
            process = devices.start("run", "--config", str(path))
            try:
                assert subscriber.wait(
                    lambda _: (
                        any(b'"gps"' in one for one in subscriber.on("/sighting"))
                        and any(b'"gps"' in one for one in subscriber.on("/info"))
                    ),
                    20,
                )
            finally:
                process.terminate()
                process.communicate(timeout=20)
            place = json.loads(subscriber.on("/sighting")[-1])["location"]
    finally:
        stop.set()
        thread.join()
        daemon.terminate()
        daemon.wait(10)
    assert place["source"] == "gps"
    assert place["lat"] == pytest.approx(23.81, abs=1e-6)
    assert place["lon"] == pytest.approx(90.411667, abs=1e-6)
    assert place["alt"] == pytest.approx(8.5, abs=0.1)
