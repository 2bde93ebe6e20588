"""A bundle from a web server, taken up again where it broke off (RFC 9110, 14 and 13.1.5).

What has come lies in ``incoming/url.part``, and what it is of in ``incoming/url.json``, so that
another run of the program goes on with it. A part is only gone on with where the server says by a
strong ETag or a date that the file is still the same, or where its hash is known beforehand;
otherwise the download begins again.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge.errors import (
    DownloadError,
    RecordError,
    ShortageError,
    StoreError,
    UnreachableError,
    UpdateError,
    os_errors_as,
)
from edge.messages.base import MAX_BUNDLE_BYTES
from edge.system.counters import Backoff
from edge.system.local_lines import LOCAL
from edge.system.record_file import RecordFile
from edge.text.url import shown
from edge.updates.download_pace import STEP_SECONDS, BrokenError, Pace, SlowError
from edge.updates.http_get import Web, checked, told
from edge.updates.server_access import Access

if TYPE_CHECKING:
    from edge.config import Update

log = logging.getLogger(__name__)

_BLOCK = 64 << 10
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_LENGTH = re.compile(r"\d{1,18}")
_PASSING = (408, 425, 429)
"""Refusals that may be over later."""
_BEGINNING = b"PK\x03\x04"
_MOST_VALIDATOR = 200
"""Characters of an ETag."""
_MOST_REST_SECONDS = 300
"""What a server may ask to be left alone for; beyond, it is asked all the same."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What to fetch."""

    url: str
    sha256: str | None = None
    size: int | None = None
    """Bytes, where known beforehand."""


class _BegunDownload(msgspec.Struct, frozen=True, kw_only=True):
    """What ``url.part`` is the beginning of."""

    source: str
    """A hash: an address may hold secrets."""
    validator: str | None = None
    """Strong ETag or date of last change, for ``If-Range``."""
    total: int | None = None


def fetch(
    source: Source,
    folder: Path,
    limits: Update,
    progress: Callable[[int, int | None], None] = lambda _done, _total: None,
    stop: Callable[[], bool] = lambda: False,
    wait: Callable[[float], object] = time.sleep,
    spent: float = 0.0,
) -> Path:
    """Fetch into `folder`; give the file. `progress` is told bytes done and in total; `spent` are
    seconds that earlier runs took for it. What has come stays where another try may go on with it.

    Raises:
        UnreachableError: no such address, not allowed, refused, or not answered like a web server
            that has a bundle; for people at the device only.
        DownloadError: another size than asked for, too slow.
        UpdateExpiredError: not here within ``download_seconds``.
        StoppedError: `stop`.
        StoreError: the disk refuses.
        ConfigError: a password, token or authority cannot be read.
    """
    check_source(source, limits)
    pace = Pace(limits, stop, spent)
    web = Web(Access(limits), pace, limits.timeout_seconds, limits.ca)
    download = _Download(source, folder, web, progress)
    try:
        _attempts(download, limits.attempts, pace, wait)
    except _GivenUpError as error:
        raise _told_of(source, download.done, error.attempts, error.last) from error.last
    except (UpdateError, StoreError):
        if not pace.stopped:
            forget(folder)
        raise
    return download.file


def check_source(source: Source, limits: Update) -> None:
    """See that a source could be fetched. Raises DownloadError, ConfigError."""
    checked(Access(limits), source.url)
    if source.size is not None and source.size > MAX_BUNDLE_BYTES:
        raise DownloadError(f"{source.size} bytes; a bundle has {MAX_BUNDLE_BYTES} at most")


def forget(folder: Path) -> None:
    """Remove what has come. Raises nothing: what stays is begun anew."""
    for name in ("url.json", "url.json.new", "url.part"):
        with contextlib.suppress(OSError):
            (folder / name).unlink()


class _GivenUpError(Exception):
    def __init__(self, attempts: int, last: BrokenError) -> None:
        self.attempts, self.last = attempts, last


def _told_of(source: Source, done: int, attempts: int, last: BrokenError) -> DownloadError:
    text = f"{shown(source.url)}: {last}; {attempts} attempts in a row brought nothing"
    return DownloadError(text) if done and isinstance(last, SlowError) else UnreachableError(text)


def _attempts(
    download: _Download, attempts: int, pace: Pace, wait: Callable[[float], object]
) -> None:
    """Go on until all is here. Raises _GivenUpError, and as :meth:`_Download.go_on`."""
    backoff, failed, furthest = Backoff(1.0, 60.0), 0, download.done
    while True:
        try:
            download.go_on()
            return
        except BrokenError as error:
            further = download.done > furthest and not isinstance(error, SlowError)
            furthest = max(furthest, download.done)
            failed = 0 if further else failed + 1
            if further:
                backoff.reset()
            log.info("%s; %d bytes are here", error, download.done, extra=LOCAL)
            if failed >= attempts or download.begun_anew > attempts:
                raise _GivenUpError(failed or download.begun_anew, error) from error
            rest = max(backoff.next(random.random()), error.rest_seconds)
        while rest > 0:
            pace.check()
            wait(min(STEP_SECONDS, rest))
            rest -= STEP_SECONDS


