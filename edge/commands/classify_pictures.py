"""Classify picture files with the model that a command line names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from queue import SimpleQueue
from threading import Semaphore, Thread
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec

from edge.commands.console import Console
from edge.commands.model_options import check_choice
from edge.errors import ConfigError, ImageError
from edge.messages.sighting import Score
from edge.model.bundle.bundle import verify
from edge.model.classifier import Classification, Classifier, ModelInfo, prove
from edge.model.image.preprocessing import load
from edge.model.missing_labels import unknown
from edge.model.scores import Reason
from edge.system.resource_limits import begin
from edge.text.printable import encoded, printable

if TYPE_CHECKING:
    import argparse

    from edge.commands.classify_parts import Parts
    from edge.config import View
    from edge.model.bundle.signing import PublicKey
    from edge.model.bundle.unpack import Unpacked
    from edge.model.image.preprocessing import Pixels
    from edge.system.background import Background


class Durations(msgspec.Struct, frozen=True):
    """Milliseconds per step."""

    load_ms: float
    """Read, decode, crop, resize."""
    preprocess_ms: float
    invoke_ms: float


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of output."""

    file: str
    label: str | None
    confidence: float
    reason: Reason | None
    alternatives: tuple[Score, ...]
    model: ModelInfo
    timings: Durations


class TiledLine(Line, frozen=True, kw_only=True):
    """One line of output where pictures are looked at in parts; the rest is the surest tile's."""

    parts: Parts


class Loaded(msgspec.Struct, frozen=True):
    """A picture file, fitted to the model's input or large enough for tiles, or why not."""

    file: str
    pixels: Pixels | None
    load_ms: float
    error: Exception | None = None
    size: tuple[int, int] = (0, 0)
    """Pixels of the picture as it was taken, where it is looked at in parts."""


Read = Callable[[str], "tuple[Pixels, tuple[int, int]]"]
"""Returns the pixels of a picture file and, where it matters, the size that it was taken in."""


class Loader:
    """Reads pictures one ahead in a thread of its own, while the model is busy with another."""

    def __init__(self, files: Sequence[str], read: Read) -> None:
        """Begin to read ``files`` in their order."""
        self._files = files
        self._read = read
        self._ready: SimpleQueue[Loaded] = SimpleQueue()
        self._room = Semaphore(2)
        self._closed = False
        begin(Thread(target=self._run, name="load pictures"))

    def __iter__(self) -> Iterator[Loaded]:
        """Yield the pictures in the order of the files."""
        for _ in self._files:
            yield self._ready.get()
            self._room.release()

    def close(self) -> None:
        """Read no further picture; a second call does nothing."""
        self._closed = True
        self._room.release()

    def _run(self) -> None:
        for file in self._files:
            self._room.acquire()
            if self._closed:
                return
            started = perf_counter()
            try:
                pixels, size = self._read(file)
            except Exception as error:  # handed to whoever takes the picture
                self._ready.put(Loaded(file, None, 0.0, error))
            else:
                load_ms = (perf_counter() - started) * 1e3
                self._ready.put(Loaded(file, pixels, load_ms, size=size))


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
        loader = held.enter_context(closing(Loader(images, _reader(classifier, view))))
        if bundle is not None:
            prove(classifier, bundle)
        classifier.top = arguments.top
        return _classify(describe, loader, console)


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


def _classify(describe: Callable[[Loaded], Line], loader: Loader, console: Console) -> int:
    failed = False
    for loaded in loader:
        try:
            if loaded.error is not None:
                raise loaded.error
            line = describe(loaded)
            line = msgspec.structs.replace(line, file=printable(line.file))
            console.out(encoded(line).decode())
        except ImageError as error:
            console.err(str(error))
            failed = True
    return 1 if failed else 0


def _reader(classifier: Classifier, view: View | None) -> Read:
    spec = classifier.input
    if view is None:
        return lambda file: (load(file, spec), (0, 0))
    from edge.commands.classify_tiles import read

    return lambda file: read(file, spec, view)


def _in_parts(arguments: argparse.Namespace) -> bool:
    """Whether any option is about parts of pictures."""
    given = (arguments.tiles, arguments.region, arguments.mask, arguments.ignore, arguments.draw)
    return any(given) or arguments.overlap is not None


def _describer(
    classifier: Classifier,
    view: View | None,
    arguments: argparse.Namespace,
    images: Sequence[str],
) -> Callable[[Loaded], Line]:
    """Return what makes the output line of a picture."""
    if view is None:
        return lambda loaded: _line(classifier, loaded, classifier.classify(_pixels(loaded)))
    from edge.commands.classify_parts import parts
    from edge.commands.classify_tiles import Drawer
    from edge.model.tiled_classifier import TiledClassifier

    viewer = TiledClassifier(classifier, view)
    if problem := unknown({"--ignore": arguments.ignore}, classifier.labels):
        raise ConfigError(problem)
    drawer = Drawer(arguments.draw, images) if arguments.draw else None

    def describe(loaded: Loaded) -> Line:
        found = viewer.look(_pixels(loaded), loaded.size)
        whole = msgspec.structs.asdict(_line(classifier, loaded, found))
        shown = parts(found, loaded.size, arguments.ignore)
        if drawer is not None:
            drawer.draw(loaded.file, _pixels(loaded), viewer, shown)
        return TiledLine(**whole, parts=shown)

    return describe


def _pixels(loaded: Loaded) -> Pixels:
    assert loaded.pixels is not None  # held by whoever looked at its error
    return loaded.pixels


def _line(classifier: Classifier, loaded: Loaded, found: Classification) -> Line:
    return Line(
        file=loaded.file,
        label=found.label,
        confidence=round(found.confidence, 6),
        reason=found.reason,
        alternatives=tuple(
            Score(label=s.label, confidence=round(s.confidence, 6)) for s in found.alternatives
        ),
        model=classifier.model_info,
        timings=Durations(
            round(loaded.load_ms, 3),
            round(found.timings.preprocess_ms, 3),
            round(found.timings.invoke_ms, 3),
        ),
    )


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
    from edge.model.tflite.foreign import open_tflite

    return open_tflite(
        arguments.model,
        arguments.labels,
        arguments.runtime,
        arguments.threads,
        mean=arguments.mean,
        std=arguments.std,
        crop=arguments.crop,
        background=arguments.background,
        kind=arguments.output,
    )
