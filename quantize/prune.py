"""Magnitude pruning: the least weights of the convolutions and dense layers become zero.

TFMOT's wrappers follow a polynomial schedule (Zhu and Gupta 2017, arXiv:1710.01878): sparsity rises
from zero, fast at first, to the target at half of the fine-tuning; the rest heals. Zeros
make an int8 model smaller to send, not faster to run: no CPU kernel here skips them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import QuantizeError
from quantize.allocate import allocate, input_sizes
from quantize.convert import model_scale
from quantize.finetune import Schedule, fine_tune, steady
from quantize.options import PRUNING_EPOCHS, PRUNING_STEPS

if TYPE_CHECKING:
    from quantize.pipeline import Pipeline

#: Photos that each layer's share of the pruning is found on.
SENSITIVITY_PHOTOS = 64


def pruned(
    pipeline: Pipeline,
    model: Any,  # noqa: ANN401 - a Keras model
    features: NDArray[np.int64] | None = None,
) -> Any:  # noqa: ANN401
    """The pipeline's phase: `model` with the zeros asked for; made or from before.

    `features` says which of the run's pooled features the model has, where not all.

    Raises:
        QuantizeError: nothing can be pruned, or training diverged.
    """
    from quantize.pipeline import save_model
    from training.tf import keras

    options, watcher = pipeline.options, pipeline.watcher
    path = pipeline.result_path("pruned", ".keras", *pipeline.source_facts())
    if path.exists():
        watcher.say(f"pruned model taken from {path}")
        return keras.models.load_model(path, compile=False)
    rate = options.pruning_learning_rate
    schedule = pipeline.schedule(options.pruning_epochs, PRUNING_EPOCHS, PRUNING_STEPS, rate)
    count = len(prunable(model))
    watcher.phase(f"pruning {count} layers to {options.pruning:.0%} zeros", schedule.steps)
    found = prune(
        model,
        options.pruning,
        model_scale(pipeline.train_photos(SENSITIVITY_PHOTOS)),
        lambda student: fine_tune(
            student,
            pipeline.float_keras,
            pipeline.batches(schedule, stream=1, side=pipeline.run.info.input.width),
            schedule,
            pipeline.progress,
            features,
        ),
        schedule,
    )
    return save_model(found, path)


def prune(
    model: Any,  # noqa: ANN401 - a Keras model
    sparsity: float,
    photos: NDArray[np.float32],
    train: Callable[[Any], object],
    schedule: Schedule,
) -> Any:  # noqa: ANN401
    """Return a copy of `model` in which `sparsity` (0..1) of the prunable weights are zero.

    Args:
        model: not changed.
        sparsity: of all kernels, depthwise ones included, whose part the others bear; each layer
            has its own share, see `quantize.allocate`.
        photos: training photos to find those shares on, float32 (n, h, w, c) in -1..1.
        train: fine-tunes the model that it is given in place, for the steps of the schedule.
        schedule: of that.

    Raises:
        QuantizeError: nothing can be pruned, training diverged, or the zeros did not come about.
    """
    from quantize import tfmot

    copy = tfmot.keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    layers = prunable(copy)
    if not layers:
        raise QuantizeError(
            "the model has no Conv2D or Dense layer of its own to prune; layers inside a nested "
            "model are not reached: build the model flat"
        )
    sizes = input_sizes(copy, layers, photos)
    share = min(
        0.97, sparsity * _weights(copy) / sum(x.kernel.shape.num_elements() for x in layers)
    )
    wrapped = _wrap(copy, allocate(copy, layers, sizes, share, photos), schedule)
    steady(wrapped)
    _begin(wrapped, sizes)
    train(wrapped)
    _apply_masks(wrapped)
    pruned = tfmot.sparsity.strip_pruning(wrapped)
    _check(pruned, sparsity)
    return pruned


def prunable(model: Any) -> list[Any]:  # noqa: ANN401
    """Layers that are pruned: ordinary convolutions and dense layers, not depthwise ones.

    Depthwise kernels hold a few percent of the weights and suffer most from losing any.
    """
    from training.tf import keras

    return [layer for layer in model.layers if type(layer) in _kinds(keras)]


def _weights(model: Any) -> int:  # noqa: ANN401
    """Weights in all kernels, pruned or not; biases and batch norms are no kernels."""
    return sum(
        variable.shape.num_elements()
        for variable in model.trainable_variables
        if len(variable.shape) >= 2
    )


def sparsities(model: Any) -> dict[str, float]:  # noqa: ANN401
    """Share of exact zeros in the kernel of each prunable layer, 0..1, by layer name."""
    return {layer.name: float(np.mean(layer.get_weights()[0] == 0)) for layer in prunable(model)}


def _kinds(keras: Any) -> tuple[Any, ...]:  # noqa: ANN401
    return (keras.layers.Conv2D, keras.layers.Dense)


def _wrap(model: Any, targets: Mapping[str, float], schedule: Schedule) -> Any:  # noqa: ANN401
    from quantize import tfmot

    # The last update must fall on the last step of the schedule, or the target is missed.
    every = max(1, schedule.steps // 2 // 12)
    end = every * max(1, schedule.steps // 2 // every)

    def clone(layer: Any) -> Any:  # noqa: ANN401
        copy = layer.__class__.from_config(layer.get_config())
        if layer.name not in targets:
            return copy
        rising = tfmot.pruning_schedule.PolynomialDecay(
            initial_sparsity=0.0,
            final_sparsity=targets[layer.name],
            begin_step=0,
            end_step=end,
            frequency=every,
        )
        return tfmot.sparsity.prune_low_magnitude(copy, pruning_schedule=rising)

    wrapped = tfmot.keras.models.clone_model(model, clone_function=clone)
    for layer in wrapped.layers:
        inner = getattr(layer, "layer", layer)
        inner.set_weights(model.get_layer(inner.name).get_weights())
    return wrapped


def _apply_masks(wrapped: Any) -> None:  # noqa: ANN401
    """Set masked weights to zero once more: averaging brought traces of them back."""
    from quantize import tfmot

    for layer in tfmot.pruning_wrapper.collect_prunable_layers(wrapped):
        layer.pruning_obj.weight_mask_op()


def _begin(wrapped: Any, sizes: Mapping[str, NDArray[np.float32]]) -> None:  # noqa: ANN401
    """Start the schedule, and let TFMOT choose by weight times input instead of weight alone."""
    from quantize import tfmot

    for layer in tfmot.pruning_wrapper.collect_prunable_layers(wrapped):
        layer.pruning_step.assign(0)
        by_size = layer.pruning_obj._update_mask
        inputs = tfmot.tf.constant(sizes[layer.layer.name])
        layer.pruning_obj._update_mask = lambda w, f=by_size, x=inputs: f(w * x)


def _check(model: Any, sparsity: float) -> None:  # noqa: ANN401
    kernels = [layer.get_weights()[0] for layer in prunable(model)]
    found = sum(int(np.sum(k == 0)) for k in kernels) / sum(k.size for k in kernels)
    # Each layer is rounded to whole weights.
    if found < sparsity - len(kernels) / sum(k.size for k in kernels):
        raise QuantizeError(
            f"pruning came to {found:.1%} zeros, not the {sparsity:.1%} asked for: give it more "
            "epochs"
        )
