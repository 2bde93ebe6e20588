"""A bundle that comes in chunks, one after the other, over any number of connections and starts."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from pathlib import Path

import msgspec

from edge.errors import DownloadError, RecordError, ShortageError, StoreError, UpdateExpiredError
from edge.messages.updates import Chunk, UploadProgress
from edge.system.record_file import RecordFile
from edge.updates.elapsed import Ledger


class _BegunUpload(msgspec.Struct, frozen=True, kw_only=True):
    sha256: str
    size: int
    idle: float = 0.0
    """Seconds without a new chunk, over all runs of the program."""


class Upload:
    """The one upload there is; another one takes its place, and one that nobody goes on with is
    dropped after `idle_seconds`.
    """

    def __init__(self, folder: Path, idle_seconds: float) -> None:
        self.file = folder / "upload.part"
        self._facts = RecordFile(folder / "upload.json", _BegunUpload)
        self._idle_seconds = idle_seconds
        self._ledger: Ledger | None = None
        self._lock = threading.RLock()

    def take(self, chunk: Chunk) -> UploadProgress:
        """Append a chunk that begins where the last one ended, on disk on return; any other is
        left alone, and the answer says where to go on.

        Raises:
            DownloadError: it goes beyond the size, or the whole is not what was announced.
            StoreError: the disk refuses.
        """
        with self._lock:
            return self._take(chunk)

    def _take(self, chunk: Chunk) -> UploadProgress:
        begun = _BegunUpload(sha256=chunk.sha256, size=chunk.size)
        try:
            before = self._begun()
            if before is None or (before.sha256, before.size) != (chunk.sha256, chunk.size):
                self.file.unlink(missing_ok=True)
                self._facts.replace(begun)
                before = begun
            done = self._done()
            if chunk.data and chunk.offset == done:
                done = self._append(chunk, done)
                if before.idle or not chunk.offset:  # idle anew; or the file's name is new
                    self._facts.replace(begun)
                self._ledger = None
        except OSError as error:
            raise StoreError(
                f"cannot keep the upload in {self.file.parent}: {error.strerror or error}"
            ) from error
        complete = done == chunk.size
        if complete:
            self._check(begun)
        return UploadProgress(sha256=chunk.sha256, next=done, complete=complete)

    def complete(self, sha256: str) -> Path:
        """Return the file of a complete upload. Raises DownloadError, ShortageError."""
        begun = self._begun()
        if begun is None or begun.sha256 != sha256:
            raise DownloadError(f"no upload {sha256[:12]} is here; send it with model/chunk")
        if self._done() != begun.size:
            raise DownloadError(
                f"the upload has {self._done()} of {begun.size} bytes; send the rest"
            )
        self._check(begun)
        return self.file

    def forget(self) -> str | None:
        """Drop the upload; give its hash, None where there was none. Raises nothing: what stays is
        begun anew.
        """
        with self._lock:
            begun, self._ledger = None, None
            with contextlib.suppress(ShortageError):
                begun = self._begun()
            with contextlib.suppress(OSError):
                self._facts.remove()
            with contextlib.suppress(OSError):
                self.file.unlink()
        return begun.sha256 if begun else None

    def expire(self) -> None:
        """Drop an upload that nobody goes on with. Raises UpdateExpiredError where it did."""
        with self._lock:
            self._expire()

    def _expire(self) -> None:
        try:
            begun = self._begun()
        except ShortageError:  # not known now; it is asked again in a moment
            return
        if begun is None:
            self._ledger = None
            return
        if self._ledger is None:
            self._ledger = Ledger(self._note, begun.idle, self._idle_seconds)
        if self._ledger.over:
            done = self._done()
            self.forget()
            raise UpdateExpiredError(
                f"upload {begun.sha256[:12]} is dropped: {done} of {begun.size} bytes, and none "
                f"came for model.update.upload_seconds = {self._idle_seconds:g}"
            )
        self._ledger.tick()

    def _note(self, seconds: float) -> None:
        with contextlib.suppress(OSError):
            if (begun := self._begun()) is not None:
                self._facts.replace(msgspec.structs.replace(begun, idle=seconds))

    def _begun(self) -> _BegunUpload | None:
        """The upload that the file begins; None: none. Raises ShortageError: not known just now."""
        with contextlib.suppress(RecordError):
            return self._facts.read()
        return None

    def _done(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0

    def _append(self, chunk: Chunk, done: int) -> int:
        if done + len(chunk.data) > chunk.size:
            raise DownloadError(
                f"{len(chunk.data)} bytes at {done} go beyond the size of {chunk.size}"
            )
        with open(self.file, "ab") as file:
            try:
                file.write(chunk.data)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    os.truncate(self.file, done)
                raise
        return done + len(chunk.data)

    def _check(self, begun: _BegunUpload) -> None:
        with open(self.file, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != begun.sha256:
            self.file.unlink()
            raise DownloadError(
                f"what came has SHA-256 {found}, not {begun.sha256}; it is dropped, send it again"
            )
