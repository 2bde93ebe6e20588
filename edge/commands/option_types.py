"""What the options of ``wheatear`` take, for argparse, and which go together: each refuses with the
value and the cure.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edge.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_MOST_SECONDS = 1_000_000
"""In an option: eleven days. The system takes no more than twice that for one wait."""
_DIGITS = 18
"""Of a whole number that the system takes everywhere."""
_OF_MODELS = {
    "labels": None,
    "mean": (),
    "std": (),
    "crop": "stretch",
    "background": "none",
    "output": "auto",
}
"""Options for models without a bundle, and what they are where they are not given."""


def path(text: str) -> Path:
    """Read a path; the module that has it is loaded where one is given."""
    from pathlib import Path

    return Path(text)


def numbers(text: str) -> tuple[float, ...]:
    """Read numbers with commas between."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: give numbers with commas between") from None


def above_zero(text: str) -> int:
    """Read a whole number that is 1 or more."""
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= _DIGITS and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number above 0")
    return int(text)


def seconds(text: str) -> float:
    """Read seconds, more than none."""
    if not (read := seconds_or_none(text)):
        raise argparse.ArgumentTypeError(f"{text!r}: give seconds above 0")
    return read


def seconds_or_none(text: str) -> float:
    """Read seconds, 0 to a million."""
    try:
        read = float(text)
    except ValueError:
        read = -1.0
    if not 0 <= read <= _MOST_SECONDS:  # also NaN
        raise argparse.ArgumentTypeError(f"{text!r}: give seconds, 0 to {_MOST_SECONDS:,}")
    return read


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
