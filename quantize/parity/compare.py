"""Is the int8 model as good as the float one? Measured on the same photos through the device path.

Four forms answer the same validation and test photos: the run's Keras model; the Keras model that
was quantized, which is the same or its pruned form; that one as float TFLite (a difference there is
the converter's fault, not quantization's); and the int8 model. The TFLite forms see what a camera's
program sees: `edge.model.image.preprocessing`, `edge.model.runtimes`, `edge.model.scores`.

Accuracy is held against the run's model, whatever was done to it. Agreement is held against the
model that was quantized: pruning may move answers, as training anew would, rounding may not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import ParityError, QuantizeError
from edge.model.bundle.manifest import OutputSpec
from edge.model.image.preprocessing import InputSpec, quantise
from edge.model.runtimes import open_runtime
from edge.model.scores import dequantise
from quantize.options import Limits
from training import metrics
from training.quiet import quiet

#: With fewer photos than this a gate would only pretend to decide.
MIN_PHOTOS = 20
#: Float TFLite must give Keras' answer on this share of the photos, or the conversion is wrong.
MIN_CONVERTER_AGREEMENT = 0.98

Logits = NDArray[np.float32]


class Photos(msgspec.Struct, frozen=True, kw_only=True):
    """One split as the device sees it."""

    pixels: Any
    """uint8 (n, height, width, channels), as the int8 model takes them."""
    run_pixels: Any
    """The same photos as the run's model takes them; another size where a smaller one was made."""
    truth: Any
    """int64 (n,)."""
    files: tuple[str, ...]
    groups: tuple[str, ...]


class FormAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """Logits of one split by the four forms, float32 (n, classes) each."""

    keras: Any
    """The run's model."""
    source: Any
    """The float model that was quantized; with pruning the pruned one, else the same."""
    float_tflite: Any
    int8: Any


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """How good one form of the model is; shares 0..1."""

    accuracy: float
    accuracy_low: float
    accuracy_high: float
    balanced_accuracy: float


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Expected calibration error (15 bins), with and without the temperature of validation."""

    temperature: float
    ece_before: float
    ece_after: float


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one split, or of both together."""

    n: int
    keras: Form
    source: Form
    float_tflite: Form
    int8: Form
    lost: float
    """Accuracy of Keras minus that of int8."""
    lost_low: float
    lost_high: float
    """95 % interval of the loss on the same photos (Newcombe 1998, method 10)."""
    agreement: float
    """Int8 and the float model it was quantized from."""
    run_agreement: float
    """Int8 and the run's model; the same without pruning."""
    converter_agreement: float
    """The quantized float model in Keras and in float TFLite."""


class ClassDrop(msgspec.Struct, frozen=True, kw_only=True):
    """Recall of one class before and after, validation and test photos together."""

    label: str
    n: int
    float_recall: float
    int8_recall: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The whole comparison; `failures` is empty where the gate is passed."""

    splits: dict[str, Split]
    """`val`, `test` and `both`; the gate looks at `both`."""
    classes: tuple[ClassDrop, ...]
    float_calibration: Calibration
    """Of the run's model, judged on the test photos."""
    int8_calibration: Calibration
    pruned: bool
    """Whether the model that was quantized is another than the run's."""
    limits: Limits
    failures: tuple[str, ...]

    @property
    def verdict(self) -> Literal["refused", "equal", "not shown to be equal"]:
        """What was shown. "equal": the whole 95 % interval of the loss is within the tolerance."""
        if self.failures:
            return "refused"
        within = self.splits["both"].lost_high <= self.limits.tolerance
        return "equal" if within else "not shown to be equal"

    @property
    def sentence(self) -> str:
        """The verdict in words, with the figures it rests on."""
        both, allowed = self.splits["both"], points(self.limits.tolerance)
        # Upwards: rounded down, a loss beyond the tolerance would read as one within it.
        high = points(max(0, math.ceil(round(1000 * both.lost_high, 6))) / 1000)
        if self.verdict == "refused":
            return "The int8 model is not as good as the float one. No bundle was written."
        if self.verdict == "equal":
            return (
                "The int8 model is as good as the float one: with 95 % confidence it loses at "
                f"most {high} of accuracy, and {allowed} may be lost."
            )
        return (
            f"The int8 model may lose up to {high} of accuracy to the float one (with 95 % "
            f"confidence no more). To call them equal, that has to be {allowed} or less; {both.n} "
            f"photos with {_differing(both)} different answers cannot show it."
        )


