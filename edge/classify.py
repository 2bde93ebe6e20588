"""``wheatear classify``: pictures in, one JSON line each out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Protocol

import msgspec

from edge.classifier import Classification, Classifier, ModelInfo
from edge.errors import ConfigError, ImageError
from edge.image import load
from edge.scores import Reason, Score
from edge.signing import load_public_key


class Console(Protocol):
    """Where a command says things."""

    def out(self, text: str) -> None:
        """Print a line of results."""
        ...

    def err(self, text: str) -> None:
        """Print a line of trouble."""
        ...


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


def main(arguments: argparse.Namespace, console: Console) -> int:
    """Classify ``arguments.images``; 1 if any of them was no usable picture.

    Raises:
        WheatearError: the model cannot be used.
    """
    if arguments.top < 1:
        raise ConfigError(f"--top must be at least 1, not {arguments.top}")
    failed = 0
    with open_classifier(arguments) as classifier:
        classifier.top = arguments.top
        for path in arguments.images:
            try:
                line = classify_file(classifier, path)
            except ImageError as error:
                console.err(str(error))
                failed += 1
                continue
            console.out(msgspec.json.encode(line).decode())
    return 1 if failed else 0


def classify_file(classifier: Classifier, path: Path) -> Line:
    """Classify one picture file.

    Raises:
        ImageError: no usable picture.
    """
    started = perf_counter()
    pixels = load(path, classifier.input)
    loaded_ms = (perf_counter() - started) * 1e3
    found: Classification = classifier.classify(pixels)
    return Line(
        file=str(path),
        label=found.label,
        confidence=round(found.confidence, 6),
        reason=found.reason,
        alternatives=tuple(Score(s.label, round(s.confidence, 6)) for s in found.alternatives),
        model=classifier.model_info,
        timings=Durations(
            round(loaded_ms, 3),
            round(found.timings.preprocess_ms, 3),
            round(found.timings.invoke_ms, 3),
        ),
    )


def open_classifier(arguments: argparse.Namespace) -> Classifier:
    """Open the bundle or the TFLite model that the options of ``edge.cli.add_model`` name.

    Raises:
        ConfigError: both or none of them is given, or a key cannot be read.
        WheatearError: as for Classifier.
    """
    if (arguments.bundle is None) == (arguments.model is None):
        raise ConfigError("give either --bundle FILE or --model FILE")
    keys: Sequence[Path] = arguments.trusted_key
    if arguments.bundle is not None:
        return Classifier.from_bundle(
            arguments.bundle,
            arguments.runtime,
            arguments.threads,
            trusted_keys=[load_public_key(key) for key in keys],
        )
    if keys:
        raise ConfigError("--trusted-key is for bundles; a bare TFLite model carries no signature")
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
