"""A bundle from a web server, taken up again where it broke off (RFC 9110, 14 and 13.1.5).

What has come lies in ``incoming/url.part``, and what it is of in ``incoming/url.json``, so that
another run of the program goes on with it. A part is only gone on with where the server says by a
strong ETag or a date that the file is still the same, or where its hash is known beforehand;
otherwise the download begins again.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import random
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from edge.counters import Backoff
from edge.errors import DownloadError, StoppedError, StoreError
from edge.files import write_whole
from edge.unpack import MAX_BUNDLE_BYTES

if TYPE_CHECKING:
    from edge.config import Update

log = logging.getLogger(__name__)

_BLOCK = 64 << 10
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_FINAL = range(300, 500)
_PASSING = (408, 416, 425, 429)


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What to fetch."""

    url: str
    sha256: str | None = None
    size: int | None = None
    """Bytes, where known beforehand."""


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """What ``url.part`` is the beginning of."""

    source: Source
    validator: str | None = None
    """Strong ETag or date of last change, for ``If-Range``."""
    total: int | None = None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to http and https only, and never from https to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: Any,  # noqa: ANN401 - as the base
        code: int,
        msg: str,
        headers: Any,  # noqa: ANN401 - as the base
        newurl: str,
    ) -> urllib.request.Request | None:
        """Refuse another scheme."""
        before, after = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if after not in ("http", "https") or (before, after) == ("https", "http"):
            raise DownloadError(f"{req.full_url} leads to {newurl}, from {before} to {after}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(
    source: Source,
    folder: Path,
    limits: Update,
    progress: Callable[[int, int | None], None] = lambda _done, _total: None,
    stop: Callable[[], bool] = lambda: False,
    wait: Callable[[float], object] = time.sleep,
) -> Path:
    """Fetch into `folder`; give the file. `progress` is told bytes done and in total.

    Raises:
        DownloadError: no http or https, refused, too large, cut short too often.
        StoppedError: `stop`; what has come stays.
        StoreError: the disk refuses.
    """
    check_source(source)
    download = _Download(source, folder, limits.timeout_seconds, progress, stop)
    backoff, failed = Backoff(1.0, 60.0), 0
    while True:
        before = download.done
        try:
            download.go_on()
            return download.file
        except _BrokenError as error:
            failed = 0 if download.done > before else failed + 1
            if failed == 0:
                backoff.reset()
            log.info("%s: %s; %d bytes are here", source.url, error, download.done)
            if failed >= limits.attempts:
                raise DownloadError(
                    f"{source.url}: {error}; {failed} attempts in a row brought nothing"
                ) from error
        _rest(backoff.next(random.random()), stop, wait)


def check_source(source: Source) -> None:
    """See that a source could be fetched. Raises DownloadError."""
    if urlsplit(source.url).scheme not in ("http", "https"):
        raise DownloadError(f"{source.url}: only http and https are fetched")
    if source.size is not None and source.size > MAX_BUNDLE_BYTES:
        raise DownloadError(f"{source.size} bytes; a bundle has {MAX_BUNDLE_BYTES} at most")


class _BrokenError(Exception):
    """This attempt ended early; another may get further."""


