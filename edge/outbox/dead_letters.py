"""Dead letters: messages that the broker does not take, kept so that a person can look at them.

Each is a file of its own beside the outbox: a line of JSON that says what it is, then the payload.
They are bounded in bytes; beyond, the oldest pictures go first, and sightings last. To release one
its file is renamed, by whatever program; the device finds it, and it goes to the end of the outbox
as it was, with its `id` and `seq`.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
import zlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from edge.errors import OutboxError
from edge.messages.verbs import DeadLetter
from edge.outbox.rows import Kind, Row
from edge.system.files import read_whole, sync_folder, write_whole
from edge.text.json_text import from_json
from edge.text.printable import encoded

log = logging.getLogger(__name__)

MAX_BYTES = 16_000_000
FOLDER = "dead-letters"
"""Its name, beside the outbox."""
_HELD, _RELEASED = ".letter", ".release"
_NO_LETTER = (errno.EINVAL, errno.EFBIG)
"""What reading says of a pipe or a folder, and of a file that is too large; all else is said of the
disk, or of this user's rights."""


class _Numbered(msgspec.Struct):
    seq: int | None = None


class DeadLetters:
    """A folder of messages that cannot be delivered; safe to use from several threads, and beside
    another program that releases or discards some.

    The folder is made with the first of them. A file that holds no letter is left alone, and named
    in the log once.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self.dropped = 0
        """Dropped for lack of space since the start."""
        self._lock = threading.Lock()
        self._known: dict[str, DeadLetter] = {}
        self._strange: set[str] = set()
        self._seen: int | None = None

    def __len__(self) -> int:
        return len(self.held())

    def changed(self) -> bool:
        """Whether the folder changed since the last call, by whatever program."""
        try:
            now = self.folder.stat().st_mtime_ns
        except OSError:
            now = None
        self._seen, before = now, self._seen
        return now != before

    def held(self) -> tuple[DeadLetter, ...]:
        """What is known of each message set aside, oldest first."""
        with self._lock:
            return tuple(self._look())

    def add(self, row: Row, why: str, now: datetime) -> None:
        """Write one, durably. The same row again replaces it. Raises OSError: it is not there."""
        letter = DeadLetter(
            id=f"{row.row:012d}-{zlib.crc32(row.payload):08x}",
            topic=row.topic,
            kind=row.kind.name.lower(),
            seq=_seq(row),
            bytes=len(row.payload),
            time=datetime.fromtimestamp(row.time_ms / 1000, UTC),
            set_aside=now,
            why=why,
        )
        self._write(letter, row.payload)

    def keep(self, what: object, why: str, now: datetime) -> None:
        """Write down what cannot be made a message, as Python shows it. Raises OSError."""
        shown = _shown(what).encode(errors="backslashreplace")
        letter = DeadLetter(
            id=f"{0:012d}-{zlib.crc32(shown):08x}",
            topic="sighting",
            kind="sighting",
            bytes=len(shown),
            time=now,
            set_aside=now,
            why=why,
            sendable=False,
        )
        self._write(letter, shown)

    def _write(self, letter: DeadLetter, payload: bytes) -> None:
        with self._lock:
            self.folder.mkdir(parents=True, exist_ok=True)
            head = encoded(letter)
            write_whole(self._path(letter.id), head + b"\n" + payload)
            sync_folder(self.folder)
            self._keep_within()

    def release(self, ids: Iterable[str]) -> int:
        """Let the device send letters again; give how many there were that can be sent.

        Raises OSError.
        """
        sendable = {letter.id for letter in self.held() if letter.sendable}
        return self._each(
            (id for id in ids if id in sendable),
            lambda id: os.replace(self._path(id), self._path(id).with_suffix(_RELEASED)),
        )

    def discard(self, ids: Iterable[str]) -> int:
        """Delete letters for good; give how many there were. Raises OSError."""
        return self._each(ids, lambda id: self._path(id).unlink())

    def collect(self, put: Callable[[Row], object]) -> int:
        """Hand what was released to `put`, oldest first, and remove it; give how many.

        A power cut in between leaves one here that was put already: it may be sent twice, never not
        at all. What cannot be read holds no other up. Raises OSError, and what `put` raises.
        """
        count, unread = 0, None
        with self._lock:
            for path in sorted(self.folder.glob(f"*{_RELEASED}")):
                try:
                    letter, payload = self._read(path)
                except OutboxError:
                    continue  # named in the log
                except OSError as error:
                    unread = error
                    continue
                time_ms = round(letter.time.timestamp() * 1000)
                put(Row(0, Kind[letter.kind.upper()], letter.topic, payload, time_ms))
                path.unlink()
                count += 1
        if unread is not None:
            raise unread
        return count

    def summary(self) -> str | None:
        """In words, how many messages are set aside; None: none is."""
        letters = self.held()
        if not letters:
            return None
        first = "; ".join(str(one) for one in letters[:3])
        more = f"; and {len(letters) - 3} more" if len(letters) > 3 else ""
        them = "it" if len(letters) == 1 else "them"
        return (
            f"{len(letters)} set aside because the broker does not take {them}: {first}{more}. "
            "Look at them, then release or discard them (wheatear outbox, or the requests "
            "outbox/...)"
        )

    def _each(self, ids: Iterable[str], change: Callable[[str], object]) -> int:
        with self._lock:
            known = {letter.id for letter in self._look()}
            found = [id for id in dict.fromkeys(ids) if id in known]
            for id in found:
                change(id)
            if found:
                sync_folder(self.folder)
        return len(found)

    def _look(self) -> list[DeadLetter]:
        """Read the folder as it is now; each file is read once only."""
        paths = sorted(self.folder.glob(f"*{_HELD}"))
        for path in paths:
            if path.stem not in self._known:
                with contextlib.suppress(OSError):  # named in the log, or not to be read just now
                    self._known[path.stem] = self._read(path)[0]
        self._known = {
            path.stem: self._known[path.stem] for path in paths if path.stem in self._known
        }
        return list(self._known.values())

    def _keep_within(self) -> None:
        """Drop pictures first, then health, then sightings, the oldest of each first."""
        letters = self._look()
        used = sum(letter.bytes for letter in letters)
        for letter in sorted(letters, key=lambda one: (Kind[one.kind.upper()], one.id)):
            if used <= self.max_bytes:
                return
            used -= letter.bytes
            self._path(letter.id).unlink()
            self.dropped += 1
            log.warning("no room for this dead letter: %s", letter)

    def _path(self, id: str) -> Path:
        return self.folder / f"{id}{_HELD}"

    def _read(self, path: Path) -> tuple[DeadLetter, bytes]:
        """Read a file. Raises OutboxError: it holds no letter; OSError: it cannot be read."""
        try:
            head, _, payload = read_whole(path).partition(b"\n")
            letter = from_json(head, _letter)
            if letter.kind.upper() not in Kind.__members__ or letter.bytes != len(payload):
                raise ValueError("its first line does not fit its payload")
        except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
            if isinstance(error, OSError) and error.errno not in _NO_LETTER:
                raise
            if path.name not in self._strange:
                self._strange.add(path.name)
                log.warning("%s is not a dead letter: %s; remove it", path, error)
            raise OutboxError(f"{path} is not a dead letter: {error}; remove it") from error
        return msgspec.structs.replace(letter, id=path.stem), payload


_letter = msgspec.json.Decoder(DeadLetter)
_numbered = msgspec.json.Decoder(_Numbered)


def _shown(what: object) -> str:
    """Show a message as Python does; of one that cannot be shown, each field that can."""
    try:
        return repr(what)
    except Exception as error:  # such as a number with too many digits
        name, fields = type(what).__name__, getattr(what, "__struct_fields__", ())
        if not fields:
            return f"<{name}: {type(error).__name__}>"
        shown = (f"{field}={_shown(getattr(what, field))}" for field in fields)
        return f"{name}({', '.join(shown)})"


def _seq(row: Row) -> int | None:
    if row.kind is not Kind.SIGHTING:
        return None
    try:
        return from_json(row.payload, _numbered).seq
    except msgspec.DecodeError:
        return None
