"""How far a new model is, on its way to run."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from edge.messages.base import SCHEMA_VERSION, Message

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
