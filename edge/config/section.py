"""What all sections of the file share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from edge.errors import ConfigError
from edge.text.encodings import read_text
from edge.text.pipes import refuse_pipe

_BARRED = r"\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
"""Characters at which a broker may hang up (MQTT, 1.5.4): it would look like no broker at all."""

TopicStart = Annotated[
    str, Meta(pattern=rf"^(?![$/])[^+#\s{_BARRED}]+(?<!/)\Z", min_length=1, max_length=200)
]
"""What topics begin with: no wildcards, no spaces, and not ``$``, where only a broker publishes.
Mosquitto takes 200 levels."""
UserName = Annotated[str, Meta(pattern=rf"^[^{_BARRED}]*\Z", max_length=1000)]
"""What a broker knows this device as."""


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


def first_line(file: Path, setting: str) -> str:
    """Read a secret. Raises ConfigError."""
    try:
        refuse_pipe(file)
        return read_text(file).split("\n", 1)[0]
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{setting}: cannot read {file} ({error}); create it, readable by this program only"
        ) from error
