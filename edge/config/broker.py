"""``[outbox]`` and ``[broker]``: how messages wait, and where they go."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from edge.config.section import Section, TopicStart, UserName, first_line
from edge.errors import ConfigError


class OutboxSettings(Section, frozen=True, kw_only=True):
    """``[outbox]``: the queue on disk."""

    path: Path = Path("outbox.db")
    """The SQLite file; put it on a disk that survives a power cut, never on a tmpfs."""
    max_bytes: Annotated[int, Meta(ge=1_000_000, le=1_000_000_000_000)] = 256_000_000
    """Bytes of waiting messages; beyond, the oldest pictures, then health, then sightings go."""
    max_dead_letter_bytes: Annotated[int, Meta(ge=0, le=1_000_000_000_000)] = 16_000_000
    """Bytes of messages set aside because the broker does not take them; beyond, the oldest
    pictures go, then health, then sightings."""
    commit_seconds: Annotated[float, Meta(ge=0, le=1)] = 0.05
    """Seconds for which sightings are gathered into one write to disk."""


class Tls(Section, frozen=True, kw_only=True):
    """``[broker.tls]``: encryption. The table may be empty: system authorities are trusted."""

    ca: Path | None = None
    """Certificate authority (PEM) to trust instead of the system's."""
    certificate: Path | None = None
    """Client certificate (PEM)."""
    key: Path | None = None
    """Key of the client certificate (PEM)."""


class Broker(Section, frozen=True, kw_only=True):
    """``[broker]``: where sightings go."""

    host: Annotated[str, Meta(min_length=1)] = "localhost"
    """Name or address of the MQTT broker."""
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    """TCP port. Unset: 1883, with TLS 8883."""
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    """MQTT version; ``auto``: 5, and 3.1.1 where the broker does not speak it."""
    username: UserName | None = None
    """User name, without control characters."""
    password_file: Path | None = None
    """File whose first line is the password."""
    password_env: str | None = None
    """Environment variable that holds the password."""
    base_topic: TopicStart = "wheatear"
    """First part of every topic: no ``+``, ``#`` or space, and not ``$`` or ``/`` first."""
    keepalive_seconds: Annotated[int, Meta(ge=5, le=3600)] = 30
    """Seconds of silence after which broker and device ask whether the other is there."""
    timeout_seconds: Annotated[float, Meta(ge=0.5, le=300)] = 15.0
    """Seconds to wait for the connection."""
    acknowledge_seconds: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    """Seconds until a message must be acknowledged after the one before it; else the device
    connects again. After half of that time the state says so."""
    window: Annotated[int, Meta(ge=1, le=10000)] = 100
    """Messages sent before the first must be acknowledged; a broker may allow fewer."""
    retry_min_seconds: Annotated[float, Meta(ge=0.05, le=3600)] = 1.0
    """Seconds before the first new attempt; doubled after every failure."""
    retry_max_seconds: Annotated[float, Meta(ge=0.05, le=86400)] = 60.0
    """Seconds between attempts at most."""
    historical_after_seconds: Annotated[float, Meta(ge=1, le=86400)] = 60.0
    """Age in seconds from which a sighting is marked ``historical``."""
    clock_wait_seconds: Annotated[float, Meta(ge=0, le=86400)] | None = None
    """Seconds that messages wait, once a run, for an unsynced clock to be set, so that their times
    are put right before they go. Unset: 30, and 0 where pictures are replayed."""
    tls: Tls | None = None
    """Encryption; leave the table out for none."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, the port filled in."""
        return self.host, self.port or (8883 if self.tls else 1883)

    def password(self) -> str | None:
        """Read the password. Raises ConfigError where its file or variable is missing."""
        if self.password_env:
            if self.password_env not in os.environ:
                raise ConfigError(
                    f"broker.password_env: the environment variable {self.password_env} is not "
                    "set; set it, or use broker.password_file"
                )
            return os.environ[self.password_env]
        if self.password_file:
            return first_line(self.password_file, "broker.password_file")
        return None
