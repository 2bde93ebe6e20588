"""What is told of every frame: the inbox, the drift, a model on probation."""

from __future__ import annotations

from collections.abc import Callable

from edge.cameras import Frame
from edge.model.classifier import Classification
from edge.sightings.visits import Event

Watcher = Callable[[Frame, Classification, Event | None], None]
"""Called after every classified frame with what became of it (the surest of several events); must
be quick and never raise."""