def points(share: float) -> str:
    """A share of accuracy in percentage points: 0.01 -> "1 point"."""
    return f"{100 * share:g} point{'' if share == 0.01 else 's'}"


def _differing(split: Split) -> int:
    """Photos on which int8 and the run's model differ."""
    return split.n - round(split.run_agreement * split.n)


def answer(
    models: tuple[Any, Any],
    float_tflite: bytes,
    int8: bytes,
    specs: tuple[InputSpec, InputSpec, OutputSpec],
    photos: Photos,
    advance: Callable[[int], None] = lambda _: None,
) -> FormAnswers:
    """Ask all forms about every photo of a split.

    Args:
        models: of the run and what was quantized; Keras, float32 (n, h, w, c) in -1..1 to logits.
        float_tflite: the latter converted without quantization.
        int8: the model in question.
        specs: input of the float model that was quantized, input and output of the int8 model.
        photos: of one split.
        advance: told how many photos are done.
    """
    from training.fitting.train import predict_logits

    float_input, int8_input, int8_output = specs
    plain = OutputSpec(kind="logits", dtype="float32")
    keras, source = models
    said = predict_logits(keras, photos.run_pixels)
    return FormAnswers(
        keras=said,
        source=said if source is keras else predict_logits(source, photos.pixels),
        float_tflite=device_logits(float_tflite, float_input, plain, photos.pixels, advance),
        int8=device_logits(int8, int8_input, int8_output, photos.pixels, advance),
    )


def device_logits(
    model: bytes,
    spec: InputSpec,
    output: OutputSpec,
    pixels: NDArray[np.uint8],
    advance: Callable[[int], None] = lambda _: None,
) -> Logits:
    """Logits (n, classes) of fitted photos (n, h, w, c), as the device computes them."""
    with quiet():
        runtime = open_runtime("litert", model, threads=2)
    try:
        rows = []
        for photo in pixels:
            raw = runtime.invoke(quantise(photo, spec))
            rows.append(dequantise(raw, output.scale, output.zero_point))
            advance(1)
        return np.stack(rows)
    finally:
        runtime.close()


def require_photos(counts: Mapping[str, int]) -> None:
    """See that `val` and `test` have photos enough to judge by.

    Raises:
        QuantizeError: too few to decide anything.
    """
    if sum(counts.values()) < MIN_PHOTOS or not all(counts.values()):
        said = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise QuantizeError(
            f"too few photos to judge the int8 model: {said}; at least {MIN_PHOTOS} in both "
            "splits together and one in each are needed. Label more, or give them a larger share "
            "(python -m training split --fractions), and train again"
        )


def compare(
    photos: Mapping[str, Photos],
    answers: Mapping[str, FormAnswers],
    labels: tuple[str, ...],
    limits: Limits,
) -> Comparison:
    """Judge the answers on `val` and `test`; the result says whether the gate is passed.

    Raises:
        QuantizeError: too few photos to decide anything.
    """
    truth = {name: part.truth for name, part in photos.items()}
    require_photos({name: len(part) for name, part in truth.items()})
    all_truth = np.concatenate(list(truth.values()))
    both = FormAnswers(
        **{
            form: np.concatenate([getattr(a, form) for a in answers.values()])
            for form in FormAnswers.__struct_fields__
        }
    )
    splits = {name: _split(answers[name], truth[name]) for name in truth}
    splits["both"] = _split(both, all_truth)
    return Comparison(
        splits=splits,
        classes=_class_drops(both, all_truth, labels),
        float_calibration=_calibration(answers["val"].keras, answers["test"].keras, photos),
        int8_calibration=_calibration(answers["val"].int8, answers["test"].int8, photos),
        pruned=any(a.source is not a.keras for a in answers.values()),
        limits=limits,
        failures=_failures(splits["both"], limits),
    )


