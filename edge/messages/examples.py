"""One example of each payload and request, for the documents made from them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from edge.messages.base import Message
from edge.messages.device import (
    ConfigState,
    HealthSummary,
    HourCount,
    Info,
    Present,
    RunningModel,
    Software,
    State,
)
from edge.messages.feedback import InboxItem, InboxPicture
from edge.messages.health import (
    BrokerHealth,
    ClockHealth,
    Frames,
    Health,
    InboxHealth,
    LinkHealth,
    OutboxHealth,
    ProgramHealth,
    Spread,
    Spreads,
    Timings,
)
from edge.messages.requests import Response
from edge.messages.sighting import FrameRef, Location, ModelRef, Region, Score, Sighting, Votes
from edge.messages.updates import ModelUpdate

_TIME = datetime(2026, 6, 21, 9, 30, 12, 345000, UTC)
_SIGHTING = Sighting(
    device="cam-07",
    installation="7d1f0a3c52e84b96",
    boot="5f0c1f2a9b3e",
    seq=1042,
    id="c0ffee5eed12ab34",
    time=_TIME,
    clock="synced",
    label="jute_aphid",
    confidence=0.93,
    alternatives=(
        Score(label="jute_aphid", confidence=0.93),
        Score(label="mealybug", confidence=0.04),
    ),
    votes=Votes(agree=2, of=3),
    model=ModelRef(name="jute", version="3", sha256="8c" * 32),
    frame=FrameRef(
        width=1920,
        height=1080,
        region=(640, 0, 1280, 540),
        source="picamera2",
        regions=(Region(box=(640, 0, 1280, 540), confidence=0.93, tiles=2),),
    ),
    location=Location(lat=23.81, lon=90.41, alt=8.0),
    phase="begin",
    event="c0ffee5eed12ab34",
    since=_TIME.replace(second=11),
    duration_seconds=1.0,
    best_time=_TIME,
)

EXAMPLES: dict[str, Message] = {
    "Sighting": _SIGHTING,
    "Info": Info(
        device="cam-07",
        name="North field",
        installation="7d1f0a3c52e84b96",
        boot="5f0c1f2a9b3e",
        started=_TIME,
        software=Software(name="wheatear", version="0.1.0", python="3.11.2"),
        model=RunningModel(
            name="jute",
            version="3",
            sha256="8c" * 32,
            labels=("jute_aphid", "mealybug"),
            runtime="litert",
            runtime_version="2.1.0",
        ),
        camera="picamera2",
        protocol="5",
        config=ConfigState(revision="9f2c4e1a77b0d3c5", changed=("decision.agreeing_frames",)),
        requests=("status", "capture", "config/get", "config/set"),
        capabilities=("image",),
        schemas={"info": 1, "state": 1, "sighting": 1, "health": 1},
    ),
    "State": State(
        device="cam-07",
        time=_TIME,
        latest=_SIGHTING,
        hours=(
            HourCount(
                hour=_TIME.replace(minute=0, second=0, microsecond=0), labels={"jute_aphid": 3}
            ),
        ),
        present=(Present(label="jute_aphid", event=_SIGHTING.event, since=_SIGHTING.since),),
        health=HealthSummary(ok=True, waiting=0),
    ),
    "Health": Health(
        device="cam-07",
        boot="5f0c1f2a9b3e",
        time=_TIME,
        uptime_seconds=86400.5,
        clock="synced",
        temperature_celsius=51.3,
        throttled=(),
        memory_available_bytes=612_000_000,
        process_bytes=88_000_000,
        disk_free_bytes=21_000_000_000,
        frames=Frames(captured=86400, classified=86390, skipped=10),
        milliseconds=Timings(capture=12.1, preprocess=1.2, invoke=21.4, loop=1000.0),
        outbox=OutboxHealth(sightings=1042),
        broker=BrokerHealth(connects=2, failures=1, delivered=1330),
        errors={"PublishError": 1},
        boot_seconds=90_012.25,
        clock_health=ClockHealth(estimated_error_seconds=0.0004, max_error_seconds=0.025, steps=1),
        spreads=Spreads(
            frame=Spread(count=300, p50=24.1, p95=27.0, p99=31.4, max=58.2),
            invoke=Spread(count=300, p50=21.2, p95=23.9, p99=27.6, max=51.0),
            puback=Spread(count=4, p50=38.4, p95=96.1, p99=96.1, max=96.1),
        ),
        program=ProgramHealth(starts=7, unclean_ends=1, power_losses=2),
        link=LinkHealth(interface="wlan0", signal_dbm=-56),
        inbox=InboxHealth(held=210, bytes=31_500_000, kept=12, sent=9, sent_bytes_today=104_400),
    ),
    "InboxItem": InboxItem(
        device="cam-07",
        boot="5f0c1f2a9b3e",
        id="0badcafe00c0ffee",
        kept="low-confidence",
        time=_TIME,
        clock="synced",
        label=None,
        reason="below-threshold",
        confidence=0.48,
        probabilities={"jute_aphid": 0.48, "mealybug": 0.41, "yellow_mite": 0.11},
        model=_SIGHTING.model,
        frame=_SIGHTING.frame,
        location=_SIGHTING.location,
        picture=InboxPicture(width=320, height=180, bytes=11_200, sha256="3e" * 32),
    ),
    "ModelUpdate": ModelUpdate(
        device="cam-07",
        time=_TIME,
        phase="fetching",
        percent=35.0,
        update="0ddba11c0ffee123",
        title="jute",
        installed_version="3",
        latest_version="3",
        in_progress=True,
        update_percentage=35.0,
    ),
    "Response": Response(
        device="cam-07",
        verb="restart",
        transaction="42",
        time=_TIME,
        status="ok",
        data={},
    ),
}

REQUESTS: dict[str, dict[str, Any]] = {
    "config/set": {"revision": "9f2c4e1a77b0d3c5", "changes": {"decision.agreeing_frames": 3}},
    "inbox/get": {"id": "0badcafe00c0ffee", "offset": 48_000},
    "log": {"lines": 20, "level": "warning"},
    "model/chunk": {"sha256": "8c" * 32, "size": 1_310_720, "offset": 0, "data": "UEsDBBQAAAAI"},
    "model/install": {"url": "https://models.example/jute-4.wtr"},
    "outbox/discard": {"ids": ["000000001041-5e2a90c7"]},
    "outbox/release": {"all": True},
}
"""What a request of a verb may carry; a verb that takes nothing is left out."""
