"""Classify picture files with the model that a command line names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from queue import SimpleQueue
from threading import Semaphore, Thread
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec

from edge.bundle import verify
from edge.classifier import Classifier, ModelInfo, prove
from edge.classify import Console, check_choice
from edge.errors import ImageError
from edge.image import InputSpec, load
from edge.scores import Reason, Score

if TYPE_CHECKING:
    import argparse

    from edge.image import Pixels
    from edge.later import Later
    from edge.signing import PublicKey
    from edge.unpack import Unpacked


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


class Loaded(msgspec.Struct, frozen=True):
    """A picture file, fitted to the model's input, or why there is none."""

    file: str
    pixels: Pixels | None
    load_ms: float
    error: Exception | None = None


class Loader:
    """Reads pictures one ahead in a thread of its own, while the model is busy with another."""

    def __init__(self, files: Sequence[str], spec: InputSpec) -> None:
        """Begin to read ``files`` in their order."""
        self._files = files
        self._spec = spec
        self._ready: SimpleQueue[Loaded] = SimpleQueue()
        self._room = Semaphore(2)
        self._closed = False
        Thread(target=self._run, name="load pictures").start()

    def __iter__(self) -> Iterator[Loaded]:
        """Give the pictures in the order of the files."""
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
                pixels = load(file, self._spec)
            except Exception as error:  # handed to whoever takes the picture
                self._ready.put(Loaded(file, None, 0.0, error))
            else:
                self._ready.put(Loaded(file, pixels, (perf_counter() - started) * 1e3))


def classify_pictures(
    arguments: argparse.Namespace, console: Console, unpacking: Later[Unpacked] | None
) -> int:
    """Classify ``arguments.images``; 1 if any of them was no usable picture.

    ``unpacking`` is the bundle of ``arguments.bundle`` on its way.

    Raises:
        WheatearError: the model cannot be used.
    """
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
        # Not before: reading pictures and loading libraries at once, both in Python, takes longer.
        loader = held.enter_context(closing(Loader(arguments.images, classifier.input)))
        if bundle is not None:
            prove(classifier, bundle)
        classifier.top = arguments.top
        return _classify(classifier, loader, console)


def _classify(classifier: Classifier, loader: Loader, console: Console) -> int:
    failed = False
    for loaded in loader:
        if loaded.pixels is not None:
            line = _line(classifier, loaded.file, loaded.pixels, loaded.load_ms)
            console.out(msgspec.json.encode(line).decode())
        elif isinstance(loaded.error, ImageError):
            console.err(str(loaded.error))
            failed = True
        elif loaded.error is not None:
            raise loaded.error
    return 1 if failed else 0


def _line(classifier: Classifier, file: str, pixels: Pixels, load_ms: float) -> Line:
    found = classifier.classify(pixels)
    return Line(
        file=file,
        label=found.label,
        confidence=round(found.confidence, 6),
        reason=found.reason,
        alternatives=tuple(Score(s.label, round(s.confidence, 6)) for s in found.alternatives),
        model=classifier.model_info,
        timings=Durations(
            round(load_ms, 3),
            round(found.timings.preprocess_ms, 3),
            round(found.timings.invoke_ms, 3),
        ),
    )


def _keys(arguments: argparse.Namespace) -> list[PublicKey]:
    if not arguments.trusted_key:
        return []
    from edge.signing import load_public_key

    return [load_public_key(key) for key in arguments.trusted_key]


def open_classifier(arguments: argparse.Namespace) -> Classifier:
    """Open the bundle or the TFLite model that the options of ``edge.cli.add_model`` name.

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
    return Classifier.from_tflite(
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
