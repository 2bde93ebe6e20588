"""Home Assistant's MQTT device discovery: one retained message makes the camera show up.

The format is that of Home Assistant 2024.11 and later (documentation of its MQTT integration,
"Device discovery payload"). What is announced is written down in a small file beside the outbox: a
device that is switched off here, renamed or moved to another prefix takes the old away, and so does
a new model with other classes. A component that is only left out of the message would stay.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from edge import __version__
from edge.config import Config
from edge.errors import RecordError, ShortageError
from edge.messages.device import RunningModel
from edge.mqtt.homeassistant.entities import CameraFacts, Component, components
from edge.mqtt.introduction import Introduction
from edge.system.board import board
from edge.system.identity import device_id
from edge.system.record_file import RecordFile
from edge.text.printable import encoded

log = logging.getLogger(__name__)


def introductions(config: Config, model: Callable[[], RunningModel]) -> list[Introduction]:
    """What to publish: the announcement, and the removal of those that no longer hold."""
    topic = f"{config.homeassistant.discovery_prefix}/device/{identifier(config)}/config"
    announced = Announced(config.outbox.path)
    wanted = [topic] if config.homeassistant.enabled else []
    removals = [
        Introduction(
            old,
            lambda old=old: b"" if old in announced.topics else None,  # type: ignore[misc]
            lambda old=old: announced.forget(old),  # type: ignore[misc]
        )
        for old in announced.topics
        if old not in wanted
    ]

    def announce() -> bytes:
        parts = _parts(config, model())
        gone = announced.note(topic, {key: part["platform"] for key, part in parts.items()})
        return announcement(config, {**parts, **{key: {"platform": gone[key]} for key in gone}})

    return removals + [Introduction(one, announce) for one in wanted]


def identifier(config: Config) -> str:
    """The name of the device within Home Assistant; it holds letters, digits, ``_``, ``-``."""
    return slug(f"{config.broker.base_topic}_{device_id(config)}")


def slug(text: str) -> str:
    """`text` with ``_`` for every character that is no letter, digit, ``_`` or ``-`` of ASCII.

    Where something was replaced, a part of the text's SHA-256 keeps different texts different.
    """
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", text)
    return plain if plain == text else f"{plain}_{sha256(text.encode()).hexdigest()[:8]}"


def announcement(config: Config, parts: dict[str, Component]) -> bytes:
    """The discovery payload: device, origin and components, as UTF-8 JSON.

    A component that holds its platform alone is taken out of Home Assistant.
    """
    device = {
        "identifiers": [identifier(config)],
        "name": config.device.name or device_id(config),
        "manufacturer": "Wheatear",
        "model": f"Camera ({config.camera.__struct_config__.tag})",
        "hw_version": str(board()),
        "sw_version": __version__,
    }
    return encoded(
        {
            "device": device,
            "origin": {"name": "wheatear", "sw_version": __version__},
            "availability_topic": f"{config.broker.base_topic}/{device_id(config)}/availability",
            "components": parts,
        }
    )


def _parts(config: Config, model: RunningModel) -> dict[str, Component]:
    """The components of this device, with their unique ids."""
    ident, base = identifier(config), f"{config.broker.base_topic}/{device_id(config)}"
    camera = CameraFacts(
        base=base,
        labels=tuple(one for one in model.labels if one not in config.decision.background),
        pictures=config.images.send,
        located=config.device.location is not None or config.gps.enabled,
        health_seconds=config.report.health_seconds,
        updates=config.model.store is not None,
        # The message is for everybody to read: it cannot hold a token.
        buttons=() if config.requests.token_file else config.requests.allow,
    )
    return {
        slug(key): {"unique_id": f"{ident}_{slug(key)}", **part}
        for key, part in components(camera).items()
    }


class Announced:
    """What this device has announced, and where, in a file beside the outbox."""

    def __init__(self, outbox: Path) -> None:
        path = outbox.with_name(outbox.name + ".homeassistant")
        self._file = RecordFile(path, dict[str, dict[str, str]])
        self.topics: dict[str, dict[str, str]] = {}
        """Platforms of all components announced so far, by topic and component."""
        try:
            self.topics = self._file.read() or {}
        except (RecordError, ShortageError) as error:
            log.warning("%s; old announcements stay", error)

    def note(self, topic: str, components: dict[str, str]) -> dict[str, str]:
        """Write down what is about to be announced; give what is no more among it."""
        known = self.topics.get(topic, {})
        self._write({**self.topics, topic: {**known, **components}})
        return {key: known[key] for key in known if key not in components}

    def forget(self, topic: str) -> None:
        """Leave out a topic whose removal the broker has acknowledged."""
        self._write({one: parts for one, parts in self.topics.items() if one != topic})

    def _write(self, topics: dict[str, dict[str, str]]) -> None:
        """Set the topics; where the disk refuses, only their later removal is lost, and said."""
        if topics == self.topics:
            return
        self.topics = topics
        try:
            if topics:
                self._file.replace(topics)
            else:
                self._file.remove()
        except RecordError as error:
            log.warning("%s; old announcements may stay", error)
