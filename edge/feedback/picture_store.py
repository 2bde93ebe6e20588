"""Pictures kept on disk with what the model made of them: bounded, the least useful go first.

Two files an item, ``20260621T093012Z_unknown_c0ffee5eed12ab34.jpg`` and ``....json`` beside it,
which turns into ``....sent.json`` once the broker acknowledged the thumbnail. The JSON is written
last and removed first, so an item is there when its JSON is; what a power cut left of another is
cleared away at the start. Files with other names are nobody's business here.
"""

from __future__ import annotations

import contextlib
import os
import re
from bisect import bisect_left, insort
from collections.abc import Iterable
from pathlib import Path

import msgspec

from edge.errors import PictureStoreError, ShortageError, os_errors_as
from edge.feedback.selection import USEFULNESS
from edge.messages.base import encode
from edge.messages.feedback import InboxItem, Kept
from edge.system.files import read_whole, sync_folder, write_whole
from edge.system.record_file import read_json

_NAME = re.compile(
    r"(?P<stem>\d{8}T\d{6}Z_(?P<kept>[a-z-]+)_(?P<id>[0-9a-f]{16}))"
    r"\.(?P<end>jpg|json|sent\.json|jpg\.new|json\.new)"
)


class KeptPicture(msgspec.Struct, frozen=True):
    """What is known of an item without opening it."""

    id: str
    kept: Kept
    stem: str
    """File name without its ending; sorts by time."""
    bytes: int
    """Of both files."""
    sent: bool = False


_Key = tuple[bool, int, str]
_UNSENT: _Key = (True, 0, "")


def uselessness(entry: KeptPicture) -> _Key:
    """Sort key of what goes first when there is no room.

    What was sent goes before what was not: its thumbnail is safe elsewhere. Then by
    :data:`~edge.feedback.selection.USEFULNESS`, then the oldest.
    """
    return (not entry.sent, USEFULNESS.index(entry.kept), entry.stem)


def _id(key: _Key) -> str:
    return key[2].rpartition("_")[2]


