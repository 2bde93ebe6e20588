"""``wheatear classify``: pictures in, one JSON line each out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edge.commands.option_types import check_choice
from edge.errors import ConfigError
from edge.model.bundle.unpack import unpack
from edge.system.background import Background
from edge.text.printable import printable

if TYPE_CHECKING:
    import argparse

    from edge.commands.console import Console


def main(arguments: argparse.Namespace, console: Console) -> int:
    """Classify ``arguments.images``; 1 if any of them was no usable picture.

    Raises:
        WheatearError: the model cannot be used.
    """
    check_choice(arguments)
    if arguments.top < 1:
        raise ConfigError(f"--top must be at least 1, not {arguments.top}")
    if all(map(_absent, arguments.images)):  # said at once, not when the model is loaded
        for image in arguments.images:
            console.err(f"{printable(image)}: no such file")
        return 1
    bundle: str | None = arguments.bundle
    unpacking = None if bundle is None else Background(lambda: unpack(bundle))
    # NumPy and Pillow take long to import; the bundle is unpacked meanwhile.
    from edge.commands.classify_pictures import classify_pictures

    return classify_pictures(arguments, console, unpacking)


def _absent(path: str) -> bool:
    try:
        os.stat(path)
    except FileNotFoundError:
        return True
    except (OSError, ValueError):  # reading it will say why
        return False
    return False
