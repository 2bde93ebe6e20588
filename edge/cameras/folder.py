"""The replay camera: picture files in order. Every frame is delivered; none is left out."""

from __future__ import annotations

import glob
from datetime import UTC, datetime
from pathlib import Path

from edge.cameras import Frame, see
from edge.cameras.photo import Facts, as_jpeg, facts
from edge.config import FolderCamera, View
from edge.errors import CameraError, ImageError
from edge.image import InputSpec

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".avif")
)


class Folder:
    """Replays a folder (with subfolders), one file, or a glob pattern.

    Raises:
        CameraError: nothing is there.
    """

    live = False

    def __init__(
        self,
        config: FolderCamera,
        spec: InputSpec,
        view: View = View(),  # noqa: B008 - frozen
    ) -> None:
        self._config, self._spec, self._view = config, spec, view
        self._root, self._files = find(config.path)
        if config.order == "time":
            self._files.sort(key=lambda file: (file.stat().st_mtime, file))
        self._next = 0
        rate = config.frames_per_second
        self.interval_seconds = 1 / rate if rate else 0.0

    def __len__(self) -> int:
        return len(self._files)

    def capture(self) -> Frame | None:
        """Give the next picture. Raises ImageError; CameraError where the folder is gone."""
        if self._next >= len(self._files):
            if not self._config.loop:
                return None
            self._next = 0
        file = self._files[self._next]
        self._next += 1
        return self._frame(file)

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _frame(self, file: Path) -> Frame:
        try:
            data = file.read_bytes()
        except OSError as error:
            if not self._root.is_dir():  # a stick pulled out: its pictures are not bad ones
                raise CameraError(f"camera.path: {self._root} has vanished") from error
            raise ImageError(f"cannot read {file}: {error.strerror or error}") from error
        try:
            known: Facts = facts(data)
            pixels = see(data, self._spec, self._view)
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


def find(path: Path) -> tuple[Path, list[Path]]:
    """Give the folder that names are relative to, and the picture files, sorted by name.

    Raises CameraError.
    """
    if path.is_file():
        return path.parent, [path]
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES]
        root = path
    elif glob.has_magic(str(path)):
        files = [Path(name) for name in glob.glob(str(path), recursive=True)]
        plain = [part for part in path.parts if not glob.has_magic(part)]
        root = Path(*path.parts[: len(plain)])
        while not root.is_dir():
            root = root.parent
    else:
        raise CameraError(f"camera.path: there is no {path}; give a folder, a file or a pattern")
    files = sorted(file for file in files if file.is_file())
    if not files:
        raise CameraError(f"camera.path: no picture in {path}; put some there or change the path")
    return root, files
