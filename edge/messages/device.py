"""What the device is, and its latest picture: the retained ``info`` and ``state``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from edge.messages.base import SCHEMA_VERSION, Asleep, Clock, Count, Message, Time
from edge.messages.sighting import Location, Sighting


class HourCount(Message, frozen=True, kw_only=True):
    """Sightings within one hour."""

    hour: Annotated[datetime, Meta(tz=True, description="Start of the hour.")]
    labels: Annotated[
        dict[str, Count], Meta(description="Sightings per class id; `` (empty): no label.")
    ]


class Present(Message, frozen=True, kw_only=True):
    """A visit that goes on: what is there now."""

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
        tuple[Present, ...], Meta(description="What is there now: visits that go on, oldest first.")
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
            description="When the computer started, by its clock now; sent again when the clock "
            "was set. A sighting of this `boot` was taken `boot_seconds` later."
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
    config: Annotated[ConfigState | None, Meta(description="Null: not reported.")] = None
    requests: Annotated[tuple[str, ...], Meta(description="What it can be asked for.")] = ()
