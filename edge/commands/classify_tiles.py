"""The options of ``wheatear classify`` that name parts of pictures, as a view."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edge.config import View, check_view
from edge.errors import ConfigError
from edge.text.refusals import apart, in_words

if TYPE_CHECKING:
    import argparse


def view_of(arguments: argparse.Namespace) -> View:
    """The view that the options ask for.

    Raises:
        ConfigError: a value is wrong.
    """
    raw: dict[str, Any] = {}
    if arguments.tiles:
        parts = arguments.tiles.lower().split("x")
        try:
            numbers = [int(part) for part in parts]
        except ValueError:
            raise ConfigError(
                f"--tiles {arguments.tiles}: give columns x rows, such as 4x3, or pixels a side"
            ) from None
        raw["tiles"] = numbers if len(numbers) > 1 else numbers[0]
    if arguments.region:
        raw["regions"] = arguments.region
    if arguments.mask:
        raw["mask"] = Path(arguments.mask)
    if not raw:
        raise ConfigError("--overlap, --ignore and --draw go with --tiles, --region or --mask")
    if arguments.overlap is not None:
        raw["overlap"] = arguments.overlap
    try:
        view = msgspec.convert(raw, View, dec_hook=lambda _, value: value)
    except msgspec.ValidationError as error:
        raise ConfigError(_refused(str(error), raw)) from error
    check_view(view, "--region")
    return view


def _refused(message: str, raw: dict[str, Any]) -> str:
    """Name the option and its value in a refusal that names a field of the view."""
    what, (name, *numbers) = apart(message)
    value = raw[name]
    if name == "regions":
        name, value = "region", ",".join(f"{share:g}" for share in value[int(numbers[0])])
    elif name == "tiles" and isinstance(value, list):
        value = "x".join(map(str, value))
    return f"--{name} {value}: {in_words(what)}"
