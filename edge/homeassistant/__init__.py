"""Home Assistant's MQTT device discovery: one retained message makes the camera show up.

The format is that of Home Assistant 2024.11 and later (documentation of its MQTT integration,
"Device discovery payload"). What is announced is written down in a small file beside the outbox, so
that a device that is switched off here, renamed or moved to another prefix takes the old away.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import msgspec

from edge import __version__
from edge.board import board
from edge.config import Config
from edge.homeassistant.entities import Camera, components
from edge.messages import RunningModel
from edge.publisher import Introduction

log = logging.getLogger(__name__)


def introductions(config: Config, model: Callable[[], RunningModel]) -> list[Introduction]:
    """Give what to publish: the announcement, and the removal of those that no longer hold."""
    topic = f"{config.homeassistant.discovery_prefix}/device/{identifier(config)}/config"
    announced = Announced(config.outbox.path)
    wanted = [topic] if config.homeassistant.enabled else []
    old = [one for one in announced.topics if one not in wanted]
    announced.write([*old, *wanted])
    removals = [
        Introduction(
            one,
            lambda one=one: b"" if one in announced.topics else None,  # type: ignore[misc]
            lambda one=one: announced.forget(one),  # type: ignore[misc]
        )
        for one in old
    ]
    return removals + [Introduction(one, lambda: announcement(config, model())) for one in wanted]


def identifier(config: Config) -> str:
    """Give the name of the device within Home Assistant; it holds letters, digits, ``_``, ``-``."""
    return slug(f"{config.broker.base_topic}_{config.device_id}")


def slug(text: str) -> str:
    """Give `text` with ``_`` for what is no letter, digit, ``_`` or ``-`` of ASCII.

    Where something was replaced, a part of the text's SHA-256 keeps different texts different.
    """
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", text)
    return plain if plain == text else f"{plain}_{sha256(text.encode()).hexdigest()[:8]}"


def announcement(config: Config, model: RunningModel) -> bytes:
    """Give the discovery payload: device, origin and components, as UTF-8 JSON."""
    ident, base = identifier(config), f"{config.broker.base_topic}/{config.device_id}"
    camera = Camera(
        base=base,
        labels=tuple(one for one in model.labels if one not in config.decision.background),
        pictures=config.images.send,
        located=config.device.location is not None or config.gps.enabled,
        health_seconds=config.report.health_seconds,
        # The message is for everybody to read: it cannot hold a token.
        buttons=() if config.requests.token_file else config.requests.allow,
    )
    device = {
        "identifiers": [ident],
        "name": config.device.name or config.device_id,
        "manufacturer": "Wheatear",
        "model": f"Camera ({config.camera.__struct_config__.tag})",
        "hw_version": str(board()),
        "sw_version": __version__,
    }
    parts = {
        slug(key): {"unique_id": f"{ident}_{slug(key)}", **part}
        for key, part in components(camera).items()
    }
    return msgspec.json.encode(
        {
            "device": device,
            "origin": {"name": "wheatear", "sw_version": __version__},
            "availability_topic": f"{base}/availability",
            "components": parts,
        }
    )


class Announced:
    """The topics on which this device has announced itself, in a file beside the outbox."""

    def __init__(self, outbox: Path) -> None:
        self._path = outbox.with_name(outbox.name + ".homeassistant")
        try:
            self.topics = self._path.read_text("utf-8").split("\n")[:-1]
        except FileNotFoundError:
            self.topics = []
        except (OSError, UnicodeDecodeError) as error:
            log.warning("cannot read %s (%s): old announcements stay", self._path, error)
            self.topics = []

    def write(self, topics: list[str]) -> None:
        """Set the topics; where the disk refuses, only their later removal is lost, and said."""
        if topics == self.topics:
            return
        self.topics = topics
        try:
            if topics:
                self._path.write_text("".join(f"{one}\n" for one in topics), "utf-8")
            else:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("cannot write %s (%s): old announcements may stay", self._path, error)

    def forget(self, topic: str) -> None:
        """Leave out a topic whose removal the broker has acknowledged."""
        self.write([one for one in self.topics if one != topic])
