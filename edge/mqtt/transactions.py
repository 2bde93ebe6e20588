"""What was asked and answered before: nothing is carried out twice, nor again at a later time.

Requests that change something are noted on disk before they are carried out, so that a restart or
a power cut makes none of them new again. The file is replaced whole
(:class:`edge.system.record_file.RecordFile`): it holds the state before or after, never a part.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Literal

import msgspec

from edge.errors import (
    MalformedRequestError,
    RecordError,
    ReplayedRequestError,
    RequestDeniedError,
    ShortageError,
)
from edge.messages.requests import VERBS
from edge.system.clock import WRITTEN
from edge.system.record_file import RecordFile
from edge.text.json_text import from_json

log = logging.getLogger(__name__)

NAME = "requests.json"
"""Beside the outbox."""
MOST_JUMP = 4_000_000_000_000
"""By so much one `sent` may exceed the one before: 126 years in milliseconds."""
_REMEMBERED = 64
_REMEMBERED_BYTES = 1_000_000
_MOST_NOTED_BYTES = 4_000
"""A longer answer is not kept on disk."""
Key = tuple[str, str]


class KnownRequest(msgspec.Struct, frozen=True):
    """A request that was begun."""

    verb: str
    transaction: str
    sha256: str
    """Of what was asked for."""
    answer: str | None = None
    """None: it was not answered yet, or the program ended before that."""


_decoder = msgspec.json.Decoder(dict[str, object])


def _digest(request: bytes) -> str:
    """Hash what is asked for, however it is written, and whenever it is sent."""
    with contextlib.suppress(msgspec.DecodeError):
        fields = from_json(request, _decoder)
        for name in ("sent", "token"):
            fields.pop(name, None)
        request = msgspec.json.encode(fields, order="deterministic")
    return hashlib.sha256(request).hexdigest()


class _Noted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of the file on disk."""

    schema: Literal[1] = 1
    after: int = 0
    """The largest `sent` of a request that was begun."""
    requests: tuple[KnownRequest, ...] = ()


class Memory:
    """The last requests with their answers, and the `sent` that the next one has to exceed.

    `path` is the file; None keeps nothing over a restart. Safe to use from several threads.
    """

    def __init__(
        self,
        path: Path | None = None,
        most: int = _REMEMBERED,
        most_bytes: int = _REMEMBERED_BYTES,
    ) -> None:
        self._file = RecordFile(path, _Noted) if path is not None else None
        self._most, self._most_bytes = most, most_bytes
        self._lock = threading.Lock()
        self._read: OrderedDict[Key, KnownRequest] = OrderedDict()
        self._changed: OrderedDict[Key, KnownRequest] = OrderedDict()
        self._cut: set[Key] = set()
        self._after = 0
        if self._file is not None:
            self._load(self._file)

    @property
    def after(self) -> int:
        """What the next `sent` has to exceed."""
        return self._after

    def find(self, verb: str, transaction: str, request: bytes) -> KnownRequest | None:
        """What is known of a request that was begun already; None: nothing.

        Raises:
            MalformedRequestError: the transaction was used for another request.
            ReplayedRequestError: the program ended while it was carried out.
        """
        with self._lock:
            key = (verb, transaction)
            found = self._of(verb).get(key)
            cut = key in self._cut
        if found is None:
            return None
        if found.sha256 != _digest(request):
            raise MalformedRequestError(
                f"transaction {transaction!r} was used for another {verb}; give each request its "
                "own"
            )
        if cut:
            raise ReplayedRequestError(
                f"{verb}, transaction {transaction!r}, was begun before, and its answer is not "
                "kept: look whether it was carried out, and ask again under another transaction if "
                "it was not"
            )
        return found

    def check(self, sent: int | None) -> None:
        """See that a request is newer than all before.

        Raises:
            ReplayedRequestError: it is not.
            MalformedRequestError: `sent` is so large that it would shut out what comes later.
        """
        if sent is None:
            return
        after = self._after
        if sent <= after:
            raise ReplayedRequestError(
                f"`sent` = {sent} is not larger than {after}, which was used already: each request "
                "is carried out once. Ask again with a larger one",
                after,
            )
        if sent - after > MOST_JUMP:
            raise MalformedRequestError(
                f"`sent` = {sent} is far beyond {after}, the last one; give milliseconds since 1970"
            )

    def begin(self, verb: str, transaction: str, request: bytes, sent: int | None) -> None:
        """Note a request that is now carried out; on disk where it changes something.

        Raises:
            ReplayedRequestError, MalformedRequestError: as :meth:`check`.
            RequestDeniedError: it cannot be noted, so that it could be replayed.
        """
        with self._lock:
            self.check(sent)
            before, self._after = self._after, max(self._after, sent or 0)
            key, known = (verb, transaction), self._of(verb)
            known[key] = KnownRequest(verb, transaction, _digest(request))
            try:
                self._note(verb)
            except RecordError as error:
                self._after = before
                del known[key]
                raise RequestDeniedError(
                    f"this request cannot be recorded ({error}), so it could be carried out again "
                    "later; free disk space, or give this user the right to write"
                ) from error

    def keep(self, verb: str, transaction: str, answer: bytes) -> None:
        """Remember the answer to what was begun, forgetting the oldest beyond the bounds."""
        with self._lock:
            known, key = self._of(verb), (verb, transaction)
            known[key] = msgspec.structs.replace(known[key], answer=answer.decode())
            self._trim(known)
            try:
                self._note(verb)
            except RecordError as error:
                log.warning("the answer to %s is not kept on disk: %s", verb, error)

    def _of(self, verb: str) -> OrderedDict[Key, KnownRequest]:
        """Reading does not push out what was changed."""
        return self._changed if VERBS[verb].noted else self._read

    def _trim(self, known: OrderedDict[Key, KnownRequest]) -> None:
        size = sum(len(one.answer or "") for one in known.values())
        while len(known) > 1 and (len(known) > self._most or size > self._most_bytes):
            key, oldest = known.popitem(last=False)
            size -= len(oldest.answer or "")
            self._cut.discard(key)

    def _note(self, verb: str) -> None:
        if self._file is None or not VERBS[verb].noted:
            return
        requests = tuple(
            one
            if len(one.answer or "") <= _MOST_NOTED_BYTES
            else msgspec.structs.replace(one, answer=None)
            for one in self._changed.values()
        )
        self._file.replace(_Noted(after=self._after, requests=requests))

    def _load(self, file: RecordFile[_Noted]) -> None:
        try:
            noted = file.read() or _Noted()
        except (RecordError, ShortageError) as error:
            self._after = _before_now(file.path)
            log.error(
                "%s: earlier requests are forgotten; `sent` has to be larger than %d",
                error,
                self._after,
            )
            return
        self._after = noted.after
        for one in noted.requests:
            key = (one.verb, one.transaction)
            self._changed[key] = one
            if one.answer is None:
                self._cut.add(key)


def _before_now(path: Path) -> int:
    """A time, in milliseconds, that no earlier request is later than: now, or, where the clock is
    evidently not set, when the file was written last.
    """
    now = time.time()
    if now < WRITTEN.timestamp():
        now = WRITTEN.timestamp()
        with contextlib.suppress(OSError):
            now = max(now, path.stat().st_mtime)
    return int(now * 1000)
