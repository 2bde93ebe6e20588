"""What was asked for, held against the finished int8 file: zeros, their pattern, different values.

Nothing here trusts a training: quantization could round a weight to zero or away from it, and scale
channels apart.
"""

from __future__ import annotations

import numpy as np

from edge.errors import QuantizeError
from quantize.options import Options
from quantize.tflite.graph import BLOCK, KEPT, Layer, layers, most_in_block
from training.tflite import read_graph


def check(model: bytes, options: Options) -> None:
    """Hold an int8 TFLite file against the options it was made with.

    Raises:
        QuantizeError: naming what the file does not hold.
    """
    found = layers(read_graph(model))
    if options.pruning_pattern == "2:4":
        _check_pattern(found)
    elif options.zeros:
        _check_zeros(found, options.zeros)
    if options.clusters:
        _check_levels(found, options.clusters, per_channel=options.method == "ptq")


def _check_zeros(found: tuple[Layer, ...], pruning: float) -> None:
    size, zeros = sum(x.size for x in found), sum(x.zeros for x in found)
    if zeros < pruning * size - len(found):
        raise QuantizeError(
            f"{zeros / size:.1%} of the weights are zero after quantization, not {pruning:.1%}: "
            "pruning was undone; report this with the model"
        )


def _check_pattern(found: tuple[Layer, ...]) -> None:
    for layer in _whole(found):
        most = most_in_block(layer.weights)
        if most > KEPT:
            raise QuantizeError(
                f"{layer.name}: {most} of {BLOCK} neighbouring weights are not zero after "
                f"quantization, {KEPT} are allowed: the pattern was undone; report this with the "
                "model"
            )


def _check_levels(found: tuple[Layer, ...], clusters: int, per_channel: bool) -> None:
    """Without training for it, rounding has a scale for each channel, and levels of its own."""
    for layer in _whole(found):
        parts = layer.weights if per_channel else layer.weights[np.newaxis]
        most = max(np.unique(part).size for part in parts)
        if most > clusters:
            raise QuantizeError(
                f"{layer.name}: {most} different int8 weights in {'a channel' * per_channel}"
                f"{'the layer' * (not per_channel)}, not {clusters}: clustering was undone; report "
                "this with the model"
            )


def _whole(found: tuple[Layer, ...]) -> list[Layer]:
    """What is pruned to a pattern or clustered: convolutions and dense layers, no depthwise."""
    return [layer for layer in found if layer.kind in ("CONV_2D", "FULLY_CONNECTED")]
