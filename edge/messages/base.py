"""What goes over MQTT: every payload is one of these structs, encoded as UTF-8 JSON.

The JSON Schema of each comes out of this module (:func:`schemas`), and so does ``docs/topics.md``.
Times are UTC. A field is only ever added; a change of meaning raises :data:`SCHEMA_VERSION`.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge.text.printable import encoded

SCHEMA_VERSION = 1
"""The ``schema`` of every message."""
MOST_SENT = 2**53 - 1
"""The largest number that every reader of JSON takes for itself; bounds ``sent`` of a request."""

Clock = Literal["synced", "retimed", "holdover", "rtc", "unsynced"]
Reason = Literal["unknown", "below-threshold", "background"]
Kept = Literal["disagreement", "low-confidence", "unknown", "random"]
Phase = Literal["single", "begin", "update", "end"]
Ended = Literal["gone", "blind", "stop", "cut", "model"]
UpdatePhase = Literal["idle", "fetching", "proving", "switching", "probation"]
UpdateResult = Literal["confirmed", "refused", "cancelled", "expired", "returned"]
Time = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Asleep = Annotated[
    str | None, Meta(description="Until when the camera rests, and what for; null: it works.")
]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What all payloads share: the struct is immutable and its fields are given by name."""


class Location(Message, frozen=True, kw_only=True):
    """Where the picture was taken (WGS 84)."""

    lat: Annotated[float, Meta(ge=-90, le=90, description="Latitude in degrees, north positive.")]
    lon: Annotated[float, Meta(ge=-180, le=180, description="Longitude in degrees, east positive.")]
    alt: Annotated[
        float | None, Meta(description="Altitude in metres, above the sea where known; or null.")
    ] = None
    accuracy_metres: Annotated[
        float | None, Meta(description="Estimated horizontal error, or null.")
    ] = None
    source: Annotated[str, Meta(description="`config`, `exif` or `gps`.")] = "config"


class Score(Message, frozen=True, kw_only=True):
    """One class and how likely it is."""

    label: Annotated[str, Meta(description="Class id, as in the model's labels.")]
    confidence: Annotated[Fraction, Meta(description="Calibrated probability.")]


class Votes(Message, frozen=True, kw_only=True):
    """How many frames said the same; in an update or end, of the life until it was last seen."""

    agree: Annotated[int, Meta(ge=1, description="Frames that gave this verdict.")]
    of: Annotated[int, Meta(ge=1, description="Frames that were looked at.")]


class ModelRef(Message, frozen=True, kw_only=True):
    """The model that said so."""

    name: str
    version: str
    sha256: Annotated[str, Meta(description="SHA-256 of the bundle or model file, hexadecimal.")]


class Region(Message, frozen=True, kw_only=True):
    """A part of a picture: tiles that touch and say the same."""

    box: Annotated[
        tuple[int, int, int, int], Meta(description="Left, top, right, bottom in pixels.")
    ]
    confidence: Annotated[Fraction, Meta(description="Of its surest tile.")]
    tiles: Annotated[int, Meta(ge=1, description="How many tiles say so.")] = 1


class FrameRef(Message, frozen=True, kw_only=True):
    """The picture that was classified."""

    width: Annotated[int, Meta(ge=1, description="Pixels, of the picture as it was taken.")]
    height: Annotated[int, Meta(ge=1, description="Pixels, of the picture as it was taken.")]
    region: Annotated[
        tuple[int, int, int, int] | None,
        Meta(description="Left, top, right, bottom in pixels; null: the whole picture."),
    ] = None
    source: Annotated[str, Meta(description="File name or camera name.")] = ""
    regions: Annotated[
        tuple[Region, ...],
        Meta(description="All regions, surest first; empty: the picture was not cut."),
    ] = ()


