"""``wheatear classify --tiles``: pictures in parts, each part's result and what they come to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edge.config import View, check_view
from edge.errors import ConfigError
from edge.model.image.preprocessing import InputSpec, decode
from edge.model.tiles import Size, needed

if TYPE_CHECKING:
    import argparse

    from edge.commands.classify_parts import Parts
    from edge.model.image.preprocessing import Pixels
    from edge.model.tiled_classifier import TiledClassifier


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


_REFUSED = re.compile(r"^(?P<what>.*) - at `\$\.(?P<name>\w+)(?:\[(?P<number>\d+)\])?")


def _refused(message: str, raw: dict[str, Any]) -> str:
    """Name the option and its value in a refusal that names a field of the view."""
    found = _REFUSED.search(message)
    if found is None:
        return f"--tiles, --overlap, --region, --mask: {message}"
    name, value = found["name"], raw[found["name"]]
    if name == "regions":
        name, value = "region", ",".join(f"{share:g}" for share in value[int(found["number"])])
    elif name == "tiles" and isinstance(value, list):
        value = "x".join(map(str, value))
    return f"--{name} {value}: {found['what'][0].lower()}{found['what'][1:].replace('`', '')}"


def read(file: str, spec: InputSpec, view: View) -> tuple[Pixels, Size]:
    """Decode a picture for its parts; give the pixels and the size that it was taken in.

    Raises:
        ImageError: as for :func:`edge.model.image.preprocessing.decode`.
    """
    sizes: list[Size] = []

    def least(size: Size) -> Size:
        sizes.append(size)
        return needed(view, spec, size)

    return decode(file, least), sizes[-1]


class Drawer:
    """Draws what is looked at and what was found into JPEGs, one for each picture file.

    Raises:
        ConfigError: a file is in the way.
    """

    def __init__(self, folder: str, files: Sequence[str]) -> None:
        from edge.commands import drawing

        self._drawing = drawing
        self._targets = drawing.targets(Path(folder), files)

    def draw(self, file: str, pixels: Pixels, viewer: TiledClassifier, shown: Parts) -> None:
        """Draw one of the files. Raises ConfigError where that cannot be written."""
        picture = self._drawing.draw(pixels, shown, viewer.masked(pixels))
        self._drawing.write(picture, self._targets[file])
