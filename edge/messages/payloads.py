"""The structs that are whole payloads, and the JSON Schema of each.

``docs/topics.md`` and ``docs/asyncapi.json`` come out of the same tuple.
"""

from __future__ import annotations

from typing import Any

import msgspec

from edge.messages.base import Message
from edge.messages.device import Info, State
from edge.messages.feedback import InboxItem
from edge.messages.health import Health
from edge.messages.requests import Response
from edge.messages.sighting import Sighting
from edge.messages.updates import ModelUpdate

PAYLOADS: tuple[type[Message], ...] = (
    Info,
    State,
    Sighting,
    Health,
    InboxItem,
    ModelUpdate,
    Response,
)
"""The structs that are whole payloads."""


def schemas() -> dict[str, Any]:
    """The JSON Schema of every payload, by its struct's name in lower case."""
    return {payload.__name__.lower(): msgspec.json.schema(payload) for payload in PAYLOADS}
