"""Classify picture files with the model that a command line names, as a camera's frames are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from edge.commands.console import Console
from edge.commands.option_types import check_choice
from edge.errors import ConfigError, ImageError
from edge.model.bundle.bundle import verify
from edge.model.classifier import Classification, Classifier, prove
from edge.model.missing_labels import unknown
from edge.model.tiled_classifier import TiledClassifier
from edge.model.tiles import Size, see
from edge.system.background import Background, ahead
from edge.text.printable import encoded, printable

if TYPE_CHECKING:
    import argparse

    from edge.config import View
    from edge.model.bundle.signing import PublicKey
    from edge.model.bundle.unpack import Unpacked
    from edge.model.image.preprocessing import InputSpec, Pixels


class Picture(NamedTuple):
    """A picture file, decoded for the model."""

    pixels: Pixels
    size: Size
    """As it was taken, where it is looked at in parts."""
    load_ms: float
    """For reading, decoding and, where it is looked at as a whole, cropping and resizing."""


def classify_pictures(
    arguments: argparse.Namespace, console: Console, unpacking: Background[Unpacked] | None
) -> int:
    """Classify ``arguments.images``; 1 if any of them was no usable picture.

    Of a folder, the pictures below it, sorted by name; what is left out is told.
    ``unpacking`` is the bundle of ``arguments.bundle`` on its way.

    Raises:
        WheatearError: the model cannot be used.
    """
    images = files_of(arguments.images, console)
    view = None
    if _in_parts(arguments):
        from edge.commands.classify_tiles import view_of  # the configuration takes long to import

        view = view_of(arguments)
    with ExitStack() as held:
        bundle = None
        if unpacking is None:
            classifier = held.enter_context(open_classifier(arguments))
        else:
            bundle = verify(unpacking.result(), _keys(arguments))
            opened = Classifier.from_bundle(
                bundle, arguments.runtime, arguments.threads, self_test=False
            )
            classifier = held.enter_context(opened)
        describe = _describer(classifier, view, arguments, images)
        # Not before: reading pictures and loading libraries at once, both in Python, takes longer.
        pictures = ahead(images, partial(_read, spec=classifier.input, view=view))
        if bundle is not None:
            prove(classifier, bundle)
        classifier.top = arguments.top
        return _classify(pictures, describe, console)


def files_of(paths: Sequence[str], console: Console) -> Sequence[str]:
    """Replace folders by the pictures below them; warn of what that leaves out.

    Raises:
        ConfigError: a folder cannot be listed, or holds no picture.
    """
    if not any(map(os.path.isdir, paths)):
        return paths
    from edge.model.image.picture_files import in_folders

    files, notes = in_folders(paths)
    for note in notes:
        console.err(note)
    return files


def _classify(
    pictures: Iterator[tuple[str, Background[Picture]]],
    describe: Callable[[str, Picture], dict[str, Any]],
    console: Console,
) -> int:
    failed = False
    for file, reading in pictures:
        try:
            console.out(encoded(describe(file, reading.result())).decode())
        except ImageError as error:
            console.err(str(error))
            failed = True
    return 1 if failed else 0


def _read(file: str, spec: InputSpec, view: View | None) -> Picture:
    started, sizes = perf_counter(), [(0, 0)]
    pixels = see(file, spec, view, sized=sizes.append)
    return Picture(pixels, sizes[-1], (perf_counter() - started) * 1e3)


def _in_parts(arguments: argparse.Namespace) -> bool:
    """Whether any option is about parts of pictures."""
    given = (arguments.tiles, arguments.region, arguments.mask, arguments.ignore, arguments.draw)
    return any(given) or arguments.overlap is not None


def _describer(
    classifier: Classifier, view: View | None, arguments: argparse.Namespace, images: Sequence[str]
) -> Callable[[str, Picture], dict[str, Any]]:
    """Return what makes the output line of a picture."""
    viewer = TiledClassifier(classifier, view)
    if problem := unknown({"--ignore": arguments.ignore}, classifier.labels):
        raise ConfigError(problem)
    if arguments.draw:
        from pathlib import Path

        from edge.commands import drawing

        targets = drawing.targets(Path(arguments.draw), images)

    def describe(file: str, picture: Picture) -> dict[str, Any]:
        found = viewer.look(picture.pixels, picture.size)
        times = found.timings
        line = {
            "file": printable(file),
            **_said(found),
            "model": classifier.model_info,
            "timings": {
                "load_ms": round(picture.load_ms, 3),
                "preprocess_ms": round(times.preprocess_ms, 3),
                "invoke_ms": round(times.invoke_ms, 3),
            },
        }
        if view is None:
            return line
        from edge.sightings.findings import findings

        shown = findings(found, {}, frozenset(arguments.ignore))
        if arguments.draw:
            masked = viewer.masked(picture.pixels)
            drawn = drawing.draw(picture.pixels, picture.size, masked, found.tiles, shown)
            drawing.write(drawn, targets[file])
        tiles = [{"box": tile.box, **_said(tile.found)} for tile in found.tiles]
        return {**line, "parts": {"size": picture.size, "findings": shown, "tiles": tiles}}

    return describe


def _said(found: Classification) -> dict[str, Any]:
    """What a picture or a tile of it shows, as it stands in a line."""
    return {
        "label": found.label,
        "confidence": round(found.confidence, 6),
        "reason": found.reason,
        "alternatives": [
            replace(one, confidence=round(one.confidence, 6)) for one in found.alternatives
        ],
    }


def _keys(arguments: argparse.Namespace) -> list[PublicKey]:
    if not arguments.trusted_key:
        return []
    from edge.model.bundle.signing import load_public_key

    return [load_public_key(key) for key in arguments.trusted_key]


def open_classifier(arguments: argparse.Namespace) -> Classifier:
    """Open the bundle or the TFLite model that the options of ``edge.commands.cli.add_model`` name.

    Raises:
        ConfigError: both or none of them is given, or a key cannot be read.
        WheatearError: as for Classifier.
    """
    check_choice(arguments)
    if arguments.bundle is not None:
        return Classifier.from_bundle(
            arguments.bundle,
            arguments.runtime,
            arguments.threads,
            trusted_keys=_keys(arguments),
        )
    from edge.model.tflite.foreign import open_as_named

    return open_as_named(arguments.model, arguments)
