"""Dead letters: messages that the broker does not take, kept so that a person can look at them.

Each is a file of its own beside the outbox: a line of JSON that says what it is, then the payload.
They are bounded in bytes; beyond, the oldest pictures go first, and sightings last. One that is
released goes to the end of the outbox as it was, with its `id` and `seq`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import zlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from edge.errors import OutboxError
from edge.files import sync_folder, write_whole
from edge.outbox_rows import Kind, Row

log = logging.getLogger(__name__)

MAX_BYTES = 16_000_000
_SUFFIX = ".letter"


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a message that was set aside."""

    id: str = ""
    """By which it is released or discarded."""
    topic: str
    """Below ``wheatear/<device>/``."""
    kind: str
    """``sighting``, ``image`` or ``health``."""
    bytes: int
    time: datetime
    """Of the message."""
    set_aside: datetime
    """When it became a dead letter, by the clock of the device."""
    why: str


class DeadLetters:
    """A folder of messages that cannot be delivered; safe to use from several threads.

    The folder is made with the first of them. What cannot be read is left alone and named in the
    log.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self.dropped = 0
        """Given up for want of space since the start."""
        self._lock = threading.Lock()
        self._held: dict[str, DeadLetter] = {}
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            with contextlib.suppress(OutboxError):
                self._held[path.stem] = self._read(path)[0]

    def __len__(self) -> int:
        return len(self._held)

    @property
    def held_bytes(self) -> int:
        """The payloads together."""
        return sum(letter.bytes for letter in self.held())

    def held(self) -> tuple[DeadLetter, ...]:
        """Give what is known of each, oldest first."""
        with self._lock:
            return tuple(self._held[id] for id in sorted(self._held))

    def add(self, row: Row, why: str, now: datetime) -> DeadLetter:
        """Write one, durably. The same row again replaces it. Raises OSError: it is not there."""
        letter = DeadLetter(
            topic=row.topic,
            kind=row.kind.name.lower(),
            bytes=len(row.payload),
            time=datetime.fromtimestamp(row.time_ms / 1000, UTC),
            set_aside=now,
            why=why,
        )
        with self._lock:
            id = f"{row.row:012d}-{zlib.crc32(row.payload):08x}"
            self.folder.mkdir(parents=True, exist_ok=True)
            head = msgspec.json.encode(letter)
            write_whole(self._path(id), head + b"\n" + row.payload)
            sync_folder(self.folder)
            letter = self._held[id] = msgspec.structs.replace(letter, id=id)
            self._keep_within()
        return letter

    def release(self, ids: Iterable[str], put: Callable[[Row], object]) -> int:
        """Hand letters to `put`, oldest first, and remove them; an unknown id is passed over.

        Give how many. A power cut in between leaves a letter here that was put already: it may be
        sent twice, never not at all. Raises OSError, and what `put` raises.
        """
        count = 0
        for id in sorted(set(ids)):
            with self._lock:
                if id not in self._held:
                    continue
                letter, payload = self._read(self._path(id))
                kind = Kind[letter.kind.upper()]
                time_ms = round(letter.time.timestamp() * 1000)
                put(Row(0, kind, letter.topic, payload, time_ms))
                self._remove(id)
                count += 1
        return count

    def discard(self, ids: Iterable[str]) -> int:
        """Delete letters for good; give how many there were. Raises OSError."""
        with self._lock:
            known = [id for id in dict.fromkeys(ids) if id in self._held]
            for id in known:
                self._remove(id)
        return len(known)

    def summary(self) -> str | None:
        """Say what is set aside, in words; None: nothing is."""
        letters = self.held()
        if not letters:
            return None
        first = ", ".join(f"{one.topic} ({one.bytes} bytes): {one.why}" for one in letters[:3])
        more = f", and {len(letters) - 3} more" if len(letters) > 3 else ""
        return (
            f"{len(letters)} set aside because the broker does not take them: {first}{more}. "
            "Look at them, then release or discard them: wheatear outbox"
        )

    def _keep_within(self) -> None:
        """Drop the least important, oldest first; the newest of a kind stays as long as it can."""
        order = sorted(self._held, key=lambda id: (Kind[self._held[id].kind.upper()], id))
        used = sum(letter.bytes for letter in self._held.values())
        for id in order:
            if used <= self.max_bytes:
                return
            used -= self._held[id].bytes
            self._remove(id)
            self.dropped += 1

    def _remove(self, id: str) -> None:
        self._path(id).unlink(missing_ok=True)
        sync_folder(self.folder)
        self._held.pop(id)

    def _path(self, id: str) -> Path:
        return self.folder / f"{id}{_SUFFIX}"

    def _read(self, path: Path) -> tuple[DeadLetter, bytes]:
        """Read a file. Raises OutboxError: it holds no letter."""
        try:
            head, _, payload = path.read_bytes().partition(b"\n")
            letter = msgspec.json.decode(head, type=DeadLetter)
            if letter.kind.upper() not in Kind.__members__ or letter.bytes != len(payload):
                raise ValueError("its head does not fit its payload")
        except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
            log.warning("%s is no dead letter: %s", path, error)
            raise OutboxError(f"{path} is no dead letter: {error}; remove it") from error
        return msgspec.structs.replace(letter, id=path.stem), payload
