"""The bundle's unknown rule, fitted to what its int8 model really gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.model.bundle.manifest import OutputSpec, UnknownMetrics
from edge.model.image.preprocessing import InputSpec, fit, quantise
from edge.model.runtimes import Runtime, open_runtime
from edge.model.scores import dequantise
from quantize.parity.compare import Photos
from training.unknown.choose import choose, held_out
from training.unknown.fit import Fitted, Quantised, Seen, fit_ways
from training.unknown.judge import SeenSplits, Stranger, judge
from training.unknown.made_pictures import made_pictures

Pixels = NDArray[np.uint8]

#: Pictures made of each kind.
MADE_PICTURES = 150
#: Training photos that the rule is fitted to, at most.
TRAINING_PHOTOS = 2048
#: Pixels whose colours made pictures take, at most.
COLOURS = 20_000


class Rule(NamedTuple):
    """What goes into the bundle."""

    fitted: Fitted
    metrics: UnknownMetrics


class Watch(NamedTuple):
    """Who is told how the work goes."""

    phase: Callable[[str, int], None]
    advance: Callable[[int], None]


def unknown_rule(
    model: bytes,
    specs: tuple[InputSpec, OutputSpec],
    photos: Mapping[str, Photos],
    folders: Mapping[str, Pixels],
    temperature: float,
    seed: int,
    watch: Watch,
) -> Rule:
    """Choose a way of telling the unknown, fit it to training photos, set it by validation photos,
    judge it.

    Args:
        model: int8 TFLite with features as its second output.
        specs: its input and first output.
        photos: `train`, `val` and `test`.
        folders: foreign pictures (n, h, w, c), by a name.
        temperature: of the model's logits.
        seed: decides the made pictures.
        watch: told of progress.

    Raises:
        TrainingError: too few validation answers are right.
    """
    train, spec = _some(photos["train"]), specs[0]
    made = {
        name: np.stack([fit(picture, spec) for picture in pictures])
        for name, pictures in made_pictures(MADE_PICTURES, _colours(train.pixels), seed).items()
    }
    parts = {"train": train, "val": photos["val"], "test": photos["test"]}
    total = sum(len(part.truth) for part in parts.values())
    total += sum(len(pixels) for given in (made, folders) for pixels in given.values())
    watch.phase("what the unknown rule is fitted to", total)
    runtime = open_runtime("litert", model, threads=2)
    try:

        def ask(pixels: Pixels) -> tuple[NDArray[Any], NDArray[np.float32]]:
            return _asked(runtime, specs, pixels, watch.advance)

        seen = SeenSplits(**{n: Seen(*ask(p.pixels), p.truth) for n, p in parts.items()})
        nothing, strangers = (
            {name: Stranger(*ask(pixels)) for name, pixels in given.items()}
            for given in (made, folders)
        )
        found = runtime.outputs[1]
    finally:
        runtime.close()
    tensor = Quantised(found.dtype, found.scale, found.zero_point)
    watch.phase("fitting the unknown rule", len(held_out(seen.val.logits.shape[1])) + len(nothing))
    outliers = np.concatenate([one.features for one in nothing.values()])
    choice = choose(seen.train, seen.val, outliers, tensor, watch.advance)
    rule = fit_ways(seen.train, seen.val, outliers, tensor, temperature)[choice.way]
    judged = judge(choice.way, rule, seen, nothing, strangers, tensor, temperature, watch.advance)
    told = {"chosen": choice.way, "chosen_by": choice.by, "ways": choice.ways}
    return Rule(rule, msgspec.structs.replace(judged, **told))


def _asked(
    runtime: Runtime,
    specs: tuple[InputSpec, OutputSpec],
    pixels: Pixels,
    advance: Callable[[int], None],
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Levels of the features (n, d) and real logits (n, classes)."""
    spec, output = specs
    features, logits = [], []
    for photo in pixels:
        logits.append(runtime.invoke(quantise(photo, spec)))
        features.append(runtime.output(1))
        advance(1)
    return np.stack(features), dequantise(np.stack(logits), output.scale, output.zero_point)


def _some(photos: Photos) -> Photos:
    """Training photos, evenly over the classes, as many as are needed."""
    n = len(photos.truth)
    if n <= TRAINING_PHOTOS:
        return photos
    spots = np.linspace(0, n - 1, TRAINING_PHOTOS).round().astype(int)
    return Photos(
        pixels=photos.pixels[spots],
        run_pixels=photos.run_pixels,
        truth=photos.truth[spots],
        files=tuple(photos.files[i] for i in spots),
        groups=tuple(photos.groups[i] for i in spots),
    )


def _colours(pixels: Pixels) -> Pixels:
    """Colours of photos (n, 3), evenly over all of them."""
    flat = pixels.reshape(len(pixels), -1, pixels.shape[-1])
    each = max(1, COLOURS // len(flat))
    spots = np.linspace(0, flat.shape[1] - 1, min(each, flat.shape[1])).round().astype(int)
    colours = flat[:, spots].reshape(-1, flat.shape[-1])
    return np.repeat(colours, 3, axis=1) if colours.shape[1] == 1 else np.asarray(colours)
