"""Pictures of none of the classes, as somebody has them in a folder."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import ImageError, TrainingError, os_errors_as
from edge.model.image.picture_files import Listing, list_pictures
from edge.model.image.preprocessing import InputSpec, load

log = logging.getLogger(__name__)


def check_folders(folders: Sequence[Path]) -> None:
    """See that each holds pictures, before any long work.

    Raises:
        TrainingError: one holds none, or two are called alike.
    """
    for name, count in Counter(folder.name for folder in folders).items():
        if count > 1:
            raise TrainingError(f"--unknown: {count} folders are called {name}; rename all but one")
    for folder in folders:
        _listing(folder)


def foreign_pictures(folder: Path, spec: InputSpec) -> NDArray[np.uint8]:
    """All pictures below a folder as the model sees them, (n, h, w, c).

    What cannot be read is logged and left out.

    Raises:
        TrainingError: there is none.
    """
    listing, pixels = _listing(folder), []
    for note in listing.notes():
        log.warning("--unknown %s: %s", folder, note)
    for name in listing.pictures:
        try:
            pixels.append(load(folder / name, spec))
        except ImageError as error:
            log.warning("--unknown: %s; not used", error)
    if not pixels:
        raise TrainingError(f"--unknown {folder}: no picture there")
    return np.stack(pixels)


def _listing(folder: Path) -> Listing:
    with os_errors_as(TrainingError, f"--unknown {folder}"):
        listing = list_pictures(folder)
    if not listing.pictures:
        raise TrainingError(f"--unknown {folder}: no picture there")
    return listing