class _Download:
    """A part on disk, and attempts to complete it."""

    def __init__(
        self,
        source: Source,
        folder: Path,
        web: Web,
        progress: Callable[[int, int | None], None],
    ) -> None:
        self.file = folder / "url.part"
        self._facts = RecordFile(folder / "url.json", _BegunDownload)
        self._source, self._web, self._progress = source, web, progress
        self.begun_anew = 0
        """How often bytes that were here were of no use."""
        self._part = _BegunDownload(source=hashlib.sha256(msgspec.json.encode(source)).hexdigest())
        self._known = False
        with contextlib.suppress(BrokenError):  # the first attempt asks again
            self._learn()

    def _learn(self) -> None:
        """Learn what the bytes here are the beginning of. Raises BrokenError: not known now."""
        known = None
        try:
            known = self._facts.read()
        except ShortageError as error:
            raise BrokenError(str(error)) from error
        except RecordError:
            pass
        if known is not None and known.source == self._part.source:
            self._part = known
        else:  # what is here is of another file
            self._drop()
        if self._part.validator is None and self._source.sha256 is None:
            self._drop()
        self.begun_anew, self._known = 0, True

    @property
    def done(self) -> int:
        """Bytes that are here."""
        try:
            return self.file.stat().st_size
        except OSError:
            return 0

    def go_on(self) -> None:
        """Fetch what is missing. Raises BrokenError, UpdateError, StoreError."""
        self._web.pace.check()
        if not self._known:
            self._learn()
        if self._part.total is not None and self.done == self._part.total:
            return
        start = self.done
        headers = {"Accept-Encoding": "identity", "User-Agent": "wheatear"}
        if start and (self._part.validator or self._source.sha256):
            headers["Range"] = f"bytes={start}-"
            if self._part.validator:
                headers["If-Range"] = self._part.validator
        with self._web.get(self._source.url, headers) as answer:
            if answer.status == 200 or (answer.status == 206 and "Range" in headers):
                self._take(answer, start)
            else:
                self._refused(answer)

    def _refused(self, answer: HTTPResponse) -> None:
        said = f"{answer.status} {answer.reason}"
        if answer.status == 416:  # nothing is left of the range: the file is another one by now
            self._drop()
        elif answer.status < 500 and answer.status not in _PASSING:
            raise UnreachableError(f"{shown(self._source.url)}: {said}")
        asked = answer.headers.get("Retry-After", "")
        rest = min(int(asked), _MOST_REST_SECONDS) if _LENGTH.fullmatch(asked) else 0
        raise BrokenError(said, rest)

    def _drop(self) -> None:
        if self.done:
            self.begun_anew += 1
        with os_errors_as(StoreError, f"cannot remove {self.file}"):
            self.file.unlink(missing_ok=True)

    def _take(self, answer: HTTPResponse, start: int) -> None:
        total, begin = self._announced(answer, start)
        known = self._source.size
        if (total or 0) > MAX_BUNDLE_BYTES or (known and total not in (None, known)):
            raise UnreachableError(
                f"{shown(self._source.url)} has {total} bytes; "
                + (f"{known} were asked for" if known else f"{MAX_BUNDLE_BYTES} are the limit")
            )
        if (packed := answer.headers.get("Content-Encoding", "identity")) != "identity":
            raise UnreachableError(f"{shown(self._source.url)} comes compressed ({packed[:20]!r})")
        limit = total or known or MAX_BUNDLE_BYTES
        self._web.pace.widen(2 * limit)  # chunks have a head each
        blocks = self._blocks(answer, begin, limit)
        first = next(blocks, b"")
        if not begin:  # lest the old part goes by the new validator, should we end here
            self._drop()
        self._part = msgspec.structs.replace(self._part, validator=_validator(answer), total=total)
        self._keep(first, blocks, total)
        if total is not None and self.done < total:
            raise BrokenError("the connection ended early")

    def _keep(self, first: bytes, blocks: Iterator[bytes], total: int | None) -> None:
        try:
            self._facts.replace(self._part)
        except RecordError as error:
            raise StoreError(f"{error}; make room") from error
        refused = os_errors_as(StoreError, f"cannot write {self.file}", "; make room")
        with refused, open(self.file, "ab") as file:
            block: bytes | None = first
            while block:
                file.write(block)
                file.flush()
                self._progress(file.tell(), total)
                block = next(blocks, None)
            os.fsync(file.fileno())

    def _announced(self, answer: HTTPResponse, start: int) -> tuple[int | None, int]:
        """The size of the whole, and the byte at which this answer begins."""
        if answer.status == 206:
            found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            known = self._part.total
            total = known if not found or found[3] == "*" else int(found[3])
            if not found or int(found[1]) != start or known not in (None, total):
                self._drop()
                raise BrokenError("another part came than was asked for")
            return total, start
        length = answer.headers.get("Content-Length", "")
        return (int(length) if _LENGTH.fullmatch(length) else None), 0

    def _blocks(self, answer: HTTPResponse, begin: int, limit: int) -> Iterator[bytes]:
        """Yield the bytes that come. Raises BrokenError, UpdateError."""
        done = begin
        while block := self._read(answer, 0 if done else len(_BEGINNING)):
            if not done and not block.startswith(_BEGINNING):
                raise UnreachableError(
                    f"{shown(self._source.url)}: what comes is not a bundle "
                    f"({answer.headers.get('Content-Type', 'of no type')[:60]})"
                )
            done += len(block)
            if done > limit:
                raise DownloadError(f"{shown(self._source.url)} sends more than {limit} bytes")
            yield block
        if not done:
            raise BrokenError("nothing came")

    def _read(self, answer: HTTPResponse, least: int) -> bytes:
        """Read what is there, `least` bytes unless the body is shorter."""
        block = b""
        with told(self._web.pace):
            while part := answer.read1(_BLOCK):
                block += part
                if len(block) >= least:
                    break
        return block


def _validator(answer: HTTPResponse) -> str | None:
    """What tells this content from another, if it can be sent back to the server."""
    tag, changed = answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", "")
    for one in ("" if tag.startswith("W/") else str(tag), str(changed)):
        if one and len(one) <= _MOST_VALIDATOR and one.isascii() and one.isprintable():
            return one
    return None
