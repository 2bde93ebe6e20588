"""Photos decoded once, at the size of the model, into a memory-mapped array on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import ImageError, TrainingError, WheatearError
from edge.model.image.preprocessing import InputSpec, load

Pixels = NDArray[np.uint8]


def cached_pixels(
    files: Sequence[Path],
    spec: InputSpec,
    fingerprint: str,
    folder: Path,
    progress: Callable[[int], None] | None = None,
    verify: Callable[[], None] | None = None,
) -> Pixels:
    """The photos as the device would see them, uint8 (n, height, width, channels), read-only.

    Decodes on the first call; later calls map the same file. Its name holds a hash of the data,
    of the photos' names, sizes and times, and of the input rule, so that a changed photo or setting
    never meets an old cache.

    Args:
        files: photos, in the order of the result.
        spec: size, crop and resize rule, colour.
        fingerprint: what the contents of `files` are known by.
        folder: where caches lie; created if missing.
        progress: called with the number of photos decoded since the last call.
        verify: called when all are decoded; raises where they are not those of the fingerprint.

    Raises:
        TrainingError: what `verify` raises, photos cannot be decoded (all of them are named), or
            the disk is full.
    """
    key = msgspec.json.encode((fingerprint, spec, [_stamp(file) for file in files]))
    path = folder / f"{hashlib.sha256(key).hexdigest()[:24]}.npy"
    shape = (len(files), spec.height, spec.width, spec.channels)
    if not path.exists():
        _decode_all(files, spec, path, shape, progress, verify)
    elif progress:
        progress(len(files))
    pixels: Pixels = np.load(path, mmap_mode="r")
    return pixels


def _stamp(file: Path) -> tuple[str, int, int]:
    """What changes when a file's content does."""
    try:
        found = file.stat()
    except OSError:  # decoding it will say why
        return str(file), 0, 0
    return str(file), found.st_size, found.st_mtime_ns


def _decode_all(
    files: Sequence[Path],
    spec: InputSpec,
    path: Path,
    shape: tuple[int, ...],
    progress: Callable[[int], None] | None,
    verify: Callable[[], None] | None,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.{uuid4().hex}.partial")
    broken: list[str] = []

    def one(index: int) -> None:
        try:
            array[index] = load(files[index], spec)
        except ImageError as error:
            broken.append(str(error))

    try:
        # The header of .npy is padded to 64 bytes: TensorFlow can use the mapped pages as they are.
        array = np.lib.format.open_memmap(partial, "w+", np.uint8, shape)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(one, range(len(files))):
                if progress:
                    progress(1)
        if broken:
            more = f" and {len(broken) - 5} more" if len(broken) > 5 else ""
            raise TrainingError(
                f"{len(broken)} photos cannot be decoded: {'; '.join(sorted(broken)[:5])}{more}; "
                "remove them, or see `python -m training check`"
            )
        if verify:
            verify()
        array.flush()
        os.replace(partial, path)
    except OSError as error:
        if isinstance(error, WheatearError):
            raise
        raise TrainingError(f"cache {path}: cannot be written ({error})") from error
    finally:
        partial.unlink(missing_ok=True)
