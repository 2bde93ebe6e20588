"""The last lines of the log, in memory, for whoever asks from afar."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge.mqtt.requests import Params
from edge.system.local_lines import is_local
from edge.text.printable import printable

MOST_LINES = 500
_MOST_CHARACTERS = 1000
_MOST_BYTES = 100_000
"""Of one answer; brokers and mobile networks do not like more."""
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Line(msgspec.Struct, frozen=True):
    """One line of the log."""

    time: datetime
    level: str
    logger: str
    text: str


class LogParams(Params, frozen=True, kw_only=True):
    """What ``log`` takes."""

    lines: Annotated[int, Meta(ge=1, le=MOST_LINES)] = 100
    """The newest so many."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Leave out what is less than this."""


class Lines(msgspec.Struct, frozen=True):
    """What ``log`` gives, oldest first."""

    lines: list[Line]


_CREDENTIALS = re.compile(r"(?<=://)[^\s/@]+@|(?<=\?)[^\s'\"<>]+")
"""What an address may hold: user and password, and a query with a signature or a key."""


class Journal(logging.Handler):
    """Keeps the newest :data:`MOST_LINES` lines, each cut at 1000 characters."""

    def __init__(self) -> None:
        super().__init__()
        self._secrets: set[str] = set()
        self._lines: deque[tuple[int, Line]] = deque(maxlen=MOST_LINES)

    def hide(self, secrets: Iterable[str]) -> None:
        """Never show these."""
        self._secrets |= set(secrets)

    def _shown(self, text: str) -> str:
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return _CREDENTIALS.sub(lambda found: "***@" if found[0][-1] == "@" else "***", text)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, unless it stays on the device."""
        if is_local(record):
            return
        try:
            text = record.getMessage()
            if record.exc_info and record.exc_info[1] is not None:
                error = record.exc_info[1]
                text += f" ({type(error).__name__}: {error})"
        except Exception:  # logging must never break what it tells about
            self.handleError(record)
            return
        line = Line(
            datetime.fromtimestamp(record.created, UTC),
            record.levelname.lower(),
            record.name,
            printable(text)[: 2 * _MOST_CHARACTERS],
        )
        self._lines.append((record.levelno, line))

    def log(self, params: LogParams) -> Lines:
        """Give the newest lines, fewer where they are long."""
        least, room = LEVELS[params.level], _MOST_BYTES
        found: list[Line] = []
        for level, line in reversed(self._lines.copy()):
            if level < least:
                continue
            text = self._shown(line.text)[:_MOST_CHARACTERS]
            line = msgspec.structs.replace(line, text=text)
            room -= len(line.text.encode()) + 100
            if len(found) == params.lines or room < 0:
                break
            found.append(line)
        return Lines(found[::-1])
