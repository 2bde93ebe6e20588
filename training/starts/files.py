"""Where the file of named start weights is: in a folder of ours, a package, or still to be fetched.

Whatever its way, nothing is read of a file before its hash has been found right.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from edge.errors import TrainingError, os_errors_as
from training.files import write_shared
from training.starts.table import STARTS, Hosted, Packaged, Start

HOST = "https://raw.githubusercontent.com"
#: More than any file of start weights has.
MOST_BYTES = 256 << 20
#: Seconds without a byte after which a server counts as gone.
TIMEOUT = 30.0

Fetching = Callable[[int, int], None]
"""Told how many bytes have come, and how many there will be (0: the server does not say)."""


def content_of(name: str, progress: Fetching | None = None) -> bytes:
    """The file of named start weights; one that lies in a repository is fetched, once.

    Raises:
        TrainingError: it cannot be had, or is another file than that of the table.
    """
    start, path = STARTS[name], file_of(name)
    if path.exists():
        with os_errors_as(TrainingError, f"weights {name}: {path}"):
            content = path.read_bytes()
        return _right(content, start, f"weights {name}: {path}", "delete it to get it anew")
    if isinstance(start.where, Packaged):
        return _from_package(name, start, start.where)
    content = _fetched(name, start, start.where, progress or (lambda *_: None))
    with os_errors_as(TrainingError, f"weights {name}: {path}", "WHEATEAR_WEIGHTS names a folder"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_shared(path, content)
    return content


def is_to_fetch(name: str) -> bool:
    """Whether `content_of` would use the network."""
    return isinstance(STARTS[name].where, Hosted) and not file_of(name).exists()


def file_of(name: str) -> Path:
    """Where the file of named start weights is kept, or may be put by hand.

    In $WHEATEAR_WEIGHTS, or else in wheatear/weights below $XDG_CACHE_HOME or ~/.cache.
    """
    if own := os.environ.get("WHEATEAR_WEIGHTS"):
        folder = Path(own)
    else:
        cache = os.environ.get("XDG_CACHE_HOME", "")
        # As the XDG specification has it: a relative path counts as none.
        base = Path(cache) if os.path.isabs(cache) else Path.home() / ".cache"
        folder = base / "wheatear" / "weights"
    return folder / STARTS[name].file


def _right(content: bytes, start: Start, what: str, cure: str) -> bytes:
    """The content, if it is what the table says. Raises TrainingError."""
    found = hashlib.sha256(content).hexdigest()
    if found != start.sha256:
        raise TrainingError(
            f"{what} is damaged or another file (SHA-256 {found}, not {start.sha256}); {cure}"
        )
    return content


def _from_package(name: str, start: Start, where: Packaged) -> bytes:
    try:
        # The file alone is read; no line of the package runs.
        path = Path(str(distribution(where.distribution).locate_file(where.path)))
    except PackageNotFoundError:
        raise TrainingError(
            f"weights {name}: the package {where.distribution} is not installed. "
            f"pip install {where.distribution}=={where.version} gets it; or put {start.file} at "
            f"{file_of(name)}, or give --weights FILE"
        ) from None
    with os_errors_as(TrainingError, f"weights {name}: {path}"):
        content = path.read_bytes()
    wanted = f"install {where.distribution}=={where.version} anew"
    return _right(content, start, f"weights {name}: {path}", wanted)


def _fetched(name: str, start: Start, where: Hosted, progress: Fetching) -> bytes:
    host = os.environ.get("WHEATEAR_WEIGHTS_MIRROR") or HOST
    address = f"{host.rstrip('/')}/{where.repository}/{where.commit}/{where.path}"
    if not address.startswith(("https://", "http://")):
        raise TrainingError(
            f"WHEATEAR_WEIGHTS_MIRROR is {host!r}: give an address of http or https"
        )
    try:
        content = _get(address, progress)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise TrainingError(
            f"weights {name}: {start.file} could not be fetched from {address} ({reason}). Without "
            f"a network: put it at {file_of(name)} by hand, or give --weights FILE"
        ) from error
    return _right(content, start, f"weights {name}: what came from {address}", "nothing is kept")


def _get(address: str, progress: Fetching) -> bytes:
    """The body of an answer. Raises OSError, HTTPException."""
    asked = urllib.request.Request(address, headers={"User-Agent": "wheatear"})
    try:
        opened = urllib.request.urlopen(asked, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:  # it is an answer, too
        error.close()
        raise OSError(str(error)) from error
    with opened as answer:
        size, content = int(answer.headers.get("Content-Length") or 0), bytearray()
        while piece := answer.read(1 << 16):
            content += piece
            progress(len(content), size)
            if len(content) > MOST_BYTES:
                raise OSError(f"more than {MOST_BYTES:,} bytes")
    return bytes(content)