class Sighting(Message, frozen=True, kw_only=True):
    """What was decided on. Delivered at least once and in order; de-duplicate by `id`."""

    schema: Annotated[int, Meta(description="Version of this schema.")] = SCHEMA_VERSION
    device: Annotated[str, Meta(description="Device id, the second part of the topic.")]
    installation: Annotated[
        str,
        Meta(
            description="Tells devices with the same id apart: drawn at the first start, and anew "
            "where its data are copied to another board or card, or put back from a copy."
        ),
    ] = ""
    boot: Annotated[str, Meta(description="Changes with every start of the computer.")]
    seq: Annotated[
        int,
        Meta(
            ge=0,
            description="Per `installation`, rising by one, never reused: a gap is a loss, but "
            "for what `skipped` says.",
        ),
    ] = 0
    id: Annotated[str, Meta(description="Unique; the same in every delivery of this event.")]
    time: Annotated[
        datetime, Meta(tz=True, description="When the frame was taken, never when sent.")
    ]
    clock: Annotated[
        Clock,
        Meta(
            description="How far `time` can be trusted. `synced`: by NTP, PTP or GPS; `retimed`: "
            "taken on a worse clock, corrected before sending; `holdover`: synced earlier since "
            "the computer's start; `rtc`: set from a battery-backed clock; `unsynced`: may be "
            "wrong by months."
        ),
    ]
    boot_seconds: Annotated[
        float | None,
        Meta(
            description="From the computer's start (`boot`) to the frame, whatever the clock said: "
            "added to `booted` of `info` it is the time. Null: `time` is a picture's own."
        ),
    ] = None
    label: Annotated[str | None, Meta(description="Class id, or null: see `reason`.")]
    reason: Annotated[Reason | None, Meta(description="Why there is no label, or null.")] = None
    confidence: Annotated[Fraction, Meta(description="Calibrated probability of the top class.")]
    alternatives: Annotated[tuple[Score, ...], Meta(description="Best classes, best first.")]
    votes: Votes
    model: ModelRef
    frame: FrameRef
    location: Location | None = None
    phase: Annotated[
        Phase,
        Meta(
            description="Of a life: `begin`, `update` or `end`; `single`: all there is to say. "
            "Count `single` and `begin`."
        ),
    ] = "single"
    event: Annotated[
        str, Meta(description="The same in all messages of one life: the `id` of its first.")
    ] = ""
    since: Annotated[
        Time | None, Meta(description="When the first frame that showed it was taken.")
    ] = None
    duration_seconds: Annotated[
        float, Meta(ge=0, description="From the first frame that showed it to the last so far.")
    ] = 0.0
    best_time: Annotated[
        Time | None,
        Meta(
            description="When the surest frame so far was taken. At the `end`, `confidence`, "
            "`alternatives`, `frame` and `location` are of that frame.",
        ),
    ] = None
    ended: Annotated[
        Ended | None,
        Meta(
            description="Why it ended: `gone`; `blind`: no frames came; `stop`: the program "
            "stopped; `cut`: the program was killed, and this is what was known before; "
            "`model`: another model took over."
        ),
    ] = None
    skipped: Annotated[
        int,
        Meta(
            ge=0,
            description="So many numbers directly before this one were left out at a start after "
            "a power cut or a kill, because a card that loses what it said was written may have "
            "had them given out; the device holds no message with them.",
        ),
    ] = 0
    historical: Annotated[bool, Meta(description="Sent late: `time` is long before arrival.")] = (
        False
    )


class HourCount(Message, frozen=True, kw_only=True):
    """Sightings within one hour."""

    hour: Annotated[datetime, Meta(tz=True, description="Start of the hour.")]
    labels: Annotated[
        dict[str, Count], Meta(description="Sightings per class id; `` (empty): no label.")
    ]


class Present(Message, frozen=True, kw_only=True):
    """A life that goes on: what is there now."""

    label: Annotated[str | None, Meta(description="Class id, or null: unknown.")]
    event: Annotated[str, Meta(description="The `event` of its sightings.")]
    since: Annotated[
        Time | None, Meta(description="When the first frame that showed it was taken.")
    ]


class HealthSummary(Message, frozen=True, kw_only=True):
    """The few words of health that belong on a dashboard."""

    ok: Annotated[bool, Meta(description="Nothing is failing at this moment.")]
    problems: Annotated[tuple[str, ...], Meta(description="What is failing, in words.")] = ()
    waiting: Annotated[int, Meta(ge=0, description="Messages on disk not yet acknowledged.")] = 0
    asleep: Asleep = None
    lost: Annotated[
        int,
        Meta(ge=0, description="Sightings dropped or unreadable on this disk since the start."),
    ] = 0


