"""``[report]`` and ``[homeassistant]``: what the device tells of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from edge.config.section import Section, TopicStart


class Report(Section, frozen=True, kw_only=True):
    """``[report]``: how often the device reports on itself."""

    health_seconds: Annotated[float, Meta(ge=1, le=86400)] = 300.0
    """Seconds from one health message to the next."""
    state_seconds: Annotated[float, Meta(ge=0.1, le=3600)] = 5.0
    """Seconds between two state messages at least."""
    prometheus_file: Path | None = None
    """File, ending in ``.prom``, to write health to, for the textfile collector of Prometheus'
    node_exporter. Unset: none."""
    prometheus_seconds: Annotated[float, Meta(ge=1, le=3600)] = 15.0
    """Seconds from one writing of that file to the next."""
    stall_seconds: Annotated[float, Meta(ge=1, le=86400)] = 120.0
    """Seconds beyond the camera's interval without a frame, after which something is stuck:
    ``state`` says so, and systemd's watchdog gets no more signs of life, so that systemd
    restarts the program."""


class HomeAssistant(Section, frozen=True, kw_only=True):
    """``[homeassistant]``: show up in Home Assistant by itself (MQTT device discovery)."""

    enabled: bool = False
    """Announce this device. Switching it off again takes the device out of Home Assistant."""
    discovery_prefix: TopicStart = "homeassistant"
    """First part of the topic that Home Assistant listens to, as set there; no ``+``, ``#`` or
    space, and not ``$`` or ``/`` first."""