class PictureStore:
    """The folder. Use it from one thread; :meth:`read` may be called from others.

    Raises:
        PictureStoreError: the folder cannot be made or read.
    """

    def __init__(self, folder: Path, max_bytes: int, min_free_bytes: int = 0) -> None:
        self.folder, self.max_bytes, self.min_free_bytes = folder, max_bytes, min_free_bytes
        self.dropped = 0
        """Dropped for lack of space since the start."""
        what = f"cannot use the folder {folder} for pictures to learn from"
        cure = "; set inbox.folder to one that this user may write"
        with os_errors_as(PictureStoreError, what, cure):
            folder.mkdir(parents=True, exist_ok=True)
            self._entries = {entry.id: entry for entry in _tidy(folder)}
        self._order = sorted(uselessness(entry) for entry in self._entries.values())
        """Keys of all entries, what goes first at the front: a folder may hold many."""
        self.bytes = sum(entry.bytes for entry in self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, item: InboxItem, jpeg: bytes) -> bool:
        """Write an item durably; False where all that is kept already is worth more.

        Raises:
            PictureStoreError: the disk refuses, or has too little left; nothing is kept.
        """
        sidecar = encode(item)
        stem = f"{item.time:%Y%m%dT%H%M%SZ}_{item.kept}_{item.id}"
        entry = KeptPicture(item.id, item.kept, stem, len(jpeg) + len(sidecar))
        try:
            self._check_disk(entry.bytes)
            if not self._make_room(entry):
                return False
            write_whole(self._jpg(entry), jpeg)
            write_whole(self._json(entry), sidecar)
            sync_folder(self.folder)
        except OSError as error:
            self._remove(entry)
            if isinstance(error, PictureStoreError):
                raise
            raise PictureStoreError(
                f"cannot keep a picture in {self.folder}: {error.strerror or error}"
            ) from error
        self._entries[entry.id] = entry
        insort(self._order, uselessness(entry))
        self.bytes += entry.bytes
        return True

    @property
    def unsent(self) -> int:
        """How many items were not sent yet."""
        return len(self._order) - bisect_left(self._order, _UNSENT)

    def oldest_unsent(self, kept: Kept) -> KeptPicture | None:
        """The oldest item of a reason that was not sent yet."""
        first = (True, USEFULNESS.index(kept), "")
        at = bisect_left(self._order, first)
        if at == len(self._order) or self._order[at][:2] != first[:2]:
            return None
        return self._entries[_id(self._order[at])]

    def read(self, id: str) -> tuple[InboxItem, bytes]:
        """Read an item and its JPEG.

        Raises:
            PictureStoreError: there is none with this id, or its files cannot be read.
            ShortageError: they cannot be opened just now.
        """
        entry = self._entries.get(id)
        if entry is None:
            raise PictureStoreError(f"no picture {id} is kept here")
        try:
            item = read_json(self._json(entry), InboxItem)
            return item, read_whole(self._jpg(entry))
        except ShortageError:
            raise
        except (OSError, msgspec.MsgspecError) as error:
            raise PictureStoreError(f"the picture {id} cannot be read: {error}") from error

    def mark_sent(self, id: str) -> None:
        """Note that an item was acknowledged. A power cut may forget it: it is then sent again."""
        entry = self._entries.get(id)
        if entry is None or entry.sent:
            return
        done = msgspec.structs.replace(entry, sent=True)
        with contextlib.suppress(OSError):
            os.replace(self._json(entry), self._json(done))
        self._entries[id] = done
        self._forget(entry)
        insort(self._order, uselessness(done))

    def drop(self, id: str) -> None:
        """Drop an item, and count it."""
        entry = self._entries.pop(id, None)
        if entry is not None:
            self._forget(entry)
            self.bytes -= entry.bytes
            self.dropped += 1
            self._remove(entry)

    def _make_room(self, new: KeptPicture) -> bool:
        while self.bytes + new.bytes > self.max_bytes:
            if not self._order or uselessness(new) < self._order[0]:
                self.dropped += 1
                return False
            self.drop(_id(self._order[0]))
        return True

    def _forget(self, entry: KeptPicture) -> None:
        del self._order[bisect_left(self._order, uselessness(entry))]

    def _check_disk(self, wanted: int) -> None:
        disk = os.statvfs(self.folder)
        free = disk.f_bavail * disk.f_frsize
        if free - wanted < self.min_free_bytes:
            raise PictureStoreError(
                f"{free:,} bytes are free where {self.folder} is, {self.min_free_bytes:,} are for "
                "sightings (inbox.min_free_bytes); no picture is kept until there is room"
            )

    def _remove(self, entry: KeptPicture) -> None:
        for path in (self._json(entry), self._jpg(entry)):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _jpg(self, entry: KeptPicture) -> Path:
        return self.folder / f"{entry.stem}.jpg"

    def _json(self, entry: KeptPicture) -> Path:
        return self.folder / f"{entry.stem}{'.sent' if entry.sent else ''}.json"


def _tidy(folder: Path) -> Iterable[KeptPicture]:
    """Return the complete items of a folder; remove what is left of others."""
    found: dict[str, dict[str, os.DirEntry[str]]] = {}
    with os.scandir(folder) as files:
        for file in files:
            if (match := _NAME.fullmatch(file.name)) and match["kept"] in USEFULNESS:
                found.setdefault(match["stem"], {})[match["end"]] = file
    for stem, ends in found.items():
        sidecar = ends.get("sent.json") or ends.get("json")
        whole = "jpg" in ends and sidecar is not None
        for end, file in ends.items():
            if end.endswith(".new") or not whole:
                os.unlink(file.path)
        if whole and sidecar is not None:
            _, kept, id = stem.split("_")
            size = ends["jpg"].stat().st_size + sidecar.stat().st_size
            yield KeptPicture(id, kept, stem, size, "sent.json" in ends)  # type: ignore[arg-type]