class State(Message, frozen=True, kw_only=True):
    """The latest picture of the device; retained, so a new subscriber sees it at once."""

    schema: int = SCHEMA_VERSION
    device: str
    time: Annotated[datetime, Meta(tz=True, description="When this state was written.")]
    latest: Annotated[Sighting | None, Meta(description="The newest sighting, or null.")]
    hours: Annotated[
        tuple[HourCount, ...], Meta(description="The last 24 hours that had any, oldest first.")
    ]
    present: Annotated[
        tuple[Present, ...], Meta(description="What is there now: lives that go on, oldest first.")
    ] = ()
    health: HealthSummary


class Software(Message, frozen=True, kw_only=True):
    """The program that runs on the device."""

    name: str
    version: str
    python: str


class RunningModel(Message, frozen=True, kw_only=True):
    """The model that runs on the device, and on what."""

    name: str
    version: str
    sha256: str
    labels: tuple[str, ...]
    runtime: Annotated[str, Meta(description="Backend, such as `litert`.")]
    runtime_version: str


class ConfigState(Message, frozen=True, kw_only=True):
    """Which configuration is in force, and what requests have changed of it."""

    revision: Annotated[str, Meta(description="Tells configurations apart.")]
    trying: Annotated[
        bool, Meta(description="On trial: taken back unless it proves itself in time.")
    ] = False
    changed: Annotated[
        tuple[str, ...], Meta(description="Settings that were changed from afar.")
    ] = ()
    replaced: Annotated[
        bool,
        Meta(description="A whole configuration was sent, in place of the file on the device."),
    ] = False
    taken_back: Annotated[
        str | None, Meta(description="Why the last change was taken back, or null.")
    ] = None
    taken_back_at: Annotated[datetime | None, Meta(description="When that was.")] = None


class Info(Message, frozen=True, kw_only=True):
    """What the device is; retained, sent on every connection."""

    schema: int = SCHEMA_VERSION
    device: str
    name: Annotated[str, Meta(description="Name for people.")]
    installation: Annotated[str, Meta(description="As in a sighting.")] = ""
    boot: str
    started: Annotated[datetime, Meta(tz=True, description="When the program started.")]
    clock: Annotated[Clock, Meta(description="As in a sighting, now.")] = "unsynced"
    booted: Annotated[
        Annotated[datetime, Meta(tz=True)] | None,
        Meta(
            description="When the computer started, by its clock now; said anew when the clock was "
            "set. A sighting of this `boot` was taken `boot_seconds` later."
        ),
    ] = None
    software: Software
    model: RunningModel
    camera: Annotated[str, Meta(description="Kind of camera.")]
    protocol: Annotated[str, Meta(description="MQTT version agreed with the broker.")]
    location: Location | None = None
    capabilities: tuple[str, ...] = ()
    schemas: Annotated[
        dict[str, int], Meta(description="Schema version of every message this device sends.")
    ]
    config: Annotated[ConfigState | None, Meta(description="Null: not told.")] = None
    requests: Annotated[tuple[str, ...], Meta(description="What it can be asked for.")] = ()


class Frames(Message, frozen=True, kw_only=True):
    """Pictures since the program started."""

    captured: Count = 0
    classified: Count = 0
    skipped: Annotated[int, Meta(ge=0, description="Older frames a newer one replaced.")] = 0
    bad: Annotated[int, Meta(ge=0, description="Pictures that could not be read.")] = 0
    idle: Annotated[int, Meta(ge=0, description="Frames that a trigger kept from the model.")] = 0
    limited: Annotated[
        int, Meta(ge=0, description="Of these, frames with motion beyond `max_per_minute`.")
    ] = 0


class Timings(Message, frozen=True, kw_only=True):
    """Mean milliseconds over the frames since the last health message."""

    capture: float = 0.0
    preprocess: float = 0.0
    invoke: float = 0.0
    loop: Annotated[float, Meta(description="From one frame to the next.")] = 0.0


class Spread(Message, frozen=True, kw_only=True):
    """How times are spread: milliseconds, percentiles right within 1 %."""

    count: Count
    p50: float
    p95: float
    p99: float
    max: float


class Spreads(Message, frozen=True, kw_only=True):
    """Times between this health message and the one before it; null: there were none."""

    frame: Annotated[
        Spread | None, Meta(description="From the agent's taking a frame until it was dealt with.")
    ] = None
    preprocess: Spread | None = None
    invoke: Annotated[Spread | None, Meta(description="Inference.")] = None
    puback: Annotated[
        Spread | None, Meta(description="From publishing a sighting or picture to its PUBACK.")
    ] = None


