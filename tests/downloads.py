"""Downloads of a bundle from a web server that a test scripts (see :mod:`servers`)."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from servers import Scripted, answer

from edge.config import Update
from edge.updates.fetch import Source, fetch

DATA = b"PK\x03\x04" + random.Random(3).randbytes(299_996)
LIMITS = Update(timeout_seconds=60.0, attempts=3)
REST = f"bytes 1000-{len(DATA) - 1}/{len(DATA)}"
START = answer(DATA[:1000], length=len(DATA), ETag='"a"')
BUSY = answer(b"", "503 Busy")
SECRET = "hunter2"


def served(_request: bytes) -> list[bytes]:
    """Answer with DATA."""
    return [answer(DATA)]


def get(
    server: Scripted,
    folder: Path,
    limits: Update = LIMITS,
    wait: Callable[[float], object] = lambda _: None,
    progress: Callable[[int, int | None], None] = lambda _done, _total: None,
    stop: Callable[[], bool] = lambda: False,
    **options: Any,
) -> bytes:
    """Fetch from a server, without pauses unless a test wants them."""
    source = Source(url=server.url, **options)
    return fetch(source, folder, limits, progress, stop, wait=wait).read_bytes()


def get_at(url: str, folder: Path, **settings: Any) -> bytes:
    """Fetch from an address under other settings, without pauses."""
    limits = msgspec.structs.replace(LIMITS, **settings)
    return fetch(Source(url=url), folder, limits, wait=lambda _: None).read_bytes()


def names(folder: Path) -> list[str]:
    """What lies there."""
    return sorted(file.name for file in folder.iterdir())
