"""Look at every photo once: can it be read, how large is it, what is on it."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
from PIL import Image

from edge.errors import ImageError
from edge.model.image.orientation import exif_of, upright_size
from edge.model.image.picture_files import UNREADABLE, is_unreadable
from edge.model.image.preprocessing import decode
from training.data.dataset import Dataset, Example
from training.data.jpeg_damage import damage
from training.data.keypoints import SIDE, Keypoints, find_keypoints

THUMB = 48
"""Longest side, in pixels, of the thumbnails that are compared."""

_HEIC_BRANDS = frozenset((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"))

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, how many there are."""


@dataclass(frozen=True)
class Photo:
    """What was seen in one file."""

    example: Example
    problem: str | None = None
    """Why the file cannot be used, or None."""
    damage: str | None = None
    """How its pixels are damaged although it can be read, or None."""
    oddities: tuple[str, ...] = ()
    """What its colours or brightness may be wrong by."""
    sha256: str = ""
    width: int = 0
    """Pixels, upright."""
    height: int = 0
    thumb: np.ndarray | None = None
    """uint8 (h, w, 3), longest side THUMB."""
    keypoints: Keypoints | None = None


def look(dataset: Dataset, progress: Progress | None = None) -> list[Photo]:
    """Read every photo of the data set, in order, on all processor cores."""
    photos = []
    for photo in _looks(dataset):
        photos.append(photo)
        if progress:
            progress("looking at photos", len(photos), len(dataset))
    return photos


def _looks(dataset: Dataset) -> Iterator[Photo]:
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(lambda example: _look(dataset, example), dataset.examples)


def _look(dataset: Dataset, example: Example) -> Photo:
    path = dataset.path(example)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Photo(
            example, "the file is absent" if not path.is_symlink() else "a link to nothing"
        )
    except IsADirectoryError:
        return Photo(example, "a folder, not a file")
    except OSError as error:
        return Photo(example, f"cannot be read: {error.strerror}")
    digest = hashlib.sha256(content).hexdigest()
    told: list[str] = []
    try:
        pixels = decode(content, at_least=(SIDE, SIDE), told=told.append)
        broken = damage(content)
        width, height = _size(content)
    except ImageError as error:
        # Bytes have no name of their own: decode calls them "picture".
        said = str(error).removeprefix("picture: ")
        return Photo(example, _foreign(content, example.file) or said, sha256=digest)
    grey = np.asarray(_shrink(pixels, SIDE).convert("L"), dtype=np.float32)
    thumb = np.asarray(_shrink(pixels, THUMB))
    return Photo(
        example=example,
        damage=broken,
        oddities=tuple(told),
        sha256=digest,
        width=width,
        height=height,
        thumb=thumb,
        keypoints=find_keypoints(grey),
    )


def _foreign(content: bytes, file: str) -> str | None:
    """What a file is that is no picture, where it can be told; None otherwise."""
    start = content[:512].lstrip().lower()
    if not content:
        return "the file is empty (0 bytes)"
    if is_unreadable(file):
        return f"{UNREADABLE[PurePath(file).suffix.lower()]} cannot be read; save it as JPEG"
    if content[4:8] == b"ftyp" and content[8:12] in _HEIC_BRANDS:
        return "a HEIC photo under another name cannot be read; save it as JPEG"
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page, not a picture: the download failed"
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the picture: run git lfs pull"
    if not content.strip(b"\0"):
        return "nothing but zeros: the copy or the card failed"
    return None


def _size(content: bytes) -> tuple[int, int]:
    """Width and height in pixels, upright; the header only."""
    with Image.open(io.BytesIO(content)) as image:
        return upright_size(image, exif_of(image, content))


def _shrink(pixels: np.ndarray, side: int) -> Image.Image:
    """The photo with its longest side at ``side`` pixels."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
