"""The configuration: one TOML file, read into frozen structs that check themselves.

Every setting has a docstring with its unit. An unknown key or a value out of range is a
:class:`~edge.errors.ConfigError` that names the path (``camera.interval_seconds``), never clamped.
Relative paths are relative to the file. Secrets come from files or the environment.
"""

from __future__ import annotations

import os
import re
import socket
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from edge.config_errors import explain
from edge.errors import ConfigError
from edge.triggers.windows import parse_window

_ID = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class Place(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[device.location]``: where the camera stands."""

    lat: Annotated[float, Meta(ge=-90, le=90)]
    """Latitude in degrees, WGS 84, north positive."""
    lon: Annotated[float, Meta(ge=-180, le=180)]
    """Longitude in degrees, east positive."""
    alt: Annotated[float, Meta(ge=-1000, le=20000)] | None = None
    """Altitude in metres."""


class Device(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[device]``: who this is."""

    id: Annotated[str, Meta(pattern=_ID)] | None = None
    """Name in topics: letters, digits, ``_``, ``.``, ``-``, at most 64. Unset: the host name."""
    name: str = ""
    """Name for people. Empty: the id."""
    location: Place | None = None
    """Where it stands; leave out when unknown."""


class Update(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[model.update]``: how new models are taken, tried and returned from."""

    unsigned: bool = False
    """Take bundles over the network without any ``model.trusted_keys``."""
    keep: Annotated[int, Meta(ge=3, le=1000)] = 4
    """Bundles in the store at most; the current and the previous one always stay."""
    max_bytes: Annotated[int, Meta(ge=1_000_000, le=1_000_000_000_000)] = 200_000_000
    """Bytes of all bundles in the store; beyond, the oldest go."""
    timeout_seconds: Annotated[float, Meta(ge=0.1, le=3600)] = 30.0
    """Seconds without a byte from a web server, until a download is taken up again."""
    attempts: Annotated[int, Meta(ge=1, le=1000)] = 10
    """Attempts in a row that bring no byte of a download, until it is given up."""
    proof_seconds: Annotated[float, Meta(ge=0.1, le=3600)] = 120.0
    """Seconds for the golden pictures in their process."""
    proof_bytes: Annotated[int, Meta(ge=50_000_000, le=1_000_000_000_000)] = 512_000_000
    """Bytes of memory for that process."""
    starts: Annotated[int, Meta(ge=1, le=100)] = 3
    """Starts on probation without a good end in between, until the model is returned from."""
    frames: Annotated[int, Meta(ge=1, le=1_000_000)] = 20
    """Frames that a new model must classify to be confirmed ..."""
    seconds: Annotated[float, Meta(ge=0, le=86400)] = 300.0
    """... and seconds that it must run."""
    rate: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """Least share of the frame rate before; below, the model is returned from."""
    hang_seconds: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    """Seconds on one frame from which a model on probation counts as hanging."""


class Model(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[model]``: what it recognises."""

    bundle: Path | None = None
    """The model bundle, a ``.wtr`` file."""
    tflite: Path | None = None
    """In place of a bundle: a TFLite classifier from elsewhere."""
    labels: Path | None = None
    """The labels of ``tflite``, one a line; may be left out where the model holds them."""
    runtime: str = "litert"
    """Interpreter: ``litert``, ``tflite_runtime``, ``edgetpu`` or ``fake``."""
    threads: Annotated[int, Meta(ge=1, le=64)] = 1
    """Threads for inference."""
    trusted_keys: tuple[Path, ...] = ()
    """Ed25519 public keys (PEM files). With any given, an unsigned bundle is refused."""
    self_test: bool = True
    """Try the bundle's golden images before use; leave this on."""
    store: Path | None = None
    """Folder for models that come later, by request or ``wheatear model install``; ``bundle`` is
    then the last resort."""
    update: Update = Update()
    """How new models are taken."""


class FolderCamera(
    _Section, tag_field="kind", tag="folder", frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """``[camera]`` with ``kind = "folder"``: replays picture files. No frame is left out."""

    path: Path
    """A folder, a picture, or a pattern such as ``photos/**/*.jpg``."""
    frames_per_second: Annotated[float, Meta(gt=0, le=1000)] | None = None
    """Frames per second. Unset: as fast as they are classified."""
    loop: bool = False
    """Start again after the last picture instead of ending."""
    time: Literal["now", "exif"] = "now"
    """Time of a frame: when it was read, or what its EXIF data say (UTC unless they say else)."""
    order: Literal["name", "time"] = "name"
    """Sort the files by name, or by modification time."""


class Picamera2Camera(
    _Section,
    tag_field="kind",
    tag="picamera2",
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
):
    """``[camera]`` with ``kind = "picamera2"``: a Raspberry Pi camera."""

    index: Annotated[int, Meta(ge=0, le=7)] = 0
    """Which camera, as ``rpicam-hello --list-cameras`` numbers them."""
    width: Annotated[int, Meta(ge=64, le=9248)] = 1920
    """Pixels of the evidence picture."""
    height: Annotated[int, Meta(ge=64, le=6944)] = 1080
    """Pixels of the evidence picture."""
    interval_seconds: Annotated[float, Meta(ge=0, le=86400)] = 1.0
    """Seconds from one frame to the next; 0: as fast as they are classified."""
    warm_up_seconds: Annotated[float, Meta(ge=0, le=60)] = 2.0
    """Seconds for exposure and white balance to settle after opening."""
    rotation: Literal[0, 180] = 0
    """Degrees by which the camera hangs turned."""
    focus_metres: Annotated[float, Meta(ge=0.02, le=1000)] | None = None
    """Distance to focus at, in metres (Camera Module 3). Unset: continuous autofocus."""
    exposure_microseconds: Annotated[int, Meta(ge=1, le=200_000_000)] | None = None
    """Fixed exposure time in microseconds. Unset: automatic."""


class V4l2Camera(
    _Section, tag_field="kind", tag="v4l2", frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """``[camera]`` with ``kind = "v4l2"``: a USB camera."""

    device: Path = Path("/dev/video0")
    """The device node; ``/dev/v4l/by-id/...`` stays the same after replugging."""
    width: Annotated[int, Meta(ge=64, le=8192)] = 1280
    """Pixels asked for; the camera may choose its nearest."""
    height: Annotated[int, Meta(ge=64, le=8192)] = 720
    """Pixels asked for."""
    interval_seconds: Annotated[float, Meta(ge=0, le=86400)] = 1.0
    """Seconds from one frame to the next; 0: as fast as they are classified."""
    format: Literal["auto", "mjpeg", "yuyv"] = "auto"
    """What to ask the camera for; ``auto`` prefers MJPEG."""
    timeout_seconds: Annotated[float, Meta(ge=0.1, le=60)] = 5.0
    """Seconds without a frame after which the camera counts as vanished."""


Camera = FolderCamera | Picamera2Camera | V4l2Camera


Share = Annotated[float, Meta(ge=0, le=1)]
"""From 0 (left, top) to 1 (right, bottom) of the picture."""


class View(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[view]``: which parts of a picture are looked at."""

    regions: tuple[tuple[Share, Share, Share, Share], ...] = ()
    """Left, top, right, bottom as shares (0..1) of the picture. None given: the whole picture."""
    tiles: (
        Annotated[int, Meta(ge=16, le=8192)]
        # Not tuple[int, int]: beside a bounded int, msgspec 0.22 crashes on it.
        | Annotated[tuple[Annotated[int, Meta(ge=1, le=32)], ...], Meta(min_length=2, max_length=2)]
        | None
    ) = None
    """Cut each region into ``[columns, rows]``, or into squares of so many pixels a side of the
    picture as it was taken. Unset: each region goes to the model as one."""
    overlap: Annotated[float, Meta(ge=0, le=0.9)] = 0.2
    """Share of a tile that its neighbour shows too, so that what lies on an edge is seen whole."""
    mask_polygons: tuple[Annotated[tuple[tuple[Share, Share], ...], Meta(min_length=3)], ...] = ()
    """Areas that are painted over, each by its corners (x, y) as shares (0..1) of the picture."""
    mask: Path | None = None
    """A picture of the frame, in any size: what is black in it is painted over."""
    max_masked: Share = 0.5
    """Tiles of which a larger share is painted over are left out."""


class DutyCycle(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[trigger.duty]``: work in bursts; between them the camera is let go."""

    every_seconds: Annotated[float, Meta(ge=1, le=604_800)] = 900.0
    """Seconds from the beginning of one burst to that of the next."""
    burst_seconds: Annotated[float, Meta(gt=0, le=86400)] = 60.0
    """Seconds after which a burst ends."""
    burst_frames: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    """Frames after which a burst ends sooner."""


class Motion(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[trigger.motion]``: only frames in which something moves go to the model."""

    threshold: Annotated[float, Meta(ge=1, le=100)] = 4.0
    """How many times its usual noise a part of the picture has to change by."""
    min_area: Annotated[float, Meta(gt=0, le=1)] = 0.00025
    """Share of the picture that has to change in one piece: an insect's width times its length."""
    max_area: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """Share above which a change is the light's or the camera's own."""
    hold_seconds: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    """Seconds after a motion for which frames pass too: what landed is looked at while it sits."""
    max_per_minute: Annotated[int, Meta(ge=1, le=6000)] = 30
    """Frames that pass in a minute at most, whatever moves."""


class Trigger(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[trigger]``: which frames are taken and looked at; all conditions must hold."""

    windows: tuple[str, ...] = ()
    """When the camera works, such as ``06:00-10:00`` or ``sunset-00:30..sunset+02:00``. None:
    always."""
    time_zone: str | None = None
    """Zone of the times in ``windows``, such as ``Asia/Dhaka`` or ``UTC``."""
    wake_file: Path | None = None
    """File that tells a power manager, while the camera sleeps, when it has to be awake again."""
    duty: DutyCycle | None = None
    """Work in bursts; leave the table out to work all the time."""
    motion: Motion | None = None
    """Look at moving things only; leave the table out to look at every frame."""


class Decision(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[decision]``: when frames become a sighting."""

    mode: Literal["life", "votes", "always"] = "life"
    """``life``: a message when a class begins to be there, and when it ends. ``votes``: one each
    time that frames agree. ``always``: every frame is an event (replayed photos)."""
    agree: Annotated[int, Meta(ge=1, le=100)] = 2
    """Frames that must say the same, of the last ``of``."""
    of: Annotated[int, Meta(ge=1, le=100)] = 3
    """Frames that are looked at together."""
    cooldown_seconds: Annotated[float, Meta(ge=0, le=86400)] = 60.0
    """Seconds without a class after which its life ends; with ``votes``, seconds from its event
    during which it is not reported again."""
    leave: Annotated[float, Meta(ge=0, le=1)] = 0.8
    """A life goes on at this share of the threshold that its class needs to begin one."""
    update_seconds: Annotated[float, Meta(ge=0, le=86400)] = 300.0
    """Seconds between messages of a life that goes on at least; 0: none but begin and end."""
    blind_seconds: Annotated[float, Meta(ge=1, le=604800)] = 7200.0
    """Seconds without any frame after which lives end, and earlier frames no more count."""
    report_unknown: bool = True
    """Report what belongs to none of the classes, as ``label: null``."""
    background: tuple[str, ...] = ()
    """Classes that are never a sighting, such as an empty leaf."""
    thresholds: dict[str, Annotated[float, Meta(ge=0, le=1)]] = {}
    """Least confidence per class, in place of the bundle's."""


class Outbox(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[outbox]``: the queue on disk."""

    path: Path = Path("outbox.db")
    """The SQLite file; put it on a disk that survives a power cut, never on a tmpfs."""
    max_bytes: Annotated[int, Meta(ge=1_000_000, le=1_000_000_000_000)] = 256_000_000
    """Bytes of waiting messages; beyond, the oldest pictures, then health, then sightings go."""
    commit_seconds: Annotated[float, Meta(ge=0, le=1)] = 0.05
    """Seconds for which sightings are gathered into one write to disk."""


def _first_line(file: Path, setting: str) -> str:
    """Read a secret. Raises ConfigError."""
    try:
        return file.read_text("utf-8").split("\n", 1)[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{setting}: cannot read {file} ({error}); create it, readable by this program only"
        ) from error


class Tls(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[broker.tls]``: encryption. The table may be empty: system authorities are trusted."""

    ca: Path | None = None
    """Certificate authority (PEM) to trust instead of the system's."""
    certificate: Path | None = None
    """Client certificate (PEM)."""
    key: Path | None = None
    """Key of the client certificate (PEM)."""


class Broker(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[broker]``: where sightings go."""

    host: Annotated[str, Meta(min_length=1)] = "localhost"
    """Name or address of the MQTT broker."""
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    """TCP port. Unset: 1883, with TLS 8883."""
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    """MQTT version; ``auto``: 5, and 3.1.1 where the broker does not speak it."""
    username: str | None = None
    """User name."""
    password_file: Path | None = None
    """File whose first line is the password."""
    password_env: str | None = None
    """Environment variable that holds the password."""
    base_topic: Annotated[str, Meta(pattern=r"^[^+#\s/][^+#\s]*[^+#\s/]$|^[^+#\s/]$")] = "wheatear"
    """First part of every topic."""
    keepalive_seconds: Annotated[int, Meta(ge=5, le=3600)] = 30
    """Seconds of silence after which broker and device ask whether the other is there."""
    timeout_seconds: Annotated[float, Meta(ge=0.5, le=300)] = 15.0
    """Seconds to wait for the connection."""
    window: Annotated[int, Meta(ge=1, le=10000)] = 100
    """Messages sent before the first must be acknowledged; a broker may allow fewer."""
    retry_min_seconds: Annotated[float, Meta(ge=0.05, le=3600)] = 1.0
    """Seconds before the first new attempt; doubled with every failure."""
    retry_max_seconds: Annotated[float, Meta(ge=0.05, le=86400)] = 60.0
    """Seconds between attempts at most."""
    historical_after_seconds: Annotated[float, Meta(ge=1, le=86400)] = 60.0
    """Age in seconds from which a sighting is marked ``historical``."""
    clock_wait_seconds: Annotated[float, Meta(ge=0, le=86400)] | None = None
    """Seconds that messages wait, once a run, for an unsynced clock to be set, so that their times
    are put right before they go. Unset: 30, and 0 where pictures are replayed."""
    tls: Tls | None = None
    """Encryption; leave the table out for none."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, the port filled in."""
        return self.host, self.port or (8883 if self.tls else 1883)

    def password(self) -> str | None:
        """Read the password. Raises ConfigError where its file or variable is missing."""
        if self.password_env:
            if self.password_env not in os.environ:
                raise ConfigError(
                    f"broker.password_env: the environment variable {self.password_env} is not "
                    "set; set it, or use broker.password_file"
                )
            return os.environ[self.password_env]
        if self.password_file:
            return _first_line(self.password_file, "broker.password_file")
        return None


class Images(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[images]``: the picture behind a sighting, sent as JPEG."""

    send: bool = False
    """Send pictures at all."""
    max_bytes: Annotated[int, Meta(ge=2_000, le=10_000_000)] = 60_000
    """Bytes of one picture; larger ones are made smaller."""
    max_side: Annotated[int, Meta(ge=64, le=8192)] = 1024
    """Pixels of the longer side at most."""
    crop: bool = False
    """Where pictures are looked at in parts, send the surest region with a rim of a quarter around
    it, in place of the whole picture."""
    max_bytes_per_day: Annotated[int, Meta(ge=0, le=1_000_000_000_000)] = 20_000_000
    """Bytes of all pictures of one UTC day; beyond, sightings go without."""


class Inbox(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[inbox]``: pictures to learn from, kept here and, where told to, sent as thumbnails."""

    keep: bool = False
    """Keep doubtful pictures and a random share on this device."""
    send: bool = False
    """Send thumbnails of what is kept; needs ``keep``."""
    folder: Path | None = None
    """Where they are kept. Unset: ``inbox`` beside the outbox."""
    max_bytes: Annotated[int, Meta(ge=1_000_000, le=1_000_000_000_000)] = 200_000_000
    """Bytes of all kept pictures; beyond, the least useful ones go."""
    min_free_bytes: Annotated[int, Meta(ge=0, le=1_000_000_000_000)] = 500_000_000
    """Bytes that stay free on that disk for sightings; below, no picture is kept."""
    below: Annotated[float, Meta(ge=0, le=1)] = 0.6
    """Confidence below which a picture is doubtful."""
    disagree_seconds: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    """Seconds within which three frames are of one scene: the middle one is doubtful where the
    other two agree on another class. 0: not looked at."""
    random_share: Annotated[float, Meta(ge=0, le=1)] = 0.001
    """Share of all frames that is kept whatever they show."""
    spacing_seconds: Annotated[float, Meta(ge=0, le=86400)] = 600.0
    """Seconds between two pictures kept for the same reason, so that one windy day does not fill
    the disk."""
    thumbnail_bytes: Annotated[int, Meta(ge=2_000, le=1_000_000)] = 20_000
    """Bytes of one thumbnail at most."""
    thumbnail_side: Annotated[int, Meta(ge=64, le=4096)] = 320
    """Pixels of a thumbnail's longer side at most."""
    max_bytes_per_day: Annotated[int, Meta(ge=0, le=1_000_000_000_000)] = 2_000_000
    """Bytes sent in one UTC day, thumbnails and what is said of them; the rest waits."""


class Gps(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[gps]``: where the camera is, by a receiver that gpsd looks after."""

    enabled: bool = False
    """Ask gpsd. A picture's own place goes before it, and ``device.location`` after it."""
    host: Annotated[str, Meta(min_length=1)] = "localhost"
    """Name or address of gpsd."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 2947
    """TCP port of gpsd."""
    device: str = ""
    """Receiver to listen to, as gpsd names it, such as ``/dev/ttyACM0``. Empty: any."""
    max_age_seconds: Annotated[float, Meta(ge=1, le=86400)] = 10.0
    """Seconds for which a fix counts; older ones are no place."""


class HomeAssistant(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[homeassistant]``: show up in Home Assistant by itself (MQTT device discovery)."""

    enabled: bool = False
    """Announce this device. Switching it off again takes the device out of Home Assistant."""
    discovery_prefix: Annotated[str, Meta(pattern=r"^[^+#\s/][^+#\s]*[^+#\s/]$|^[^+#\s/]$")] = (
        "homeassistant"
    )
    """First part of the topic that Home Assistant listens to, as set there."""


Verb = Literal[
    "status",
    "capture",
    "config/get",
    "config/set",
    "drift",
    "inbox/get",
    "log",
    "model/chunk",
    "model/install",
    "model/rollback",
    "models",
    "restart",
]
"""What a device can be asked for over MQTT."""


class Requests(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[requests]``: what others may ask of the device over MQTT.

    The broker's access list decides who can; this decides what.
    """

    allow: tuple[Verb, ...] = ("status", "capture", "config/get", "drift", "log", "models")
    """Verbs that are carried out; those that change the device have to be listed. Empty: the
    device takes no requests and subscribes to nothing."""
    token_file: Path | None = None
    """File whose first line every request must carry as its ``token``."""
    max_bytes: Annotated[int, Meta(ge=1_000, le=10_000_000)] = 262_144
    """Bytes of one request at most."""
    per_second: Annotated[float, Meta(ge=0.1, le=1000)] = 5.0
    """Requests a second that are looked at; the rest is dropped, beyond a burst of 20."""
    confirm_seconds: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    """Seconds within which a changed configuration has to prove itself; else it is taken back."""

    def token(self) -> str | None:
        """Read the token. Raises ConfigError where its file cannot be read or is empty."""
        if self.token_file is None:
            return None
        token = _first_line(self.token_file, "requests.token_file")
        if not token:
            raise ConfigError(
                f"requests.token_file: {self.token_file} has no token in its first line; write one"
            )
        return token


class Drift(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[drift]``: comparing frames with the photos that the model was judged on."""

    measure: bool = True
    """Compare, where the bundle says what its photos look like."""
    half_life_frames: Annotated[int, Meta(ge=10, le=1_000_000_000)] = 20_000
    """Frames after which one counts half. Make it several days, or each evening is a drift."""
    min_frames: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 1_000
    """Frames before anything is said."""


class Report(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[report]``: how often the device speaks of itself."""

    health_seconds: Annotated[float, Meta(ge=1, le=86400)] = 300.0
    """Seconds from one health message to the next."""
    state_seconds: Annotated[float, Meta(ge=0.1, le=3600)] = 5.0
    """Seconds between two state messages at least."""
    prometheus_file: Path | None = None
    """File, ending in ``.prom``, to write health to, for the textfile collector of Prometheus'
    node_exporter. Unset: none."""
    prometheus_seconds: Annotated[float, Meta(ge=1, le=3600)] = 15.0
    """Seconds from one writing of that file to the next."""
    stall_seconds: Annotated[float, Meta(ge=1, le=86400)] = 120.0
    """Seconds beyond the camera's interval without a frame, after which something is stuck:
    ``state`` says so, and systemd's watchdog is fed no more."""


class Config(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    device: Device = Device()
    """Who this is."""
    model: Model
    """What it recognises."""
    camera: Camera
    """Where frames come from."""
    view: View = View()
    """Which parts of a picture are looked at."""
    trigger: Trigger = Trigger()
    """Which frames are taken and looked at."""
    decision: Decision = Decision()
    """When frames become a sighting."""
    outbox: Outbox = Outbox()
    """The queue on disk."""
    broker: Broker = Broker()
    """Where sightings go."""
    images: Images = Images()
    """Pictures behind sightings."""
    inbox: Inbox = Inbox()
    """Pictures to learn from."""
    requests: Requests = Requests()
    """What others may ask."""
    drift: Drift = Drift()
    """Frames compared with the model's photos."""
    report: Report = Report()
    """State and health."""
    gps: Gps = Gps()
    """Where the camera is."""
    homeassistant: HomeAssistant = HomeAssistant()
    """Showing up in Home Assistant."""

    @property
    def device_id(self) -> str:
        """The id in topics: as configured, else made of the host name."""
        return self.device.id or re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:64] or "cam"


def load_config(path: Path | str) -> Config:
    """Read and check a configuration file. Raises ConfigError."""
    file = Path(path)
    try:
        raw = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is no TOML file: {error}") from error
    return parse_config(raw, base=file.resolve().parent, name=str(file))


def parse_broker(raw: dict[str, Any], name: str = "broker") -> Broker:
    """Check settings of a broker alone; paths are as they are. Raises ConfigError."""
    try:
        broker = msgspec.convert(raw, Broker, dec_hook=lambda _, value: Path(value))
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {explain(str(error), raw, Broker)}") from error
    _check_broker(broker, name)
    return broker


def parse_config(raw: dict[str, Any], base: Path, name: str = "configuration") -> Config:
    """Check `raw`; relative paths are taken from the folder `base`. Raises ConfigError."""

    def hook(kind: type, value: object) -> object:
        if kind is Path and isinstance(value, str) and value:
            return base / Path(value).expanduser()
        raise ValueError("Expected a path in quotes")

    if isinstance(raw.get("outbox", {}), dict):
        raw = {**raw, "outbox": {"path": "outbox.db", **raw.get("outbox", {})}}
    try:
        config = msgspec.convert(raw, Config, dec_hook=hook)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {explain(str(error), raw, Config)}") from error
    _check_together(config, name)
    _check_trigger(config, name)
    return config


def _check_together(config: Config, name: str) -> None:
    """Check what no single setting shows."""
    decision, broker, model = config.decision, config.broker, config.model
    if (model.bundle is None) == (model.tflite is None):
        raise ConfigError(
            f"{name}: set one of model.bundle (a .wtr file) and model.tflite (a model from "
            f"elsewhere), not {'neither' if model.bundle is None else 'both'}"
        )
    if model.labels and not model.tflite:
        raise ConfigError(f"{name}: model.labels goes with model.tflite; a bundle has its own")
    if model.store and not model.bundle:
        raise ConfigError(
            f"{name}: model.store goes with model.bundle, which is what is used when all else fails"
        )
    if decision.agree > decision.of:
        raise ConfigError(
            f"{name}: decision.agree = {decision.agree} is more than decision.of = {decision.of}; "
            "no frame could ever agree often enough. Lower agree or raise of"
        )
    interval = getattr(config.camera, "interval_seconds", 0.0)
    if decision.mode == "life" and interval >= decision.blind_seconds:
        raise ConfigError(
            f"{name}: camera.interval_seconds = {interval:g} is not less than "
            f"decision.blind_seconds = {decision.blind_seconds:g}; no two frames would count "
            "together. Raise the second"
        )
    check_view(config.view, name)
    file = config.report.prometheus_file
    if file is not None and file.suffix != ".prom":
        raise ConfigError(
            f"{name}: report.prometheus_file = {file} does not end in .prom, so node_exporter "
            "would not read it; give it that ending"
        )
    if config.images.send and config.outbox.max_bytes < 10 * config.images.max_bytes:
        raise ConfigError(
            f"{name}: outbox.max_bytes = {config.outbox.max_bytes} holds fewer than ten pictures "
            f"of images.max_bytes = {config.images.max_bytes}; raise the first or lower the second"
        )
    if config.inbox.send and not config.inbox.keep:
        raise ConfigError(
            f"{name}: inbox.send needs inbox.keep: only what is kept is sent; set inbox.keep = true"
        )
    _check_broker(broker, name)


def _check_broker(broker: Broker, name: str) -> None:
    if broker.retry_min_seconds > broker.retry_max_seconds:
        raise ConfigError(
            f"{name}: broker.retry_min_seconds = {broker.retry_min_seconds} is more than "
            f"broker.retry_max_seconds = {broker.retry_max_seconds}; lower the first"
        )
    if broker.password_file and broker.password_env:
        raise ConfigError(
            f"{name}: broker.password_file and broker.password_env are both set; keep one"
        )
    if broker.tls and (broker.tls.certificate is None) != (broker.tls.key is None):
        raise ConfigError(
            f"{name}: broker.tls.certificate and broker.tls.key belong together; set both or none"
        )


def _check_trigger(config: Config, name: str) -> None:
    """Check windows, time zone and bursts."""
    trigger = config.trigger
    windows = []
    for index, text in enumerate(trigger.windows):
        try:
            windows.append(parse_window(text))
        except ValueError as error:
            raise ConfigError(f'{name}: trigger.windows[{index}] = "{text}" {error}') from error
    points = [point for window in windows for point in (window.start, window.end)]
    if trigger.time_zone is None and any(point.sun is None for point in points):
        raise ConfigError(
            f'{name}: trigger.windows has times of day: set trigger.time_zone, such as "UTC" or '
            '"Asia/Dhaka"'
        )
    try:
        ZoneInfo(trigger.time_zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f'{name}: trigger.time_zone = "{trigger.time_zone}" is not known here; '
            "`timedatectl list-timezones` lists zones (apt install tzdata where there are none)"
        ) from error
    placeless = config.device.location is None and not config.gps.enabled
    if placeless and any(point.sun for point in points):
        raise ConfigError(
            f"{name}: trigger.windows has sunrise or sunset: set device.location, where the camera "
            "stands"
        )
    if (motion := trigger.motion) and motion.min_area >= motion.max_area:
        raise ConfigError(
            f"{name}: trigger.motion.min_area = {motion.min_area} is not below "
            f"trigger.motion.max_area = {motion.max_area}; nothing could ever move"
        )
    if (duty := trigger.duty) and duty.burst_seconds >= duty.every_seconds:
        raise ConfigError(
            f"{name}: trigger.duty.burst_seconds = {duty.burst_seconds} leaves no rest within "
            f"trigger.duty.every_seconds = {duty.every_seconds}; lower the first, or leave "
            "[trigger.duty] out to work all the time"
        )


def check_view(view: View, name: str) -> None:
    """Check that every region has an inside. Raises ConfigError."""
    for i, (left, top, right, bottom) in enumerate(view.regions):
        if left >= right or top >= bottom:
            raise ConfigError(
                f"{name}: view.regions[{i}] = {[left, top, right, bottom]} is empty; give left, "
                "top, right, bottom with left < right and top < bottom"
            )


def redacted(config: Config) -> dict[str, Any]:
    """Give the configuration as plain values for printing, without anything secret.

    Secrets are never in it to begin with: only the names of the file or variable that hold them.
    The user name is hidden too.
    """
    plain: dict[str, Any] = msgspec.to_builtins(config, enc_hook=str)
    if plain["broker"]["username"]:
        plain["broker"]["username"] = "***"
    return plain
