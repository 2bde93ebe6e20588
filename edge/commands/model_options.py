"""The options that choose a model: which of them go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.errors import ConfigError

if TYPE_CHECKING:
    import argparse

_OF_MODELS = {
    **{"labels": None, "mean": (), "std": ()},
    **{"crop": "stretch", "background": "none", "output": "auto"},
}
"""Options for models without a bundle, and what they are where they are not given."""


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
