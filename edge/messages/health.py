"""How the device is: ``health``, part by part."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from edge.messages.base import SCHEMA_VERSION, Asleep, Clock, Count, Fraction, Message


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
    salvaged: Annotated[int, Meta(ge=0, description="Saved from a damaged file.")] = 0
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
    denied: Annotated[int, Meta(ge=0, description="Publishes that the broker denied.")] = 0
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
        int, Meta(ge=0, description="Dropped for lack of space since the start.")
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
            description="How much frames differ from the model's validation photos: 0 (no more "
            "than chance) to 1; null: too few frames yet, or the bundle has no figures on its "
            "photos."
        ),
    ] = None
    requests: Annotated[RequestHealth, Meta(description="What was asked of it.")] = RequestHealth()
