"""TFLite classifiers that are no bundle of ours: what they leave unsaid, found or asked for.

Labels come from a file or from the model's metadata; the meaning of the scores from the graph;
how pixels are scaled from the quantisation, the metadata, or the caller. What stays unknown is an
error that names the option, never a guess.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edge.errors import ModelError, os_errors_as
from edge.model.bundle.manifest import OutputSpec
from edge.model.classifier import Classifier, model_info
from edge.model.image.preprocessing import InputSpec
from edge.model.runtimes import FEATURES, TensorSpec, open_runtime
from edge.model.scores import ScoreCheck
from edge.model.tflite import facts as tflite_file
from edge.model.tflite.facts import TFLiteFacts
from edge.model.tflite.labels import is_background, odd_names, read_labels

if TYPE_CHECKING:
    from argparse import Namespace

    from edge.config import Model

log = logging.getLogger(__name__)

MAX_MODEL_BYTES = 512 << 20
_DTYPES = ("uint8", "int8", "float32")
_SAME_LEVELS = 3
"""Levels of an integer input by which metadata and quantisation differ by rounding."""

_Scale = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and std, in pixel levels."""


def open_as_named(model: Path | str, named: Model | Namespace) -> Classifier:
    """Load a TFLite picture classifier as ``[model]``, or options of the same names, say."""
    return open_tflite(
        model,
        named.labels,
        named.runtime,
        named.threads,
        mean=named.mean,
        std=named.std,
        crop=named.crop,
        background=named.background,
        kind=named.output,
    )


def open_tflite(
    model: Path | str,
    labels: Path | str | Sequence[str] | None = None,
    runtime: str = "litert",
    threads: int = 1,
    *,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
    crop: Literal["stretch", "centre", "pad"] = "stretch",
    background: Literal["none", "add", "drop"] = "none",
    kind: Literal["auto", "logits", "probabilities"] = "auto",
) -> Classifier:
    """Load a TFLite picture classifier.

    ``mean`` and ``std`` (pixel levels) override the model's own normalisation. ``background`` says
    that the model's first score is a class missing from the labels (``add``) or that the first
    label has no score (``drop``). ``kind`` says what the scores are.

    Raises:
        ModelError: no picture classifier, or labels or normalisation are not known.
        ConfigError, RuntimeUnavailableError: as for ``open_runtime``.
    """
    data = read_model(model)
    facts = tflite_file.read(data)
    spec = _input_spec(facts, mean, std, crop)
    output = _output_spec(facts, kind)
    names = _labels(labels, facts, background)
    opened = open_runtime(runtime, data, threads)
    try:
        return Classifier(
            opened,
            check=ScoreCheck(
                kind=output.kind,
                sum_is_one=facts.ending == "softmax",
                quantised=output.dtype != "float32",
            ),
            input=spec,
            output=output,
            labels=names,
            model_bytes=len(data),
            model_info=model_info(
                opened, facts.name or _stem(model), "", hashlib.sha256(data).hexdigest()
            ),
        )
    except BaseException:
        opened.close()
        raise


