"""The last lines of the log, in memory, for whoever asks from afar."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from edge.messages.verbs import MOST_LINES, LogLine, LogLines, LogParams
from edge.system.local_lines import is_local
from edge.text.printable import printable

_MOST_CHARACTERS = 1000
_MOST_BYTES = 100_000
"""Of one answer; brokers and mobile networks do not like more."""
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


_CREDENTIALS = re.compile(r"(?<=://)[^\s/@]+@|(?<=\?)[^\s'\"<>]+")
"""What an address may hold: user and password, and a query with a signature or a key."""


class LogTail(logging.Handler):
    """Keeps the newest :data:`MOST_LINES` lines, each cut at 1000 characters."""

    def __init__(self) -> None:
        super().__init__()
        self._secrets: set[str] = set()
        self._lines: deque[tuple[int, LogLine]] = deque(maxlen=MOST_LINES)

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
        line = LogLine(
            time=datetime.fromtimestamp(record.created, UTC),
            level=record.levelname.lower(),
            logger=record.name,
            text=printable(text)[: 2 * _MOST_CHARACTERS],
        )
        self._lines.append((record.levelno, line))

    def log(self, params: LogParams) -> LogLines:
        """Return the newest lines, fewer where they are long."""
        least, room = _LEVELS[params.level], _MOST_BYTES
        found: list[LogLine] = []
        for level, line in reversed(self._lines.copy()):
            if level < least:
                continue
            text = self._shown(line.text)[:_MOST_CHARACTERS]
            line = msgspec.structs.replace(line, text=text)
            room -= len(line.text.encode()) + 100
            if len(found) == params.lines or room < 0:
                break
            found.append(line)
        return LogLines(lines=found[::-1])
