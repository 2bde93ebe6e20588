"""``wheatear schema``: the messages' JSON Schema, and the topics reference made from it."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from edge.commands.console import Console
from edge.messages.base import (
    PAYLOADS,
    SCHEMA_VERSION,
    BrokerHealth,
    ClockHealth,
    ConfigState,
    FrameRef,
    Frames,
    Health,
    HealthSummary,
    HourCount,
    InboxHealth,
    InboxItem,
    InboxPicture,
    Info,
    LinkHealth,
    Location,
    Message,
    ModelRef,
    ModelUpdate,
    OutboxHealth,
    Present,
    ProgramHealth,
    Region,
    Response,
    RunningModel,
    Score,
    Sighting,
    Software,
    Spread,
    Spreads,
    State,
    Timings,
    Votes,
    encode,
    schemas,
)


class Topic(NamedTuple):
    """One line of the table of topics."""

    suffix: str
    retained: bool
    qos: int
    payload: str
    what: str
    root: str = "<base>/<device>/"
    """What stands before the suffix."""

    @property
    def address(self) -> str:
        """The whole topic."""
        return self.root + self.suffix

    @property
    def described(self) -> bool:
        """The payload is one of the structs."""
        return self.payload in {struct.__name__ for struct in PAYLOADS}

    @property
    def by_verb(self) -> bool:
        """Its payload is another for each verb."""
        return self.asks or self.answers

    @property
    def asks(self) -> bool:
        """It is sent to the device, not by it."""
        return self.suffix.startswith("request/")

    @property
    def answers(self) -> bool:
        """It is the answer to a request."""
        return self.suffix.startswith("response/")


TOPICS = (
    Topic("availability", True, 1, "text", "`online`, or `offline` (also said by the last will)"),
    Topic("info", True, 1, "Info", "what the device is; on every connection"),
    Topic("state", True, 1, "State", "the newest sighting, what is there now, counts per hour"),
    Topic("sighting", False, 1, "Sighting", "what was decided: a life's begin, update or end"),
    Topic(
        "sighting/<id>/image", False, 1, "JPEG", "the picture behind it, where `[images]` says so"
    ),
    Topic("health", False, 0, "Health", "temperature, memory, disk, counters"),
    Topic(
        "inbox/<id>/meta", False, 1, "InboxItem", "a picture to learn from, where `[inbox]` says so"
    ),
    Topic("inbox/<id>", False, 1, "JPEG", "its thumbnail"),
    Topic("update", True, 1, "ModelUpdate", "how far a new model is, where `model.store` is set"),
    Topic("request/<verb>", False, 1, "JSON", "to the device: what it is asked for, see device.md"),
    Topic("response/<verb>", False, 1, "Response", "its answer"),
    Topic(
        "<prefix>/device/<name>/config",
        True,
        1,
        "JSON",
        "what [Home Assistant](home-assistant.md) shows, where `[homeassistant]` says so",
        root="",
    ),
    Topic("check", False, 1, "text", "sent by `wheatear check`, to see that the broker takes it"),
)


def main(arguments: argparse.Namespace, console: Console) -> int:
    """Print the schemas, the AsyncAPI document, or the topics reference as Markdown."""
    if arguments.asyncapi:
        from edge.messages.asyncapi import document

        text = json.dumps(document(), indent=2)
    else:
        text = markdown() if arguments.markdown else json.dumps(schemas(), indent=2)
    console.out(text.rstrip("\n"))
    return 0


def markdown() -> str:
    """Give the whole of ``docs/topics.md``."""
    lines = [
        _HEAD.strip(),
        "",
        "| topic | retained | QoS | payload | what |",
        "|---|---|---|---|---|",
    ]
    for topic in TOPICS:
        payload = (
            f"[{topic.payload}](#{topic.payload.lower()})" if topic.described else topic.payload
        )
        retained = "yes" if topic.retained else "no"
        lines.append(f"| `{topic.suffix}` | {retained} | {topic.qos} | {payload} | {topic.what} |")
    lines += ["", _RULES.strip()]
    for struct in PAYLOADS:
        lines += ["", f"## {struct.__name__}", "", *_describe(struct)]
    return "\n".join(lines) + "\n"


def _describe(struct: type[msgspec.Struct]) -> list[str]:
    """Describe a payload: text, fields with those of the structs in it, an example."""
    schema = msgspec.json.schema(struct)
    definitions: dict[str, Any] = schema["$defs"]
    lines = [
        definitions[struct.__name__]["description"],
        "",
        "| field | type | what |",
        "|---|---|---|",
    ]
    lines += _fields(definitions, struct.__name__, "")
    example = msgspec.json.format(encode(EXAMPLES[struct.__name__]), indent=2).decode()
    return [*lines, "", "```json", example, "```"]


def _fields(definitions: dict[str, Any], name: str, prefix: str) -> list[str]:
    lines = []
    for field, about in definitions[name]["properties"].items():
        inner = _reference(about)
        text = about.get("description") or (definitions[inner]["description"] if inner else "")
        lines.append(f"| `{prefix}{field}` | {_type(about)} | {text} |")
        if inner and inner != "Sighting":
            many = "[]" if about.get("type") == "array" else ""
            lines += _fields(definitions, inner, f"{prefix}{field}{many}.")
    return lines


def _reference(about: dict[str, Any]) -> str | None:
    """Give the name of the struct that a field holds, alone, in a list or beside null."""
    for one in [about, about.get("items") or {}, *about.get("anyOf", [])]:
        if isinstance(one, dict) and "$ref" in one:
            return str(one["$ref"]).rsplit("/", 1)[-1]
    return None


def _type(about: dict[str, Any]) -> str:
    if "anyOf" in about:
        return " or ".join(_type(one) for one in about["anyOf"])
    if "enum" in about:
        return ", ".join("null" if one is None else f"`{one}`" for one in about["enum"])
    if "$ref" in about:
        name = str(about["$ref"]).rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})" if name == "Sighting" else "object"
    kind = about.get("format") or about.get("type", "any")
    if kind == "array":
        items = about.get("items")
        inner = about["prefixItems"][0] if "prefixItems" in about else items
        return f"list of {_type(inner)}" if isinstance(inner, dict) else "list"
    return "time" if kind == "date-time" else str(kind)


_HEAD = """
# Topics