def _stem(path: Path | str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def read_model(path: Path | str) -> bytes:
    """Read a model file.

    Raises:
        ModelError: it cannot be read, or is larger than any model for a device.
    """
    with os_errors_as(ModelError, f"model {path}"), open(path, "rb") as file:
        data = file.read(MAX_MODEL_BYTES + 1)
    if len(data) > MAX_MODEL_BYTES:
        raise ModelError(f"model {path} has more than {MAX_MODEL_BYTES} bytes")
    return data


def _input_spec(
    facts: TFLiteFacts,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    crop: Literal["stretch", "centre", "pad"],
) -> InputSpec:
    """Work out how pixels become the model's input.

    An integer input without given ``mean`` and ``std`` takes the pixel levels as they are: its
    scale and zero point then say which real values those stand for.
    """
    if len(facts.inputs) != 1 or len(facts.inputs[0].shape) != 4:
        shapes = [tensor.shape for tensor in facts.inputs]
        raise ModelError(f"not a picture classifier: its inputs have the shapes {shapes}")
    tensor = facts.inputs[0]
    batch, height, width, channels = tensor.shape
    if height in (1, 3) and channels not in (1, 3):
        raise ModelError(
            f"its input is {tensor.dtype} {tensor.shape}, with the colours first (NCHW); convert "
            "it with the colours last (NHWC), as TFLite's own converters do"
        )
    if batch != 1 or channels not in (1, 3) or tensor.dtype not in _DTYPES:
        raise ModelError(
            f"not a picture classifier: its input is {tensor.dtype} {tensor.shape}; (1, height, "
            "width, 1 or 3) of uint8, int8 or float32 is needed"
        )
    if set(facts.open_sizes) - {0}:
        raise ModelError(
            f"its input, {tensor.dtype} {tensor.shape}, leaves sizes open; convert it with the "
            "height and width that it was trained with, such as (1, 224, 224, 3)"
        )
    if bool(mean) != bool(std):
        raise ModelError("mean and std (--mean, --std) must be given together")
    if not mean:
        mean, std = _normalisation(tensor, facts)
    try:
        return InputSpec(
            width=width,
            height=height,
            colour="rgb" if channels == 3 else "grey",
            crop=crop,
            dtype=tensor.dtype,  # type: ignore[arg-type]
            mean=mean,
            std=std,
            scale=tensor.scale or 1.0,
            zero_point=tensor.zero_point,
        )
    except ValueError as error:
        raise ModelError(f"the model's input cannot be used: {error}") from error


def _normalisation(tensor: TensorSpec, facts: TFLiteFacts) -> _Scale:
    if tensor.dtype != "float32":
        first_level = 0 if tensor.dtype == "uint8" else -128
        kept = (float(tensor.zero_point - first_level),), (1.0 / (tensor.scale or 1.0),)
        if facts.mean and facts.std:
            _refuse_two_scales(tensor, kept, (facts.mean, facts.std))
        return kept
    if facts.mean and facts.std:
        return facts.mean, facts.std
    raise ModelError(
        "the model does not say how its float input is scaled; give --mean 127.5 --std 127.5 if "
        "it was trained on -1..1, --mean 0 --std 255 if on 0..1"
    )


def _refuse_two_scales(tensor: TensorSpec, kept: _Scale, told: _Scale) -> None:
    """Hold what the metadata say of an integer input against its quantisation.

    Raises:
        ModelError: levels as they are would stand for other values than the metadata say.
    """
    ends = [[(level - m) / s for level in (0, 255)] for m, s in zip(*told, strict=False)]
    apart = max(abs(x - y) for end in ends for x, y in zip(end, _ends(kept), strict=True))
    if apart > _SAME_LEVELS * (tensor.scale or 1.0):
        low, high = _ends(kept)
        lowest, highest = min(end[0] for end in ends), max(end[1] for end in ends)
        raise ModelError(
            f"the model contradicts itself about its input: by its quantisation black is {low:.4g} "
            f"and white {high:.4g}, by its metadata (mean {_said(told[0])}, std {_said(told[1])}) "
            f"{lowest:.4g} and {highest:.4g}; give --mean and --std as it was trained"
        )


def _ends(scale: _Scale) -> tuple[float, float]:
    """The real values of black and white."""
    return -scale[0][0] / scale[1][0], (255 - scale[0][0]) / scale[1][0]


def _said(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)


def _output_spec(
    facts: TFLiteFacts, kind: Literal["auto", "logits", "probabilities"]
) -> OutputSpec:
    if len([o for o in facts.outputs if o.name != FEATURES]) != 1:
        raise ModelError(
            f"not a classifier: it gives {len(facts.outputs)} outputs (a detector gives boxes, "
            "classes, scores and a count); a classifier gives one"
        )
    tensor = facts.outputs[0]
    if tensor.dtype not in _DTYPES or not tensor.shape:
        raise ModelError(f"not a classifier: its output is {tensor.dtype} {tensor.shape}")
    if kind == "auto":
        # TFLite fixes the quantisation of a softmax's output at 1/256 from the lowest level up,
        # which still shows where a compiler has hidden the operator.
        lowest = -128 if tensor.dtype == "int8" else 0
        fixed = tensor.scale == 1 / 256 and tensor.zero_point == lowest
        kind = "probabilities" if facts.ending != "other" or fixed else "logits"
    return OutputSpec(
        kind=kind,
        dtype=tensor.dtype,  # type: ignore[arg-type]
        scale=tensor.scale or 1.0,
        zero_point=tensor.zero_point,
    )


def _labels(
    given: Path | str | Sequence[str] | None,
    facts: TFLiteFacts,
    background: Literal["none", "add", "drop"],
) -> tuple[str, ...]:
    """Find the labels and hold their number against the scores; what is odd is logged."""
    classes = prod(facts.outputs[0].shape)
    if isinstance(given, (str, os.PathLike)):
        source = f"label file {given}"
        names, notes = read_labels(Path(given), classes)
    elif given is not None:
        source, names, notes = "labels", tuple(given), odd_names(tuple(given))
    elif facts.labels is not None:
        source = "the model's own labels"
        names, notes = facts.labels, odd_names(facts.labels)
    else:
        raise ModelError(
            f"the model gives {classes} numbers and holds no labels; give a label file (--labels, "
            "model.labels). A model without classes is not a classifier but an embedder"
        )
    for note in (*notes, *_contradiction(names, facts.labels)):
        log.warning("%s: %s", source, note)
    if background == "add":
        names = ("background", *names)
    elif background == "drop":
        if not is_background(names[0]):
            log.warning("%s: background = drop leaves out the first label, %r", source, names[0])
        names = names[1:]
    if classes > 1 and facts.ending == "logistic":
        log.warning(
            "the model judges each class by itself (it ends in sigmoids), so several may be "
            "present at once; only the surest class of a picture, or of each tile, counts"
        )
    if classes == 1:
        _check_yes_no(names, background)
    elif len(names) != classes:
        raise ModelError(_count_problem(classes, names))
    return names


def _contradiction(names: tuple[str, ...], own: tuple[str, ...] | None) -> tuple[str, ...]:
    """A note if the labels differ from as many that the model holds."""
    if own is None or len(own) != len(names):
        return ()
    differ = [
        f"score {i} is {one!r}, in the model {other!r}"
        for i, (one, other) in enumerate(zip(names, own, strict=True))
        if one.strip().casefold() != other.strip().casefold()
    ]
    more = f" and {len(differ) - 3} more" if len(differ) > 3 else ""
    return (
        f"different from the model's own labels, and used: {'; '.join(differ[:3])}{more}",
    ) * bool(differ)


def _check_yes_no(names: tuple[str, ...], background: str) -> None:
    """Hold the labels against a model with one score.

    Raises:
        ModelError: they are not two.
    """
    if len(names) == 2 and background == "none":
        log.warning("one score: it counts for %r, the remainder for %r", *names)
        return
    raise ModelError(
        f"the model gives one score, which says yes or no, but there are {len(names)} labels "
        f"(background = {background}); give two: first what a high score means, then the opposite"
    )


def _count_problem(classes: int, names: tuple[str, ...]) -> str:
    problem = f"the model gives {classes} scores, but there are {len(names)} labels"
    if classes == len(names) - 1 and is_background(names[0]):
        return (
            f"{problem}; the first is {names[0]!r}: if the model has no such class, set background "
            "= drop (--background drop)"
        )
    if classes == len(names) + 1 and not any(map(is_background, names)):
        return (
            f"{problem}; if the model's description says that its first score is a background "
            "class, set background = add (--background add), else find the labels that belong to it"
        )
    return f"{problem}; find the labels that belong to it"