class ProgramHealth(Message, frozen=True, kw_only=True):
    """How the program lives; counted since the outbox was new, stalls since the program started."""

    starts: Count = 0
    unclean_ends: Annotated[int, Meta(ge=0, description="It was killed or failed.")] = 0
    power_losses: Annotated[
        int, Meta(ge=0, description="The computer went down while it ran, without telling it.")
    ] = 0
    stalls: Annotated[int, Meta(ge=0, description="Times without frames that were too long.")] = 0


class LinkHealth(Message, frozen=True, kw_only=True):
    """The network interface of the default route."""

    interface: Annotated[str, Meta(description="Such as `wlan0`.")]
    signal_dbm: Annotated[float | None, Meta(description="Of the radio; null on a cable.")] = None


class OutboxHealth(Message, frozen=True, kw_only=True):
    """The queue on disk."""

    waiting: Count = 0
    bytes: Count = 0
    sightings: Annotated[int, Meta(ge=0, description="Written to disk since the start.")] = 0
    dropped_images: Count = 0
    dropped_health: Count = 0
    dropped_sightings: Annotated[int, Meta(ge=0, description="Lost because the disk was full.")] = 0
    oldest_seconds: Annotated[
        float | None, Meta(description="Age of the oldest waiting message, by its time.")
    ] = None
    salvaged: Annotated[int, Meta(ge=0, description="Got out of a damaged file.")] = 0
    lost: Annotated[int, Meta(ge=0, description="Waited in a damaged file, unreadable.")] = 0
    dead_letters: Annotated[
        int, Meta(ge=0, description="Set aside on disk: the broker does not take them.")
    ] = 0
    dead_letter_bytes: Annotated[int, Meta(ge=0, description="Their payloads together.")] = 0
    dropped_dead_letters: Annotated[
        int, Meta(ge=0, description="Lost because there were too many of them.")
    ] = 0


class BrokerHealth(Message, frozen=True, kw_only=True):
    """The connection to the broker, counted since the program started."""

    connects: Count = 0
    failures: Annotated[int, Meta(ge=0, description="Refused, unreachable or broken off.")] = 0
    denied: Annotated[int, Meta(ge=0, description="Publishes the broker answered with no.")] = 0
    delivered: Annotated[int, Meta(ge=0, description="Messages acknowledged.")] = 0


class RequestHealth(Message, frozen=True, kw_only=True):
    """What was asked of the device since the program started."""

    received: Count = 0
    carried_out: Count = 0
    dropped: Annotated[int, Meta(ge=0, description="Too many at once; not carried out.")] = 0
    refused: Annotated[
        int, Meta(ge=0, description="Not allowed, malformed, replayed, or too many.")
    ] = 0


class InboxHealth(Message, frozen=True, kw_only=True):
    """Pictures to learn from, where any are kept."""

    held: Annotated[int, Meta(ge=0, description="On disk now.")] = 0
    bytes: Annotated[int, Meta(ge=0, description="Of what is on disk.")] = 0
    kept: Annotated[int, Meta(ge=0, description="Written since the start.")] = 0
    dropped: Annotated[
        int, Meta(ge=0, description="Given up for want of space since the start.")
    ] = 0
    missed: Annotated[int, Meta(ge=0, description="Not kept: the disk was too slow.")] = 0
    unsent: Annotated[int, Meta(ge=0, description="Waiting to be sent.")] = 0
    sent: Annotated[int, Meta(ge=0, description="Acknowledged since the start.")] = 0
    sent_bytes_today: Annotated[int, Meta(ge=0, description="Of the day's budget (UTC).")] = 0


class ClockHealth(Message, frozen=True, kw_only=True):
    """The clock; counts since the program started."""

    estimated_error_seconds: Annotated[
        float | None, Meta(description="By the NTP daemon, where it says.")
    ] = None
    max_error_seconds: Annotated[
        float | None, Meta(description="The kernel's bound; null while it is not synced.")
    ] = None
    steps: Annotated[int, Meta(ge=0, description="Jumps of the clock.")] = 0
    last_step_seconds: Annotated[
        float | None, Meta(description="By how much the last one put it forward.")
    ] = None
    retimed: Annotated[int, Meta(ge=0, description="Waiting messages given the right time.")] = 0


