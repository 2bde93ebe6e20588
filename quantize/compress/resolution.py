"""The same network on a smaller input: the cheapest way to make a narrow network faster.

Convolutions do not care how large a picture is, so the weights stay; time, multiply-adds and memory
go down with the area. What the network knows of sizes has to be learnt anew. It is built for the
size, not only fed with it: where a map has an odd side, Keras pads on both sides of it. Padded as
at 224 pixels, MobileNetV2 at 152 ended in maps of 4 x 4 and lost 3.4 points of accuracy on the jute
benchmark, at 160 (maps of 5 x 5) about one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from edge.errors import QuantizeError
from training.untyped import Model

if TYPE_CHECKING:
    from training.runs import Run

#: Sides are multiples of this.
STEP = 8
#: Below this share of its side a network is not tried: the last maps have nothing left in them.
SMALLEST = 0.4


def resolutions(side: int) -> list[int]:
    """Sides that a network for `side` pixels can have, its own first, descending."""
    first = (side - 1) // STEP * STEP
    return [side, *(s for s in range(first, 0, -STEP) if s >= SMALLEST * side)]


def at_resolution(run: Run, model: Model, side: int) -> Model:
    """The run's network for pictures of `side` x `side` pixels, with the weights of `model`.

    Raises:
        QuantizeError: the side is not one of its `resolutions`.
    """
    from training.models import build_model

    if run.info.joined:
        raise QuantizeError(f"{run.path}: joined networks have one size; train them at another")
    possible = resolutions(run.info.input.width)
    if side not in possible:
        raise QuantizeError(
            f"--resolution {side}: give {possible[0]}, or a multiple of {STEP} down to "
            f"{possible[-1]}"
        )
    recipe = msgspec.structs.replace(run.info.recipe, resolution=side, weights=None)
    copy = build_model(recipe, len(run.info.labels))
    copy.set_weights(model.get_weights())
    return copy