def require(report: Comparison) -> None:
    """Let a report pass whose failures are none.

    Raises:
        ParityError: with the figures and what helps.
    """
    if report.failures:
        raise ParityError(
            "the int8 model is not as good as the float one, no bundle was written:\n  "
            + "\n  ".join(report.failures)
            + "\nWhat helps: more --epochs, less --pruning, --method qat instead of ptq; or, where "
            "this loss is acceptable, a wider --tolerance or --min-agreement."
        )


def _failures(both: Split, limits: Limits) -> tuple[str, ...]:
    found = []
    if both.lost_low > limits.tolerance:
        found.append(
            f"accuracy {both.int8.accuracy:.1%} instead of {both.keras.accuracy:.1%} on {both.n} "
            f"photos: {100 * both.lost:.1f} points lost, at least {100 * both.lost_low:.1f} beyond "
            f"chance, {100 * limits.tolerance:g} allowed"
        )
    if both.agreement < limits.min_agreement:
        differing = both.n - round(both.agreement * both.n)
        found.append(
            f"int8 and the float model it was quantized from agree on {both.agreement:.1%} of "
            f"{both.n} photos ({differing} differ), {limits.min_agreement:.0%} are required"
        )
    if both.converter_agreement < MIN_CONVERTER_AGREEMENT:
        found.append(
            f"float TFLite and Keras agree on only {both.converter_agreement:.1%}: the conversion "
            "itself goes wrong; report it with the model"
        )
    return tuple(found)


def _split(answers: FormAnswers, truth: NDArray[np.int64]) -> Split:
    top = {name: getattr(answers, name).argmax(axis=1) for name in answers.__struct_fields__}
    right = {name: said == truth for name, said in top.items()}
    low, high = metrics.paired_difference_interval(right["keras"], right["int8"])
    return Split(
        n=len(truth),
        keras=_form(truth, top["keras"]),
        source=_form(truth, top["source"]),
        float_tflite=_form(truth, top["float_tflite"]),
        int8=_form(truth, top["int8"]),
        lost=float(right["keras"].mean() - right["int8"].mean()),
        lost_low=low,
        lost_high=high,
        agreement=float(np.mean(top["source"] == top["int8"])),
        run_agreement=float(np.mean(top["keras"] == top["int8"])),
        converter_agreement=float(np.mean(top["source"] == top["float_tflite"])),
    )


def _form(truth: NDArray[np.int64], said: NDArray[np.int64]) -> Form:
    low, high = metrics.wilson_interval(int((truth == said).sum()), len(truth))
    return Form(
        accuracy=metrics.accuracy(truth, said),
        accuracy_low=low,
        accuracy_high=high,
        balanced_accuracy=metrics.balanced_accuracy(truth, said),
    )


def _class_drops(
    both: FormAnswers, truth: NDArray[np.int64], labels: tuple[str, ...]
) -> tuple[ClassDrop, ...]:
    scores = [
        metrics.class_scores(truth, form.argmax(axis=1), len(labels))
        for form in (both.keras, both.int8)
    ]
    return tuple(
        ClassDrop(
            label=label,
            n=int(scores[0].n[i]),
            float_recall=float(scores[0].recall[i]),
            int8_recall=float(scores[1].recall[i]),
        )
        for i, label in enumerate(labels)
    )


def _calibration(val: Logits, test: Logits, photos: Mapping[str, Photos]) -> Calibration:
    truth, fitted = photos["test"].truth, photos["val"]
    temperature = metrics.fit_temperature(val, fitted.truth, fitted.groups)
    return Calibration(
        temperature=temperature,
        ece_before=metrics.ece(metrics.softmax(test), truth),
        ece_after=metrics.ece(metrics.softmax(test, temperature), truth),
    )