class Health(Message, frozen=True, kw_only=True):
    """How the device is."""

    schema: int = SCHEMA_VERSION
    device: str
    boot: str
    time: Annotated[datetime, Meta(tz=True, description="When it was measured.")]
    uptime_seconds: Annotated[float, Meta(ge=0, description="Since the program started.")]
    clock: Clock
    boot_seconds: Annotated[
        float | None, Meta(description="From the computer's start until it was measured.")
    ] = None
    clock_health: ClockHealth = ClockHealth()
    temperature_celsius: Annotated[float | None, Meta(description="Of the processor.")]
    throttled: Annotated[tuple[str, ...] | None, Meta(description="Raspberry Pi throttling flags.")]
    memory_available_bytes: int | None
    process_bytes: Annotated[int | None, Meta(description="Resident memory of this program.")]
    disk_free_bytes: Annotated[int | None, Meta(description="Where the outbox lies.")]
    frames: Frames
    milliseconds: Timings
    outbox: OutboxHealth
    broker: BrokerHealth
    errors: Annotated[dict[str, Count], Meta(description="Errors since the start, by class name.")]
    asleep: Asleep = None
    spreads: Spreads = Spreads()
    program: ProgramHealth = ProgramHealth()
    link: Annotated[LinkHealth | None, Meta(description="Null: no default route.")] = None
    inbox: Annotated[InboxHealth | None, Meta(description="Null: none are kept.")] = None
    drift: Annotated[
        Fraction | None,
        Meta(
            description="How unlike the model's validation photos frames are: 0 (no more than "
            "chance) to 1; null: too few frames yet, or the bundle says nothing of its photos."
        ),
    ] = None
    requests: Annotated[RequestHealth, Meta(description="What was asked of it.")] = RequestHealth()


class DriftPart(Message, frozen=True, kw_only=True):
    """One thing that is compared."""

    distance: Annotated[
        Fraction | None, Meta(description="Jensen-Shannon distance beyond chance; null: too early.")
    ]
    expected: Annotated[
        tuple[Fraction, ...], Meta(description="Shares of validation photos by bin.")
    ]
    seen: Annotated[tuple[Fraction, ...], Meta(description="Shares of frames by bin, fading.")]


class DriftReport(Message, frozen=True, kw_only=True):
    """The answer to the request `drift`."""

    value: Annotated[
        Fraction | None,
        Meta(description="Largest distance but that of `labels`; as in `health`."),
    ]
    frames: Annotated[int, Meta(ge=0, description="Counted since this model runs here.")]
    min_frames: Annotated[int, Meta(ge=0, description="Before, all distances are null.")]
    photos: Annotated[int, Meta(ge=1, description="Validation photos behind `expected`.")]
    parts: Annotated[
        dict[str, DriftPart],
        Meta(description="`confidence`, `brightness`, `sharpness`, `labels`."),
    ]


class InboxPicture(Message, frozen=True, kw_only=True):
    """The JPEG that this goes with."""

    width: Annotated[int, Meta(ge=1, description="Pixels.")]
    height: Annotated[int, Meta(ge=1, description="Pixels.")]
    bytes: Count
    sha256: Annotated[str, Meta(description="Of the JPEG, hexadecimal.")]


class InboxItem(Message, frozen=True, kw_only=True):
    """A picture to learn from: what the model made of it, and why it was kept.

    The JPEG follows on `inbox/<id>`. A label in here is the model's guess, never a truth.
    """

    schema: int = SCHEMA_VERSION
    device: Annotated[str, Meta(description="Device id, the second part of the topic.")]
    boot: Annotated[str, Meta(description="Changes with every start of the computer.")]
    id: Annotated[str, Meta(description="Unique; the same in every delivery of this picture.")]
    kept: Annotated[
        Kept,
        Meta(
            description="Why: one frame unlike its neighbours, low confidence, none of the "
            "classes, or drawn at random (whatever it shows)."
        ),
    ]
    time: Annotated[datetime, Meta(tz=True, description="When the frame was taken.")]
    clock: Annotated[Clock, Meta(description="How far `time` can be trusted.")]
    boot_seconds: Annotated[
        float | None, Meta(description="As in a sighting: with `booted` of `info` it is the time.")
    ] = None
    label: Annotated[str | None, Meta(description="Class id, or null: see `reason`.")]
    reason: Annotated[Reason | None, Meta(description="Why there is no label, or null.")] = None
    confidence: Annotated[Fraction, Meta(description="Calibrated probability of the top class.")]
    probabilities: Annotated[
        dict[str, Fraction],
        Meta(description="Of every class that has 0.0001 or more, best first."),
    ]
    model: ModelRef
    frame: FrameRef
    location: Location | None = None
    picture: InboxPicture


