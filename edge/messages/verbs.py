"""What verbs of the device as a whole take and give; those of models are in
:mod:`edge.messages.updates`, those of kept pictures in :mod:`edge.messages.feedback`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Raw

from edge.messages.base import Clock, Message, Params, Time
from edge.messages.device import ConfigState
from edge.messages.health import Health
from edge.messages.sighting import Finding, FrameRef, Location, ModelRef

MOST_LINES = 500
MOST_LETTERS = 100


class Status(Message, frozen=True, kw_only=True):
    """What `status` gives: the three messages in which the device speaks of itself."""

    info: Annotated[Raw, Meta(description="As on `info`.")]
    state: Annotated[Raw, Meta(description="As on `state`.")]
    health: Health


class CaptureParams(Params, frozen=True, kw_only=True):
    """What `capture` takes."""

    image: Annotated[
        bool,
        Meta(
            description="Answer with the picture too, within the bounds of `[images]`; refused "
            "where `requests.pictures` is not set."
        ),
    ] = False


class Captured(Message, frozen=True, kw_only=True):
    """What `capture` gives."""

    time: Annotated[Time, Meta(description="When the frame was taken.")]
    clock: Annotated[Clock, Meta(description="How far `time` can be trusted.")]
    findings: Annotated[
        tuple[Finding, ...],
        Meta(description="What the frame says by the rules of `[decision]`, surest first."),
    ]
    sighting: Annotated[bool, Meta(description="A sighting came of it, too.")]
    model: ModelRef
    frame: FrameRef
    location: Annotated[
        Location | None, Meta(description="Null also where `requests.details` is not set.")
    ]
    image: Annotated[
        bytes | None,
        Meta(
            description="JPEG in base64; null also where no picture that is recognisable fits "
            "`images.max_bytes`."
        ),
    ] = None


class ConfigNow(Message, frozen=True, kw_only=True):
    """What `config/get` gives."""

    revision: Annotated[str, Meta(description="Tells configurations apart.")]
    state: ConfigState
    config: Annotated[dict[str, Any], Meta(description="What is in force, without secrets.")]


class ConfigSetParams(Params, frozen=True, kw_only=True):
    """What `config/set` takes: `changes` or `toml`."""

    revision: Annotated[
        str, Meta(description="As `config/get` gave it: what the change was decided on.")
    ]
    changes: Annotated[
        dict[Annotated[str, Meta(min_length=1, max_length=200)], Any] | None,
        Meta(description="Settings by path; null as a value takes an earlier change back."),
    ] = None
    toml: Annotated[
        str | None,
        Meta(
            description="A whole configuration in place of the file's; the empty text goes back to "
            "the file."
        ),
    ] = None


class ConfigTaken(Message, frozen=True, kw_only=True):
    """What `config/set` gives when the change is written down."""

    state: Annotated[
        Literal["unchanged", "trying"],
        Meta(description="`unchanged`: it is in force already; `trying`: it is on trial now."),
    ]
    confirm_seconds: Annotated[float, Meta(description="Within which it has to prove itself.")]


class LogParams(Params, frozen=True, kw_only=True):
    """What `log` takes."""

    lines: Annotated[
        int, Meta(ge=1, le=MOST_LINES, description="How many of the newest lines.")
    ] = 100
    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="Leave out lines below this level."),
    ] = "info"


class LogLine(Message, frozen=True, kw_only=True):
    """One line of the log."""

    time: Annotated[Time, Meta(description="When it was written, by the clock of the device.")]
    level: Annotated[str, Meta(description="Its level.")]
    logger: Annotated[str, Meta(description="The part of the program that wrote it.")]
    text: Annotated[str, Meta(description="Cut at 1000 characters.")]


class LogLines(Message, frozen=True, kw_only=True):
    """What `log` gives."""

    lines: Annotated[list[LogLine], Meta(description="Oldest first.")]


class DeadLetter(Message, frozen=True, kw_only=True):
    """What is known of a message that was set aside."""

    id: Annotated[str, Meta(description="By which it is released or discarded.")] = ""
    topic: Annotated[str, Meta(description="Below `wheatear/<device>/`.")]
    kind: Annotated[str, Meta(description="`sighting`, `image` or `health`.")]
    seq: Annotated[int | None, Meta(description="Of a sighting.")] = None
    bytes: Annotated[int, Meta(description="Size of the message.")]
    time: Annotated[datetime, Meta(description="Of the message.")]
    set_aside: Annotated[
        datetime, Meta(description="When it became a dead letter, by the clock of the device.")
    ]
    why: Annotated[str, Meta(description="What the broker, or the disk, said of it.")]
    sendable: Annotated[
        bool, Meta(description="False: it never became a message, and is only to be looked at.")
    ] = True

    def __str__(self) -> str:
        number = "" if self.seq is None else f" seq {self.seq}"
        return f"{self.topic}{number} ({self.bytes} bytes): {self.why}"


class LetterList(Message, frozen=True, kw_only=True):
    """What `outbox/letters` gives."""

    count: Annotated[int, Meta(description="How many there are.")]
    letters: Annotated[
        tuple[DeadLetter, ...], Meta(description=f"The oldest {MOST_LETTERS} of them.")
    ]


class WhichLetters(Params, frozen=True, kw_only=True):
    """Which letters are meant: their ids, or all."""

    ids: Annotated[
        tuple[str, ...],
        Meta(max_length=MOST_LETTERS, description="As `outbox/letters` gives them."),
    ] = ()
    all: Annotated[bool, Meta(description="Every one of them.")] = False


class LettersDone(Message, frozen=True, kw_only=True):
    """How many letters were released or discarded."""

    count: Annotated[int, Meta(description="How many letters that were.")]
