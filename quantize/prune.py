"""Magnitude pruning: the smallest weights of every convolution and dense layer become zero.

TFMOT's wrappers follow a polynomial schedule (Zhu and Gupta 2017, arXiv:1710.01878): sparsity rises
from zero, fast at first, to the target at two thirds of the fine-tuning; the rest heals. Zeros
make an int8 model smaller to send, not faster to run: no CPU kernel here skips them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from edge.errors import QuantizeError
from quantize.finetune import Progress, Schedule, fine_tune, steady


def prune(
    model: Any,  # noqa: ANN401 - a Keras model
    sparsity: float,
    batches: Iterator[tuple[Any, Any]],
    schedule: Schedule,
    progress: Progress,
) -> Any:  # noqa: ANN401
    """Return a copy of `model` in which `sparsity` (0..1) of the prunable weights are zero.

    `model` teaches and is not changed.

    Raises:
        QuantizeError: nothing can be pruned, training diverged, or the zeros did not come about.
    """
    from quantize import tfmot

    wrapped = _wrap(model, sparsity, schedule)
    steady(wrapped)
    _begin(wrapped)
    fine_tune(wrapped, model, batches, schedule, progress)
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


def sparsities(model: Any) -> dict[str, float]:  # noqa: ANN401
    """Share of exact zeros in the kernel of each prunable layer, 0..1, by layer name."""
    return {layer.name: float(np.mean(layer.get_weights()[0] == 0)) for layer in prunable(model)}


def _kinds(keras: Any) -> tuple[Any, ...]:  # noqa: ANN401
    return (keras.layers.Conv2D, keras.layers.Dense)


def _wrap(model: Any, sparsity: float, schedule: Schedule) -> Any:  # noqa: ANN401
    from quantize import tfmot

    chosen = {layer.name for layer in prunable(model)}
    if not chosen:
        raise QuantizeError(
            "the model has no Conv2D or Dense layer of its own to prune; layers inside a nested "
            "model are not reached: build the model flat"
        )
    # The last update must fall on the last step of the schedule, or the target is missed.
    every = max(1, round(schedule.steps * 2 / 3) // 12)
    end = every * max(1, round(schedule.steps * 2 / 3) // every)
    rising = tfmot.pruning_schedule.PolynomialDecay(
        initial_sparsity=0.0,
        final_sparsity=sparsity,
        begin_step=0,
        end_step=end,
        frequency=every,
    )

    def clone(layer: Any) -> Any:  # noqa: ANN401
        copy = layer.__class__.from_config(layer.get_config())
        if layer.name in chosen:
            return tfmot.sparsity.prune_low_magnitude(copy, pruning_schedule=rising)
        return copy

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


def _begin(wrapped: Any) -> None:  # noqa: ANN401
    from quantize import tfmot

    for layer in tfmot.pruning_wrapper.collect_prunable_layers(wrapped):
        layer.pruning_step.assign(0)


def _check(model: Any, sparsity: float) -> None:  # noqa: ANN401
    sizes = {layer.name: layer.get_weights()[0].size for layer in prunable(model)}
    for name, found in sparsities(model).items():
        # Rounding to whole weights, and ties, may leave one weight more.
        if found < sparsity - 1.5 / sizes[name]:
            raise QuantizeError(
                f"layer {name} has {found:.1%} zeros, not the {sparsity:.1%} asked for: give "
                "pruning more epochs"
            )