class ModelUpdate(Message, frozen=True, kw_only=True):
    """How far a new model is; retained. The fields that Home Assistant's `update` reads are among
    them.
    """

    schema: int = SCHEMA_VERSION
    device: str
    time: Annotated[datetime, Meta(tz=True, description="When this was so.")]
    phase: Annotated[
        UpdatePhase,
        Meta(
            description="`fetching`; `proving`: golden pictures in a process of their own; "
            "`switching`; `probation`; `idle`: nothing is under way."
        ),
    ]
    percent: Annotated[float | None, Meta(description="Of the phase; null: not known.")] = None
    update: Annotated[
        str | None, Meta(description="As `model/install` answered; null: not by request.")
    ] = None
    name: Annotated[
        str | None, Meta(description="Of the new model, once known; of the last one when idle.")
    ] = None
    version: Annotated[str | None, Meta(description="Of the same.")] = None
    result: Annotated[
        UpdateResult | None,
        Meta(
            description="How the last one ended: `confirmed`; `refused`: it never ran; "
            "`cancelled`: by request, before it ran; `expired`: it was not over in its time; "
            "`returned`: it ran, and the one before runs again."
        ),
    ] = None
    reason: Annotated[str, Meta(description="Why, in words.")] = ""
    title: Annotated[str, Meta(description="Name of the model that runs.")]
    installed_version: Annotated[str, Meta(description="Of the model that runs.")]
    latest_version: Annotated[
        str, Meta(description="Of the one on its way; else of the one that runs.")
    ]
    in_progress: Annotated[bool, Meta(description="One is on its way or on probation.")] = False
    update_percentage: Annotated[
        float | None, Meta(description="Of the phase; null: not known, or nothing is under way.")
    ] = None


class Problem(Message, frozen=True, kw_only=True):
    """Why a request was not carried out."""

    kind: Annotated[str, Meta(description="The error's name, such as `RequestDeniedError`.")]
    message: Annotated[str, Meta(description="What is wrong, the value, and the cure.")]
    after: Annotated[
        int | None, Meta(description="What `sent` has to exceed, where it was too small.")
    ] = None


class Response(Message, frozen=True, kw_only=True):
    """The answer to a request. What a verb gives stands in `data`, or `error` says why not."""

    schema: int = SCHEMA_VERSION
    device: str
    verb: Annotated[str, Meta(description="What was asked for.")]
    transaction: Annotated[
        str | None, Meta(description="As in the request; null: the request had none.")
    ]
    time: Annotated[datetime, Meta(tz=True, description="When it was answered.")]
    status: Literal["ok", "error"]
    data: Annotated[Any, Meta(description="What the verb gives; null after an error.")] = None
    error: Annotated[Problem | None, Meta(description="Null: it went well.")] = None


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The picture behind a sighting: JPEG bytes for the topic ``sighting/<id>/image``."""

    id: str
    time: datetime
    jpeg: bytes


OfEvent = Sighting | Evidence
"""What is sent of an event."""

PAYLOADS: tuple[type[Message], ...] = (
    Info,
    State,
    Sighting,
    Health,
    InboxItem,
    ModelUpdate,
    Response,
)
"""The structs that are whole payloads."""

_NOT_LATE, _LATE = b'"historical":false}', b'"historical":true}'


def new_id() -> str:
    """Give an id that no other event has: 16 hexadecimal digits from 64 random bits."""
    return secrets.token_hex(8)


def encode(message: Message) -> bytes:
    """Give the UTF-8 JSON of `message`; text in it that has none is told in printable form."""
    return encoded(message)


def mark_historical(payload: bytes) -> bytes:
    """Say in an encoded sighting that it is sent late.

    ``historical`` is the last field of :class:`Sighting`, so its bytes are replaced without
    decoding the rest: this runs for each of perhaps a million messages after a long outage.
    """
    return payload[: -len(_NOT_LATE)] + _LATE if payload.endswith(_NOT_LATE) else payload


def schemas() -> dict[str, Any]:
    """Give the JSON Schema of every payload, by its struct's name in lower case."""
    return {payload.__name__.lower(): msgspec.json.schema(payload) for payload in PAYLOADS}
