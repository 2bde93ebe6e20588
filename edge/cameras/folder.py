"""The replay camera: picture files in order. Every frame is delivered; none is left out."""

from __future__ import annotations

import errno
import glob
import logging
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from edge.cameras import Frame
from edge.cameras.photo import Facts, as_jpeg, facts
from edge.config import FolderCamera, View
from edge.errors import CameraError, ImageError, ShortageError, os_errors_as
from edge.model.image.picture_files import is_hidden, is_picture, list_pictures
from edge.model.image.preprocessing import InputSpec
from edge.model.tiles import see
from edge.system.files import read_whole

log = logging.getLogger(__name__)

MOST_BYTES = 600_000_000
"""Of a picture's file: the most pixels that are taken, three colours of 16 bits uncompressed."""


class Folder:
    """Replays a folder (with subfolders), one file, or a glob pattern.

    Of a folder, what :mod:`edge.model.image.picture_files` calls a picture; the log says what is
    left out.

    Raises:
        CameraError: nothing is there.
    """

    live = False

    def __init__(
        self,
        config: FolderCamera,
        spec: InputSpec,
        view: View = View(),  # noqa: B008 - frozen
        time_zone: str | None = None,
    ) -> None:
        self._zone = ZoneInfo(time_zone) if time_zone else None
        self._config, self._spec, self._view = config, spec, view
        self._root, self._files, notes = find(config.path)
        for note in notes:
            log.warning("camera.path: %s: %s", config.path, note)
        if config.order == "time":
            self._files.sort(key=lambda file: (modified(file), file))
        self._next = 0
        self._odd = Counter[str]()
        rate = config.frames_per_second
        self.interval_seconds = 1 / rate if rate else 0.0

    def __len__(self) -> int:
        return len(self._files)

    def capture(self) -> Frame | None:
        """Return the next picture. Raises ImageError; CameraError where the folder is gone."""
        if self._next >= len(self._files):
            if not self._config.loop:
                return None
            self._next = 0
        file = self._files[self._next]
        self._next += 1
        try:
            return self._frame(file)
        except (ImageError, CameraError, ShortageError):
            raise
        except Exception as error:  # memory, or what no decoder should raise: this picture's fault
            raise ImageError(f"{file}: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _facts(self, file: Path, data: bytes) -> Facts:
        """Read the header; what its time is wrong by matters only where it is used."""
        known = facts(data, self._zone)
        odd = list(known.odd_place)
        if self._config.time == "exif":
            odd += known.odd_time
            if known.time is None:
                odd.append("it does not say when it was taken; the time of reading counts")
        for text in odd:
            self._say(file, text)
        return known

    def _say(self, file: Path, text: str) -> None:
        """Log what is odd about a picture; of many alike the 1st, 10th, 100th and so on."""
        self._odd[text] += 1
        count = self._odd[text]
        if count == 10 ** (len(str(count)) - 1):
            log.warning("%s: %s (%d such pictures so far)", file, text, count)

    def _frame(self, file: Path) -> Frame:
        try:
            data = read_whole(file, MOST_BYTES)
        except ShortageError:  # the picture is not at fault, and comes again
            self._next -= 1
            raise
        except OSError as error:
            if why := _away(self._root):  # a stick pulled out: its pictures are not bad ones
                raise CameraError(f"camera.path: {self._root} has vanished: {why}") from error
            cure = "; scale the picture down first" if error.errno == errno.EFBIG else ""
            raise ImageError(f"cannot read {file}: {error.strerror or error}{cure}") from error
        try:
            known = self._facts(file, data)
            pixels = see(data, self._spec, self._view, lambda text: self._say(file, text))
        except ImageError as error:
            raise ImageError(f"{file}: {error}") from error
        taken = known.time if self._config.time == "exif" else None
        return Frame(
            pixels=pixels,
            time=taken or datetime.now(UTC),
            source=file.relative_to(self._root).as_posix(),
            width=known.width,
            height=known.height,
            jpeg=lambda: as_jpeg(data),
            location=known.location,
            recorded=taken is not None,
        )


def find(path: Path) -> tuple[Path, list[Path], tuple[str, ...]]:
    """Return the folder that names are relative to, the pictures by name, and what is left out.

    Raises CameraError.
    """
    cure = "; check that the disk is there and that this user may read it"
    with os_errors_as(CameraError, f"camera.path: cannot look at {path}", cure):
        return _find(path)


def _away(folder: Path) -> str | None:
    """Why a folder is not there, or cannot be read any more; None: it can."""
    try:
        os.scandir(folder).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def modified(file: Path) -> float:
    """When a file was written; one that was deleted meanwhile sorts first, and is logged."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _find(path: Path) -> tuple[Path, list[Path], tuple[str, ...]]:
    if path.is_file():
        return path.parent, [path], ()
    if path.is_dir():
        with os_errors_as(CameraError, f"camera.path: cannot list {path}"):
            listing = list_pictures(path)
        root, files, notes = path, [path / name for name in listing.pictures], listing.notes()
    elif glob.has_magic(str(path)):
        root, files, notes = _match(path)
    else:
        raise CameraError(f"camera.path: there is no {path}; give a folder, a file or a pattern")
    if not files:
        left_out = f" ({'; '.join(notes)})" if notes else ""
        raise CameraError(
            f"camera.path: no picture in {path}{left_out}; put some there or change the path"
        )
    return root, sorted(files), notes


def _match(pattern: Path) -> tuple[Path, list[Path], tuple[str, ...]]:
    """Find what a pattern means. A suffix that it names is taken, whatever the rule says."""
    plain = [part for part in pattern.parts if not glob.has_magic(part)]
    root = Path(*pattern.parts[: len(plain)])
    while not root.is_dir():
        root = root.parent
    any_suffix = pattern.suffix in ("", ".*")
    files, left_out = [], 0
    for file in map(Path, glob.glob(str(pattern), recursive=True)):
        if not file.is_file():
            continue
        hidden = any(is_hidden(part) and part not in plain for part in file.parts)
        if hidden or (any_suffix and not is_picture(file)):
            left_out += 1
        else:
            files.append(file)
    matched = f"{left_out} matching {'file is' if left_out == 1 else 'files are'}"
    notes = (f"{matched} hidden or no picture, not used",) if left_out else ()
    return root, files, notes
