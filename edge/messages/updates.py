"""Models that come over the air: how far a new one is, what is in the store, their verbs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from edge.messages.base import MAX_BUNDLE_BYTES, SCHEMA_VERSION, Message, Params, Sha256

UpdatePhase = Literal["idle", "fetching", "proving", "switching", "probation"]
UpdateResult = Literal["confirmed", "refused", "cancelled", "expired", "returned"]


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


class ModelEntry(Message, frozen=True, kw_only=True):
    """A bundle in the store."""

    name: Annotated[str, Meta(description="Of the model.")]
    version: Annotated[str, Meta(description="Of the model.")]
    sha256: Annotated[str, Meta(description="Of the bundle file, hexadecimal.")]
    bytes: Annotated[int, Meta(description="Size of the bundle file.")]
    labels: Annotated[tuple[str, ...], Meta(description="Ids of its classes.")]


class Probation(Message, frozen=True, kw_only=True):
    """How far the trial of the current model is."""

    starts: Annotated[
        int,
        Meta(
            description="Since the last one that ended in good order, counted before the model is "
            "loaded."
        ),
    ] = 0
    frames: Annotated[int, Meta(description="Classified in runs that ended in good order.")] = 0
    seconds: Annotated[float, Meta(description="Of those runs.")] = 0.0
    interval_seconds: Annotated[
        float | None,
        Meta(
            description="Median from one frame to the next with the previous model; null: "
            "not known."
        ),
    ] = None


class Outcome(Message, frozen=True, kw_only=True):
    """What became of the last update."""

    name: Annotated[str, Meta(description="Of the model that it brought; empty: not known.")]
    version: Annotated[str, Meta(description="Of the same.")]
    result: Annotated[UpdateResult, Meta(description="As on `update`.")]
    reason: Annotated[str, Meta(description="Why, in words; empty where it was confirmed.")]
    time: Annotated[datetime, Meta(description="When it ended.")]
    update: Annotated[
        str | None, Meta(description="As `model/install` answered; null: not by request.")
    ] = None


class InstallParams(Params, frozen=True, kw_only=True):
    """What `model/install` takes: a URL, or the hash of a complete upload."""

    url: Annotated[
        Annotated[str, Meta(max_length=2000)] | None,
        Meta(description="Where to fetch it, http or https; null: what came by `model/chunk`."),
    ] = None
    sha256: Annotated[Sha256 | None, Meta(description="Of the bundle file.")] = None
    size: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="Bytes of the bundle file.")
    ] = None
    allow_downgrade: Annotated[bool, Meta(description="Take an older or equal version, too.")] = (
        False
    )


class Accepted(Message, frozen=True, kw_only=True):
    """What `model/install` gives at once; the rest is told on `update`."""

    accepted: Annotated[bool, Meta(description="Always true; what is refused is an error.")]
    update: Annotated[str, Meta(description="The id that the messages on `update` carry.")]


class Chunk(Params, frozen=True, kw_only=True):
    """What `model/chunk` takes."""

    sha256: Annotated[Sha256, Meta(description="Of the whole bundle file: the name of the upload.")]
    size: Annotated[
        int, Meta(ge=1, le=MAX_BUNDLE_BYTES, description="Bytes of the whole bundle file.")
    ]
    offset: Annotated[int, Meta(ge=0, description="Bytes before this chunk.")] = 0
    data: Annotated[bytes, Meta(description="In base64; empty: only ask for the next offset.")] = (
        b""
    )


class UploadProgress(Message, frozen=True, kw_only=True):
    """What `model/chunk` gives."""

    sha256: Annotated[str, Meta(description="As in the request.")]
    next: Annotated[
        int, Meta(description="Offset that is wanted next; what is on disk until there stays.")
    ]
    complete: Annotated[
        bool,
        Meta(description="All is here and hashes as it should: `model/install` can take it."),
    ]


class Listed(Message, frozen=True, kw_only=True):
    """What `models` gives."""

    current: Annotated[str | None, Meta(description="Id of what runs; null: the factory model.")]
    previous: Annotated[
        str | None,
        Meta(description="Id of what `model/rollback` goes back to; null: the factory model."),
    ]
    probation: Annotated[
        Probation | None, Meta(description="Null: the current model is confirmed.")
    ]
    factory: Annotated[
        ModelEntry | None, Meta(description="The configured bundle; null: it cannot be read.")
    ]
    models: Annotated[dict[str, ModelEntry], Meta(description="What is in the store, by id.")]
    last: Annotated[Outcome | None, Meta(description="Null: there was no update yet.")]


class Cancelled(Message, frozen=True, kw_only=True):
    """What `model/cancel` gives."""

    update: Annotated[
        str | None, Meta(description="Id of the update that was under way; null: none was.")
    ]
    upload: Annotated[
        str | None, Meta(description="SHA-256 of the upload that was dropped; null: none was here.")
    ]
    ended: Annotated[
        bool, Meta(description="False: it is on its way to its end, which `update` tells.")
    ]


class RolledBack(Message, frozen=True, kw_only=True):
    """What `model/rollback` gives."""

    current: Annotated[
        str | None,
        Meta(description="Id of what runs with the next frame; null: the factory model."),
    ]
