"""Which files of a folder are pictures: one rule for training, replay and ``wheatear classify``.

A picture is a visible file with a suffix of :data:`SUFFIXES`, in any case of letters. Names that
begin with a dot are hidden (also macOS's ``._`` twins, ``.thumbnails``, ``.Trash``), and so are
the :data:`SYSTEM_NAMES` that systems, servers and cameras put beside pictures. Whatever else is
there is left out and told: :meth:`Listing.notes`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

import msgspec

from edge.errors import ConfigError, os_errors_as

_PICTURES = """
.jpg .jpeg .jpe .jif .jfif .mpo .png .apng .bmp .dib .webp .tif .tiff .gif .avif .avifs
.ppm .pgm .pbm .pnm .jp2 .j2k .j2c .jpc .jpf .jpx .tga .pcx .psd .sgi .qoi
"""
_HEIC = ".heic .heif .hif"
_RAW = ".dng .raw .cr2 .cr3 .nef .nrw .arw .srf .sr2 .orf .rw2 .raf .pef .srw .x3f"
_SYSTEM = """
thumbs.db desktop.ini __macosx @eadir #recycle #snapshot $recycle.bin recycler recycled
lost+found lost.dir
"""

SUFFIXES = frozenset(_PICTURES.split())
"""Of picture formats that Pillow reads, in small letters."""

UNREADABLE = {
    **dict.fromkeys(_HEIC.split(), "HEIC"),
    **dict.fromkeys(_RAW.split(), "raw"),
    ".jxl": "JPEG XL",
}
"""Suffixes of photos that cannot be read here, and what the format is called."""

SYSTEM_NAMES = frozenset((*_SYSTEM.split(), "system volume information"))
"""Files and folders, in small letters, that hold no pictures of anybody's, or copies."""


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """The pictures below a folder, and what else is there."""

    pictures: tuple[str, ...]
    """Paths below the folder with forward slashes, sorted by name, folder by folder."""
    unreadable: tuple[str, ...] = ()
    """Photos in formats that cannot be read here."""
    others: tuple[str, ...] = ()
    """Files that are no pictures."""
    hidden: tuple[str, ...] = ()
    """Hidden files and folders; nobody looked inside."""
    closed: tuple[str, ...] = ()
    """Folders that could not be listed, and links to nothing."""

    def notes(self) -> tuple[str, ...]:
        """What is left out, one sentence for each reason; empty where nothing is."""
        notes = []
        formats = Counter(UNREADABLE[_suffix(name)] for name in self.unreadable)
        if formats:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(formats.items()))
            notes.append(
                f"{_files(len(self.unreadable), 'photo')} in a format that cannot be read here "
                f"({kinds}), not used: {_some(self.unreadable)}; save them as JPEG"
            )
        if self.closed:
            notes.append(f"cannot be opened, not used: {_some(self.closed)}")
        if self.hidden:
            what = _files(len(self.hidden), "hidden file or folder", "hidden files and folders")
            notes.append(f"{what}, not used: {_some(self.hidden)}")
        if self.others:
            what = _files(len(self.others), "file", "files")
            notes.append(f"{what} without a picture's suffix, not used: {_some(self.others)}")
        return tuple(notes)


def is_picture(name: str | PurePath) -> bool:
    """Whether a file's name has the suffix of a picture that can be read here."""
    return _suffix(name) in SUFFIXES


def is_unreadable(name: str | PurePath) -> bool:
    """Whether a file's name has the suffix of a photo that cannot be read here."""
    return _suffix(name) in UNREADABLE


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name (without its path) is hidden."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def list_pictures(root: Path) -> Listing:
    """Look through a folder and all below; follows links, each real folder once.

    A folder inside that cannot be listed is left out and told.

    Raises:
        OSError: ``root`` itself cannot be listed.
    """
    found: dict[str, list[str]] = {
        kind: [] for kind in ("pictures", "unreadable", "others", "hidden", "closed")
    }
    os.scandir(root).close()
    for kind, name in _walk(root, "", set()):
        found[kind].append(name)
    return Listing(**{kind: tuple(names) for kind, names in found.items()})


def in_folders(paths: Iterable[str]) -> tuple[list[str], list[str]]:
    """Replace folders by the pictures below them; return all files, and notes on what is left out.

    Raises:
        ConfigError: a folder cannot be listed, or holds no picture.
    """
    files, notes = [], []
    for path in paths:
        if not os.path.isdir(path):
            files.append(path)
            continue
        with os_errors_as(ConfigError, f"{path}: cannot be listed"):
            listing = list_pictures(Path(path))
        if not listing.pictures:
            raise ConfigError("; ".join((f"{path}: no picture there", *listing.notes())))
        files += [os.path.join(path, name) for name in listing.pictures]
        notes += [f"{path}: {note}" for note in listing.notes()]
    return files, notes


def _walk(folder: Path, prefix: str, visited: set[str]) -> Iterator[tuple[str, str]]:
    real = os.path.realpath(folder)
    if real in visited:
        return
    visited.add(real)
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        yield "closed", prefix
        return
    for entry in entries:
        name = prefix + entry.name
        if is_hidden(entry.name):
            yield "hidden", name
        elif _leads_nowhere(entry):
            yield "closed", name
        elif entry.is_dir():
            yield from _walk(folder / entry.name, f"{name}/", visited)
        elif not entry.is_file():
            yield "others", name
        elif is_picture(name):
            yield "pictures", name
        else:
            yield ("unreadable" if is_unreadable(name) else "others"), name


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    """Whether a link's target cannot be looked at: absent, a circle, or closed."""
    if not entry.is_symlink():
        return False
    try:
        entry.stat()
    except OSError:
        return True
    return False


def _suffix(name: str | PurePath) -> str:
    return PurePath(name).suffix.lower()


def _files(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _some(names: tuple[str, ...]) -> str:
    """Name the first three, so that anybody can print them."""
    shown = ", ".join(name.encode("utf-8", "backslashreplace").decode() for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
