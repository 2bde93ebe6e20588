"""What was seen: a sighting, what it says of the frame and the model, and its picture."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge.messages.base import SCHEMA_VERSION, Clock, Fraction, Message, Reason, Time

Phase = Literal["single", "begin", "update", "end"]
Ended = Literal["gone", "blind", "stop", "cut", "model"]


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
    """How many frames said the same; in an update or end, of the visit until it was last seen."""

    agree: Annotated[int, Meta(ge=1, description="Frames that gave this verdict.")]
    of: Annotated[int, Meta(ge=1, description="Frames that were looked at.")]


class ModelRef(Message, frozen=True, kw_only=True):
    """The model that said so."""

    name: Annotated[str, Meta(description="As in its bundle.")]
    version: Annotated[str, Meta(description="As in its bundle.")]
    sha256: Annotated[str, Meta(description="SHA-256 of the bundle or model file, hexadecimal.")]


class Region(Message, frozen=True, kw_only=True):
    """A part of a picture: tiles that touch and say the same."""

    box: Annotated[
        tuple[int, int, int, int], Meta(description="Left, top, right, bottom in pixels.")
    ]
    confidence: Annotated[Fraction, Meta(description="Of its surest tile.")]
    tiles: Annotated[int, Meta(ge=1, description="How many tiles say so.")] = 1


class Finding(Message, frozen=True, kw_only=True):
    """What a frame says once, however many of its tiles say so."""

    label: Annotated[str | None, Meta(description="Class id, or null: see `reason`.")]
    reason: Annotated[Reason | None, Meta(description="Why there is no label, or null.")]
    confidence: Annotated[float, Meta(description="Of the surest tile, as are the alternatives.")]
    alternatives: Annotated[tuple[Score, ...], Meta(description="Best classes, best first.")]
    regions: Annotated[
        tuple[Region, ...],
        Meta(description="Tiles that touch, surest first; empty: the picture was not cut."),
    ] = ()


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
            description="Of a visit: `begin`, `update` or `end`; `single`: all there is to say. "
            "Count `single` and `begin`."
        ),
    ] = "single"
    event: Annotated[
        str, Meta(description="The same in all messages of one visit: the `id` of its first.")
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
            description="How many numbers directly before this one were skipped at a start "
            "after a power cut or a kill: they may have been used for messages that the card then "
            "lost; the device holds no message with them.",
        ),
    ] = 0
    historical: Annotated[bool, Meta(description="Sent late: `time` is long before arrival.")] = (
        False
    )


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The picture behind a sighting: JPEG bytes for the topic ``sighting/<id>/image``."""

    id: str
    time: datetime
    jpeg: bytes


OfEvent = Sighting | Evidence
"""What is sent of an event."""

_NOT_LATE, _LATE = b'"historical":false}', b'"historical":true}'


def mark_historical(payload: bytes) -> bytes:
    """Mark an encoded sighting as sent late.

    ``historical`` is the last field of :class:`Sighting`, so its bytes are replaced without
    decoding the rest: this runs for each of perhaps a million messages after a long outage.
    """
    return payload[: -len(_NOT_LATE)] + _LATE if payload.endswith(_NOT_LATE) else payload
