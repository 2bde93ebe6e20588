"""``wheatear classify``: pictures in, one JSON line each out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.commands.option_types import check_choice
from edge.errors import ConfigError
from edge.model.bundle.unpack import unpack
from edge.system.background import Background

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
    bundle: str | None = arguments.bundle
    unpacking = None if bundle is None else Background(lambda: unpack(bundle))
    # NumPy and Pillow take long to import; the bundle is unpacked meanwhile.
    from edge.commands.classify_pictures import classify_pictures

    return classify_pictures(arguments, console, unpacking)
