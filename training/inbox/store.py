"""The folder of collected pictures: each once, whole, with what the camera said of it.

::

    OUT/images/DEVICE/ID.jpg    as received
    OUT/meta/DEVICE/ID.json     as received
    OUT/labels.csv              file,label,group and what may help to label; your labels stay
    OUT/label-studio.json       tasks with the model's proposals
    OUT/index.html              the newest of each reason, to look at
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from edge.errors import DataError, ImageError
from edge.messages.feedback import InboxItem
from edge.model.image.preprocessing import decode
from edge.system.files import write_whole
from edge.text.refusals import refusal

_ID = re.compile(r"[0-9a-f]{16}")
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Record(NamedTuple):
    """One collected picture."""

    item: InboxItem

    @property
    def file(self) -> str:
        """Path below the folder, with forward slashes."""
        return f"images/{self.item.device}/{self.item.id}.jpg"

    @property
    def proposal(self) -> str:
        """The class the model holds most likely, whether or not it dared to say so."""
        return next(iter(self.item.probabilities), "")

    @property
    def group(self) -> str:
        """What must stay on one side of a split: a camera's pictures of one day (UTC).

        Where its clock was not set, days mean nothing: those of one start of the computer.
        """
        item = self.item
        if item.clock == "unsynced":
            return f"{item.device}/boot-{item.boot}"
        return f"{item.device}/{item.time:%Y-%m-%d}"


class Store:
    """Takes the two messages of each picture in any order, any number of times.

    Raises:
        DataError: the folder cannot be made, or a file in it was damaged.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            for name in ("images", "meta"):
                (root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"cannot make the folder {root}: {error.strerror or error}") from error
        self._records = {record.item.id: record for record in self._whole()}

    @property
    def records(self) -> list[Record]:
        """Whole pictures by device and time."""
        return sorted(
            self._records.values(), key=lambda one: (one.item.device, one.item.time, one.item.id)
        )

    def __len__(self) -> int:
        return len(self._records)

    def take(self, topic: str, payload: bytes) -> Record | None:
        """Write what came on ``.../DEVICE/inbox/ID[/meta]``; give the record this made whole.

        Raises:
            DataError: no message of ours, or damaged; nothing was written.
        """
        parts = topic.split("/")
        about = parts[-1] == "meta"
        device, word, id = parts[-4:-1] if about else parts[-3:]
        if word != "inbox" or not _ID.fullmatch(id) or not _DEVICE.fullmatch(device):
            raise DataError(f"{topic}: not a topic of an inbox")
        if id in self._records:
            return None
        if about:
            item = _parse(payload, topic)
            if (item.device, item.id) != (device, id):
                raise DataError(f"{topic}: it says it is {item.device}/{item.id}")
            self._write(self._meta(device, id), payload)
        else:
            _check_jpeg(payload, topic)
            self._write(self._image(device, id), payload)
        return self._complete(device, id)

    def _complete(self, device: str, id: str) -> Record | None:
        """The record, if both its files are there and belong together; None else."""
        image, meta = self._image(device, id), self._meta(device, id)
        if not (image.exists() and meta.exists()):
            return None
        item = _parse(meta.read_bytes(), str(meta))
        if hashlib.sha256(image.read_bytes()).hexdigest() != item.picture.sha256:
            # Whichever came last is right; the other is of an earlier, smaller thumbnail.
            min((image, meta), key=lambda path: path.stat().st_mtime_ns).unlink()
            return None
        self._records[id] = Record(item)
        return self._records[id]

    def _whole(self) -> Iterator[Record]:
        for meta in sorted((self.root / "meta").glob("*/*.json")):
            if self._image(meta.parent.name, meta.stem).exists():
                yield Record(_parse(meta.read_bytes(), str(meta)))

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(exist_ok=True)
        write_whole(path, data)

    def _image(self, device: str, id: str) -> Path:
        return self.root / "images" / device / f"{id}.jpg"

    def _meta(self, device: str, id: str) -> Path:
        return self.root / "meta" / device / f"{id}.json"


def _parse(payload: bytes, where: str) -> InboxItem:
    try:
        return msgspec.json.decode(payload, type=InboxItem)
    except msgspec.MsgspecError as error:
        raise DataError(f"{where}: {refusal(error)}") from error


def _check_jpeg(payload: bytes, where: str) -> None:
    try:
        decode(payload)
    except ImageError as error:
        raise DataError(f"{where}: {error}") from error
