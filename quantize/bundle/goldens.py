"""Golden images: a few validation photos with the scores a device has to reproduce."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge.errors import QuantizeError
from edge.model.bundle.manifest import Golden
from edge.model.image.preprocessing import InputSpec, decode, fit, quantise
from edge.model.runtimes import open_runtime
from training.quiet import quiet

#: One a class, for at most so many classes.
MOST = 4
#: Levels that any interpreter may be off by, whatever was measured here: one rounding step more
#: or less in a middle layer moves a score by about this much.
LEAST_TOLERANCE = 4.0
#: Sides of the golden picture that has to be resized, at most, in sides of the model's input: large
#: enough that a wrong filter or crop shows, small enough to send.
ORIGINAL_SIDES = 1.6


def choose(logits: NDArray[np.float32], truth: NDArray[np.int64]) -> list[int]:
    """Indices of photos to keep: of each class the rightly answered one with the median margin.

    Classes are taken evenly spaced where there are more than `MOST`. A clear margin makes sure
    that a device in order cannot lose the top label to a rounding step.

    Raises:
        QuantizeError: no photo at all is answered rightly.
    """
    ordered = np.sort(logits, axis=1)
    margin = ordered[:, -1] - ordered[:, -2]
    right = logits.argmax(axis=1) == truth
    by_class = []
    for label in range(logits.shape[1]):
        found = np.flatnonzero(right & (truth == label))
        if len(found):
            ranked = found[np.argsort(margin[found], kind="stable")]
            # The upper median: of two, the surer one.
            by_class.append(int(ranked[len(ranked) // 2]))
    if not by_class:
        raise QuantizeError(
            "no validation photo is classified correctly, so none can be a golden image"
        )
    spots = np.linspace(0, len(by_class) - 1, min(MOST, len(by_class))).round().astype(int)
    return [by_class[i] for i in dict.fromkeys(spots.tolist())]


def original(source: Path, spec: InputSpec) -> NDArray[np.uint8]:
    """The picture in the file itself, uint8 (h, w, 3), larger than the model's input.

    It makes the device's self-test go through cropping and resizing. Its own proportions are kept;
    at most `ORIGINAL_SIDES` times the model's sides, so that the bundle stays small.

    Raises:
        ImageError: the file is no picture any more.
    """
    pixels = decode(source)
    most = (round(ORIGINAL_SIDES * spec.width), round(ORIGINAL_SIDES * spec.height))
    image = Image.fromarray(pixels)
    image.thumbnail(most, Image.Resampling.BOX)
    return np.asarray(image)


def make(
    model: bytes, spec: InputSpec, photos: Sequence[tuple[str, NDArray[np.uint8]]]
) -> tuple[tuple[Golden, ...], dict[str, bytes], str]:
    """Golden entries, their PNG files by member name, and the version of the interpreter.

    Args:
        model: int8 TFLite.
        spec: its input.
        photos: (short name, uint8 (h, w, c)) each, at model size or any other.
    """
    with quiet():
        runtime, reference = open_runtime("litert", model), _reference(model)
    goldens, files = [], {}
    for name, pixels in photos:
        tensor = quantise(fit(pixels, spec), spec)
        scores = runtime.invoke(tensor)
        kernel_gap = np.abs(scores.astype(float) - reference(tensor).astype(float)).max()
        member = f"golden/{name}.png"
        files[member] = png(pixels)
        goldens.append(
            Golden(
                file=member,
                scores=tuple(int(s) for s in scores),
                tolerance=max(LEAST_TOLERANCE, float(kernel_gap) + 2),
            )
        )
    version = runtime.version
    runtime.close()
    return tuple(goldens), files, version


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Lossless PNG of uint8 (h, w, 3) or (h, w, 1)."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _reference(model: bytes) -> Any:  # noqa: ANN401
    """The reference kernels, identical on every processor: how far kernels may differ at all."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]

    def run(tensor: NDArray[Any]) -> NDArray[Any]:
        interpreter.set_tensor(source, tensor)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(target)).reshape(-1)

    return run
