"""The answer to a request."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta

from edge.messages.base import SCHEMA_VERSION, Message


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
