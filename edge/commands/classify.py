"""``wheatear classify``: pictures in, one JSON line each out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from edge.errors import ConfigError
from edge.model.bundle.unpack import unpack
from edge.system.background import Later

if TYPE_CHECKING:
    import argparse


_OF_MODELS = {
    **{"labels": None, "mean": (), "std": ()},
    **{"crop": "stretch", "background": "none", "output": "auto"},
}
"""Options for models without a bundle, and what they are where they are not given."""


class Console(Protocol):
    """Where a command says things."""

    def out(self, text: str) -> None:
        """Print a line of results."""
        ...

    def err(self, text: str) -> None:
        """Print a line of trouble."""
        ...


def check_choice(arguments: argparse.Namespace) -> None:
    """Refuse options that do not go together.

    Raises:
        ConfigError: both or none of bundle and model, a key without a bundle, or what a bundle has
            of its own beside one.
    """
    if (arguments.bundle is None) == (arguments.model is None):
        raise ConfigError("give either --bundle FILE or --model FILE")
    if arguments.trusted_key and arguments.bundle is None:
        raise ConfigError("--trusted-key is for bundles; a bare TFLite model carries no signature")
    for name, unset in _OF_MODELS.items():
        if arguments.bundle is not None and getattr(arguments, name) != unset:
            raise ConfigError(f"--{name} goes with --model; a bundle has its own")


def main(arguments: argparse.Namespace, console: Console) -> int:
    """Classify ``arguments.images``; 1 if any of them was no usable picture.

    Raises:
        WheatearError: the model cannot be used.
    """
    check_choice(arguments)
    if arguments.top < 1:
        raise ConfigError(f"--top must be at least 1, not {arguments.top}")
    bundle: str | None = arguments.bundle
    unpacking = None if bundle is None else Later(lambda: unpack(bundle))
    # NumPy and Pillow take long to import; the bundle is unpacked meanwhile.
    from edge.commands.classify_pictures import classify_pictures

    return classify_pictures(arguments, console, unpacking)
