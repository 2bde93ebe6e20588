"""What models learn from: pictures kept for it, and how unlike their photos frames are."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from edge.messages.base import SCHEMA_VERSION, Clock, Count, Fraction, Message, Params, Reason
from edge.messages.sighting import FrameRef, Location, ModelRef

Kept = Literal["disagreement", "low-confidence", "unknown", "random"]


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
    min_frames: Annotated[int, Meta(ge=0, description="Until then, all distances are null.")]
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


class PictureParams(Params, frozen=True, kw_only=True):
    """What `inbox/get` takes: a part of a kept picture at full size."""

    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}$(?!\n)", description="As on `inbox/<id>`.")]
    offset: Annotated[int, Meta(ge=0, description="Bytes to leave out.")] = 0


class PicturePart(Message, frozen=True, kw_only=True):
    """What `inbox/get` gives."""

    item: InboxItem
    offset: Annotated[int, Meta(description="As in the request.")]
    jpeg: Annotated[bytes, Meta(description="In base64; empty beyond the end.")]
