"""Quantization-aware training: the model learns with int8 rounding in the way.

TFMOT places the fake quantization (Jacob et al. 2018, arXiv:1712.05877): int8 weights per channel,
int8 activations, batch norm folded by the converter. Done around it, each for a loss
that was seen without:

* Kernels are brought to one range per channel first, and the batch norms behind them take the
  factors up exactly: TFMOT rounds a depthwise kernel with a single scale for all channels, and
  Adam's steps are as large for a kernel of 0.1 as for one of 10.
* Channels of linear activations are brought to one range too.
* Kernels start from the levels that change their outputs least, see
  `quantize.int8.adaptive_rounding`.
* Activation ranges start from what the float model's activations are on training photos, not from
  TFMOT's -6..6, which its slow average would still be leaving when training ends.
* What rounding shifts on average is taken back before training begins, see
  `quantize.int8.bias_correction`.
* A last kernel with a weight far beyond all others is clipped, see `quantize.int8.clipping`.
* In the end the last layer is fitted once more, to the features as they are rounded.
* The input range is fixed so that a pixel's level is the pixel itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import QuantizeError
from quantize.int8.adaptive_rounding import round_kernels
from quantize.int8.bias_correction import correct, refit
from quantize.int8.clipping import clip_last
from quantize.int8.equalisation import equalise, hold_upright, level, turn_upright
from quantize.int8.preserve import preserving_scheme
from quantize.keras.finetune import Distillation, Progress, Schedule, steady
from quantize.workbench import INPUT_MAX, INPUT_MIN
from training.untyped import Layer, Model, Tensor

#: Of so many calibration photos one is enough to see what rounding does to a layer.
CORRECTION_STRIDE = 4
#: Photos at a time whose patches are held in memory.
CHUNK = 16

Photos = Iterable[NDArray[np.float32]]


def quantization_aware(model: Model, calibration: Photos, clustered: bool = False) -> Model:
    """Return a copy of `model` with fake quantization in it, ranges set from photos.

    Zeros in the weights stay zero through training, and clusters clusters:
    `quantize.int8.preserve`.

    Args:
        model: a flat Keras model; it is not changed.
        clustered: from `quantize.compress.cluster`; scaled anew its channels would have other
            values each.
        calibration: batches of float32 (n, h, w, 3) in -1..1.

    Raises:
        QuantizeError: a layer cannot be quantized; it is named, with the cure.
    """
    from quantize.keras import tfmot
    from quantize.keras.kernels import twin

    check_layers(model)
    copy = twin(model)
    batches = list(calibration)
    some = np.concatenate(batches)[::CORRECTION_STRIDE]
    if not clustered:
        clip_last(copy, batches)
        level(copy, batches)
    equalise(copy, ("DepthwiseConv2D",) if clustered else ("Conv2D", "DepthwiseConv2D"))
    norms = turn_upright(copy) if clustered else frozenset()
    rounded = copy
    if not clustered:
        rounded = twin(copy)
        round_kernels(rounded, np.array_split(some, -(-len(some) // CHUNK)))
    try:
        annotated = tfmot.quantize.quantize_annotate_model(rounded)
        student = tfmot.quantize.quantize_apply(annotated, scheme=preserving_scheme(clustered))
    except (RuntimeError, ValueError) as error:
        raise QuantizeError(f"TFMOT cannot quantize this model: {error}") from error
    _fix_input(student)
    steady(student)
    ranges = _Ranges(student)
    ranges.observe(batches)
    correct(student, copy, some)
    student.activation_ranges, student.upright, student.clustered = ranges, norms, clustered
    return student


def train(
    student: Model,
    teacher: Model,
    batches: Iterator[tuple[Any, Any]],
    schedule: Schedule,
    progress: Progress,
) -> None:
    """Train what `quantization_aware` returned in place; `settle` comes after.

    Raises:
        QuantizeError: training diverged.
    """
    student.activation_ranges.follow()
    Distillation(student, teacher).run(batches, schedule, progress)
    hold_upright(student, student.upright)


def settle(student: Model, teacher: Model, batch: NDArray[np.float32], photos: Photos) -> None:
    """Take changed weights over into the ranges, and fit the last layer to what is rounded.

    Args:
        student: from `quantization_aware`, trained or not.
        teacher: the float model that it comes from.
        batch: any photos, float32 (n, h, w, 3) in -1..1.
        photos: batches of training photos for the last layer. A clustered one is left as it is.
    """
    student.activation_ranges.settle(batch)
    if not student.clustered:
        refit(student, teacher, photos)
        student.activation_ranges.settle(batch)


def check_layers(model: Model) -> None:
    """Refuse a model with layers that TFMOT cannot quantize.

    Raises:
        QuantizeError: naming each layer with its class and the cure.
    """
    from quantize.keras import tfmot

    registry = tfmot.registry.Default8BitQuantizeRegistry()
    layers = tfmot.keras.layers
    wrong = []
    for layer in model.layers:
        kind = type(layer).__name__
        if isinstance(layer, tfmot.keras.Model):
            wrong.append(f"{layer.name} (a model inside the model): build the model flat")
        elif isinstance(layer, layers.InputLayer) or type(layer) is layers.BatchNormalization:
            continue
        elif not registry.supports(layer):
            wrong.append(f"{layer.name} ({kind}): {_cure(kind)}")
        elif _activation(layer) not in _ACTIVATIONS:
            wrong.append(
                f"{layer.name} ({kind} with activation {_activation(layer)}): use ReLU or ReLU6"
            )
    if wrong:
        raise QuantizeError(
            "these layers cannot be quantized:\n  " + "\n  ".join(wrong) + "\n"
            "MobileNetV1- and V2-like models are safe; or use --method ptq."
        )


#: What TFMOT and TFLite fuse or quantize without loss of meaning.
_ACTIVATIONS = {None, "linear", "relu", "relu6"}

_CURES = {
    "Lambda": "TFMOT cannot look inside; move it out of the model",
    "Rescaling": "scaling belongs to the input rules, not into the model",
    "Multiply": "no squeeze-and-excite or hard-swish; take a MobileNetV2-like model",
    "Normalization": "scaling belongs to the input rules, not into the model",
}


def _cure(kind: str) -> str:
    return _CURES.get(kind, "replace it by Conv2D, DepthwiseConv2D, Dense, ReLU, pooling or Add")


def _activation(layer: Layer) -> str | None:
    activation = getattr(layer, "activation", None)
    return None if activation is None else getattr(activation, "__name__", str(activation))


def _fix_input(student: Model) -> None:
    from quantize.keras import tfmot

    for layer in student.layers:
        if isinstance(layer, tfmot.quantize_layer.QuantizeLayer):
            layer.quantizer = tfmot.quantizers.FixedQuantizer(
                num_bits=8, init_min=INPUT_MIN, init_max=INPUT_MAX, narrow_range=False
            )


class _Ranges:
    """All activation quantizers of a model, switched between watching and quantizing together."""

    def __init__(self, student: Model) -> None:
        self._student = student
        self._quantizer = _quantizer()
        self._variables: list[tuple[Any, Any]] = []
        for layer in student.layers:
            if getattr(layer, "_output_quantizers", None):
                layer._output_quantizers = [self._quantizer]
                self._remember(layer._output_quantizer_vars)
            for activation in getattr(layer, "_quantize_activations", ()):
                if activation._should_post_quantize():
                    activation.quantizer = self._quantizer
                    self._remember(activation._post_activation_vars)

    def _remember(self, variables: dict[str, Any]) -> None:
        self._variables.append((variables["min_var"], variables["max_var"]))

    def observe(self, calibration: Photos) -> None:
        """Set every range to the mean of the batches' extremes, activations left unrounded."""
        lows = [np.zeros(()) for _ in self._variables]
        highs = [np.zeros(()) for _ in self._variables]
        count = 0
        self._quantizer.mode = "observe"
        run = self._runner()
        for batch in calibration:
            run(batch)
            count += 1
            for k, (low, high) in enumerate(self._variables):
                lows[k] = lows[k] + low.numpy()
                highs[k] = highs[k] + high.numpy()
        self._quantizer.mode = "follow"
        if count == 0:
            raise QuantizeError("no photos to calibrate with")
        for k, (low, high) in enumerate(self._variables):
            low.assign(lows[k] / count)
            high.assign(highs[k] / count)

    def follow(self) -> None:
        """Move with what is seen in training."""
        self._quantizer.mode = "follow"

    def settle(self, batch: NDArray[np.float32]) -> None:
        """Take over changed weights: weight ranges anew, activation ranges held."""
        self._quantizer.mode = "hold"
        self._runner()(batch)

    def _runner(self) -> Any:  # noqa: ANN401 - a new function, so the mode is traced anew
        from training.tf import traced

        return traced(lambda batch: self._student(batch, training=True))


def _quantizer() -> Any:  # noqa: ANN401
    from quantize.keras import tfmot

    class Range(tfmot.quantizers.MovingAverageQuantizer):  # type: ignore[misc]
        """An activation range that can be watched, followed or held."""

        mode = "follow"

        def __call__(self, inputs: Tensor, training: Any, weights: Any, **_: Any) -> Any:  # noqa: ANN401
            low, high = weights["min_var"], weights["max_var"]
            if self.mode == "observe":
                low.assign(tfmot.tf.minimum(tfmot.tf.reduce_min(inputs), 0.0))
                high.assign(tfmot.tf.maximum(tfmot.tf.reduce_max(inputs), 0.0))
                return inputs
            return tfmot.quant_ops.MovingAvgQuantize(
                inputs,
                low,
                high,
                ema_decay=0.99,
                is_training=training and self.mode == "follow",
                num_bits=8,
            )

    return Range(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)
