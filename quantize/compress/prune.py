"""Magnitude pruning: the least weights of the convolutions and dense layers become zero.

TFMOT's wrappers follow a polynomial schedule (Zhu and Gupta 2017, arXiv:1710.01878): sparsity rises
from zero, fast at first, to the target at half of the fine-tuning; the rest heals. Or all zeros are
there from the first step and move for that half (constant). In the pattern 2:4 two of every four
neighbours along the input channels are zero, from the first step on and in one place. Zeros make an
int8 model smaller to send, not faster to run: no CPU kernel here skips them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.errors import QuantizeError
from quantize.compress.sensitivity import allocate, input_sizes
from quantize.keras.finetune import Schedule, steady
from quantize.keras.kernels import check_kernels, prunable, twin, weights
from quantize.options import PRUNING_EPOCHS, PRUNING_STEPS
from quantize.tflite.graph import BLOCK, KEPT, most_in_block
from quantize.workbench import KERAS, Workbench
from training.untyped import Layer, Model

#: Photos that each layer's share of the pruning is found on.
SENSITIVITY_PHOTOS = 64


def pruned(bench: Workbench, model: Model, features: NDArray[np.int64] | None = None) -> Model:
    """The phase: `model` with the zeros asked for; made or from before.

    `features` says which of the run's pooled features the model has, where not all.

    Raises:
        QuantizeError: nothing can be pruned, or training diverged.
    """
    options = bench.options
    how = How(options.pruning_schedule == "constant", options.pruning_pattern == "2:4")

    def make() -> Model:
        rate = options.pruning_learning_rate
        schedule = bench.schedule(options.pruning_epochs, PRUNING_EPOCHS, PRUNING_STEPS, rate)
        check_kernels(model, "pruned")
        train = bench.teach(schedule, stream=1, features=features)
        what = "2:4" if how.two_of_four else f"{options.zeros:.0%} zeros"
        bench.watcher.phase(f"pruning {len(prunable(model))} layers to {what}", schedule.steps)
        photos = bench.train_photos(SENSITIVITY_PHOTOS, model)
        return prune(model, options.zeros, photos, train, schedule, how)

    facts = bench.pruning_facts()
    return bench.kept("pruned", facts, KERAS, make, "pruned model taken from")


class How(NamedTuple):
    """Ways to prune: all zeros at once or by and by, anywhere or two of four."""

    at_once: bool
    two_of_four: bool


def prune(
    model: Model,
    sparsity: float,
    photos: NDArray[np.float32],
    train: Callable[[Any], object],
    schedule: Schedule,
    how: How,
) -> Model:
    """Return a copy of `model` in which `sparsity` (0..1) of the prunable weights are zero.

    Args:
        model: not changed.
        sparsity: of all kernels, depthwise ones included, whose part the others bear; each layer
            has its own share, see `quantize.compress.sensitivity`.
        photos: training photos to find those shares on, float32 (n, h, w, c) in -1..1.
        train: fine-tunes the model that it is given in place, for the steps of the schedule.
        schedule: of that.
        how: two of four is the same for all layers, whatever `sparsity` is.

    Raises:
        QuantizeError: nothing can be pruned, training diverged, or the zeros did not come about.
    """
    from quantize.keras import tfmot

    copy = twin(model)
    layers = prunable(copy)
    if not layers:
        raise QuantizeError(
            "the model has no Conv2D or Dense layer of its own to prune; layers inside a nested "
            "model are not reached: build the model flat"
        )
    sizes = input_sizes(copy, layers, photos)
    if how.two_of_four:
        targets = {layer.name: 0.5 for layer in layers}
    else:
        total = sum(x.kernel.shape.num_elements() for x in layers)
        targets = allocate(copy, layers, sizes, min(0.97, sparsity * weights(copy) / total), photos)
    wrapped = _wrap(copy, targets, schedule, how)
    steady(wrapped)
    _begin(wrapped, sizes)
    train(wrapped)
    _apply_masks(wrapped)
    pruned = tfmot.sparsity.strip_pruning(wrapped)
    if how.two_of_four:
        _check_pattern(pruned)
    else:
        _check(pruned, sparsity)
    return pruned


def _wrap(model: Model, targets: Mapping[str, float], schedule: Schedule, how: How) -> Model:
    from quantize.keras import tfmot

    # The last update must fall on the last step of the schedule, or the target is missed.
    every = max(1, schedule.steps // 2 // 12)
    end = every * max(1, schedule.steps // 2 // every)

    def clone(layer: Layer) -> Layer:
        copy = layer.__class__.from_config(layer.get_config())
        if layer.name not in targets:
            return copy
        if how.at_once or how.two_of_four:
            zeros = tfmot.pruning_schedule.ConstantSparsity(
                targets[layer.name], begin_step=1, end_step=end, frequency=every
            )
        else:
            zeros = tfmot.pruning_schedule.PolynomialDecay(
                initial_sparsity=0.0,
                final_sparsity=targets[layer.name],
                begin_step=0,
                end_step=end,
                frequency=every,
            )
        return tfmot.sparsity.prune_low_magnitude(
            copy, pruning_schedule=zeros, sparsity_m_by_n=(2, 4) if how.two_of_four else None
        )

    wrapped = tfmot.keras.models.clone_model(model, clone_function=clone)
    for layer in wrapped.layers:
        inner = getattr(layer, "layer", layer)
        inner.set_weights(model.get_layer(inner.name).get_weights())
    return wrapped


def _apply_masks(wrapped: Model) -> None:
    """Set masked weights to zero once more: averaging brought traces of them back."""
    from quantize.keras import tfmot

    for layer in tfmot.pruning_wrapper.collect_prunable_layers(wrapped):
        layer.pruning_obj.weight_mask_op()


def _begin(wrapped: Model, sizes: Mapping[str, NDArray[np.float32]]) -> None:
    """Start the schedule, and let TFMOT choose by weight times input instead of weight alone."""
    from quantize.keras import tfmot

    for layer in tfmot.pruning_wrapper.collect_prunable_layers(wrapped):
        layer.pruning_step.assign(0)
        by_size = layer.pruning_obj._maybe_update_block_mask
        inputs = tfmot.tf.constant(sizes[layer.layer.name])
        layer.pruning_obj._maybe_update_block_mask = lambda w, f=by_size, x=inputs: f(w * x)


def _check(model: Model, sparsity: float) -> None:
    kernels = [layer.get_weights()[0] for layer in prunable(model)]
    found = sum(int(np.sum(k == 0)) for k in kernels) / sum(k.size for k in kernels)
    # Each layer is rounded to whole weights.
    if found < sparsity - len(kernels) / sum(k.size for k in kernels):
        raise QuantizeError(
            f"pruning came to {found:.1%} zeros, not the {sparsity:.1%} asked for: give it more "
            "epochs"
        )


def _check_pattern(model: Model) -> None:
    for layer in prunable(model):
        # Kernels are (..., in, out).
        most = most_in_block(np.moveaxis(layer.get_weights()[0], -2, -1))
        if most > KEPT:
            raise QuantizeError(
                f"{layer.name}: {most} of {BLOCK} neighbouring weights are not zero"
            )