class _Download:
    """A part on disk, and attempts to complete it."""

    def __init__(
        self,
        source: Source,
        folder: Path,
        timeout: float,
        progress: Callable[[int, int | None], None],
        stop: Callable[[], bool],
    ) -> None:
        self.file, self._facts = folder / "url.part", folder / "url.json"
        self._timeout, self._progress, self._stop = timeout, progress, stop
        self._part, known = _Part(source=source), None
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            known = msgspec.json.decode(self._facts.read_bytes(), type=_Part)
        if known is not None and known.source == source:
            self._part = known
        else:  # what is here is of another file
            self.file.unlink(missing_ok=True)
        if self._part.validator is None and source.sha256 is None:
            self.file.unlink(missing_ok=True)
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _Redirects(),
        ):
            self._opener.add_handler(handler)

    @property
    def done(self) -> int:
        """Bytes that are here."""
        return self.file.stat().st_size if self.file.exists() else 0

    def go_on(self) -> None:
        """Fetch what is missing. Raises _BrokenError, DownloadError, StoppedError, StoreError."""
        if self._part.total is not None and self.done == self._part.total:
            return
        source, start = self._part.source, self.done
        headers = {"Accept-Encoding": "identity"}
        if start and (self._part.validator or source.sha256):
            headers["Range"] = f"bytes={start}-"
            if self._part.validator:
                headers["If-Range"] = self._part.validator
        request = urllib.request.Request(source.url, headers=headers)
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                self._take(answer, start)
        except urllib.error.HTTPError as error:
            self._refused(error)
        except StoreError:
            raise
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenError(f"{type(error).__name__}: {error}") from error

    def _refused(self, error: urllib.error.HTTPError) -> None:
        error.close()
        if error.code == 416:  # nothing is left of the range: the file is another one by now
            self.file.unlink(missing_ok=True)
        elif error.code in _FINAL and error.code not in _PASSING:
            raise DownloadError(f"{self._part.source.url}: {error.code} {error.reason}") from error
        raise _BrokenError(f"{error.code} {error.reason}") from error

    def _take(self, answer: Any, start: int) -> None:  # noqa: ANN401 - http.client.HTTPResponse
        total, begin = self._announced(answer, start)
        limit = self._part.source.size
        if (total or 0) > MAX_BUNDLE_BYTES or (limit and total not in (None, limit)):
            raise DownloadError(
                f"{self._part.source.url} has {total} bytes; "
                + (f"{limit} were asked for" if limit else f"{MAX_BUNDLE_BYTES} are the limit")
            )
        validator = _validator(answer.headers)
        self._part = msgspec.structs.replace(self._part, validator=validator, total=total)
        try:
            if not begin:  # lest the old part goes by the new validator, should we end here
                self.file.unlink(missing_ok=True)
            write_whole(self._facts, msgspec.json.encode(self._part))
            with open(self.file, "ab") as file:
                for block in self._blocks(answer, begin, limit or MAX_BUNDLE_BYTES):
                    file.write(block)
                    file.flush()
                    self._progress(file.tell(), total)
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(
                f"cannot write {self.file}: {error.strerror or error}; make room"
            ) from error
        if total is not None and self.done < total:
            raise _BrokenError("the connection ended early")

    def _announced(self, answer: Any, start: int) -> tuple[int | None, int]:  # noqa: ANN401
        """Give the size of the whole, and from which byte on it comes."""
        if answer.status == 206:
            found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            if not found or int(found[1]) != start:
                self.file.unlink(missing_ok=True)
                raise _BrokenError("another part came than was asked for")
            return (None if found[3] == "*" else int(found[3])), start
        length = answer.headers.get("Content-Length")
        return (int(length) if length and length.isdigit() else None), 0

    def _blocks(self, answer: Any, begin: int, limit: int) -> Iterator[bytes]:  # noqa: ANN401
        """Give what comes. Raises _BrokenError, DownloadError, StoppedError."""
        done = begin
        while block := _read(answer):
            if self._stop():
                raise StoppedError
            done += len(block)
            if done > limit:
                raise DownloadError(f"{self._part.source.url} gives more than {limit} bytes")
            yield block


def _read(answer: Any) -> bytes:  # noqa: ANN401 - http.client.HTTPResponse
    try:
        block: bytes = answer.read1(_BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(f"{type(error).__name__}: {error}") from error
    return block


def _validator(headers: Any) -> str | None:  # noqa: ANN401 - an email.message.Message
    tag = headers.get("ETag")
    if tag and not tag.startswith("W/"):
        return str(tag)
    changed = headers.get("Last-Modified")
    return str(changed) if changed else None


def _rest(seconds: float, stop: Callable[[], bool], wait: Callable[[float], object]) -> None:
    """Wait in steps. Raises StoppedError where the device stops."""
    while seconds > 0:
        if stop():
            raise StoppedError
        wait(min(0.2, seconds))
        seconds -= 0.2
