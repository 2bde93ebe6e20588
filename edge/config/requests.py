"""``[requests]``: what others may ask of the device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from edge.config.section import Section, first_line
from edge.errors import ConfigError
from edge.messages.requests import VerbName


class Requests(Section, frozen=True, kw_only=True):
    """``[requests]``: what others may ask of the device over MQTT.

    The broker's access list decides who can; this decides what.
    """

    allow: tuple[VerbName, ...] = ("status", "capture", "config/get", "drift", "models")
    """Verbs that are carried out; those that change the device, ``log``, ``inbox/get`` and
    ``outbox/letters`` have to be listed. Empty: the device takes no requests and subscribes to
    nothing."""
    pictures: bool = False
    """Answer ``capture`` with the picture where it is asked for, and let ``config/set`` switch on
    what sends pictures."""
    details: bool = False
    """Include the place in answers to ``status``, ``capture`` and ``config/get``, and in the last
    the folders of files, too; ``info`` and sightings tell the place anyway."""
    token_file: Path | None = None
    """File whose first line every request must carry as its ``token``."""
    unnumbered: bool = False
    """Carry out requests that change something also without ``sent``, so that whoever recorded one
    can have it carried out again."""
    max_bytes: Annotated[int, Meta(ge=1_000, le=10_000_000)] = 262_144
    """Bytes of one request at most."""
    per_second: Annotated[float, Meta(ge=0.1, le=1000)] = 5.0
    """Requests a second that are carried out, beyond a burst of 20; those that are refused do not
    count."""
    confirm_seconds: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    """Seconds within which a changed configuration has to prove itself; else it is taken back."""

    def token(self) -> str | None:
        """Read the token. Raises ConfigError where its file cannot be read or is empty."""
        if self.token_file is None:
            return None
        token = first_line(self.token_file, "requests.token_file")
        if not token:
            raise ConfigError(
                f"requests.token_file: {self.token_file} has no token in its first line; write one"
            )
        return token