<!-- Written by `wheatear schema --markdown`; a test holds it to edge/messages/base.py. -->

Everything is below `wheatear/<device>/` (`broker.base_topic` and `device.id` in the configuration),
but for what Home Assistant wants below its own prefix. Payloads are UTF-8 JSON except where the
table says otherwise. `wheatear schema` prints the JSON Schema of every message, and
[asyncapi.json](asyncapi.json), by `wheatear schema --asyncapi`, holds it all for programs (AsyncAPI
3). MQTT 5 is spoken where the broker speaks it, else 3.1.1; which one was agreed stands in `info`.
"""

_RULES = f"""
## Rules

- **Times** are UTC, ISO 8601 with `Z`. `time` of a sighting is when the frame was taken. A
  sighting that was sent late (`broker.historical_after_seconds`, 60 s by default) has
  `historical: true`.
- **What to key on.** An event by its `id`, which no other device ever draws. A device by `device`
  and `installation`: of a card that was copied, each board and card draws an `installation` of its
  own, so that the same `device` and `seq` of the two are not taken for one. What was waiting when
  the card was copied comes from both, with the same `id`.
- **Order and loss.** Sightings arrive in the order of `seq`, which rises by one per `installation`
  (a new one goes on counting where the copied one stood) and is never reused, not even after the
  queue on the device was emptied, damaged or replaced: a gap means that something was lost, and
  `health` says how much was dropped for want of space.
  After a power cut or a kill the first sighting may leave numbers out, and says how many in
  `skipped`: with the number `seq` − `skipped` − 1 in your books nothing is missing. (A card that
  acknowledges what it then loses may have had some of them given out; the device leaves them out
  so that none is given twice, and holds no message with them.)
  A gap may also be a message that the broker does not take, and that is set aside on the device: a
  dead letter, counted in `health`, named with its `seq` in `state.health.problems`. Released, it
  comes late, out of order. So does a sighting that was left out while the broker refused all.
- **Delivery** is at least once: after a broken connection, what the broker had taken but not yet
  acknowledged comes again, and after a kill or a power cut what the device had not yet deleted (of
  20 s at most), each with the same `id`. De-duplicate by `id`.
- **Lives.** By default a sighting has a life: a message with `phase: "begin"`, an `update` at most
  every `decision.update_seconds`, and an `end` with `duration_seconds`, the reason (`ended`) and
  the best frame; `event` is the same in all. Count `begin` and `single` (all there is where
  `decision.mode` is not `life`), as `state` does: an update or end is nothing new. For one row a
  visit, keep the newest message of each `event`. `state.present` lists the lives that go on.
  A program that stops ends them before it says `offline`; one that was killed ends them at its next
  start, with `ended: "cut"` and what was known. A picture follows the begin, and the end where a
  later frame was surer.
- **No label.** `label: null` has a `reason`: `unknown` (none of the classes the model was taught),
  `below-threshold` or `background` (the last two only when every frame is reported).
- **Access lists.** Under MQTT 5 a publish that the broker denies (0x87, 0x90; 0x97, a quota) stays
  on the device and is tried again; everything behind it waits. A picture or health message that an
  access list denies is given up and counted. Under 3.1.1 no device can notice a denial.
- **Versions.** `schema` is {SCHEMA_VERSION}. New fields may appear at any time; a change of meaning
  raises the number.
"""

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
        config=ConfigState(revision="9f2c4e1a77b0d3c5", changed=("decision.agree",)),
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
