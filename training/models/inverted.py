"""Networks of inverted residuals as tables: sizes alone, for whoever builds or counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import ceil
from typing import NamedTuple


class Stage(NamedTuple):
    """Blocks that give equally many channels: widened, a depthwise convolution, narrowed."""

    kernel: int
    expansion: int
    channels: int
    blocks: int
    stride: int
    """Of the first block."""


#: Sandler et al. 2018, arXiv:1801.04381, table 2.
MOBILENET_V2 = (
    Stage(3, 1, 16, 1, 1), Stage(3, 6, 24, 2, 2), Stage(3, 6, 32, 3, 2), Stage(3, 6, 64, 4, 2),
    Stage(3, 6, 96, 3, 1), Stage(3, 6, 160, 3, 2), Stage(3, 6, 320, 1, 1),
)  # fmt: skip
#: Tan and Le 2019, arXiv:1905.11946, table 1.
EFFICIENTNET_B0 = (
    Stage(3, 1, 16, 1, 1), Stage(3, 6, 24, 2, 2), Stage(5, 6, 40, 2, 2), Stage(3, 6, 80, 3, 2),
    Stage(5, 6, 112, 3, 1), Stage(5, 6, 192, 4, 2), Stage(3, 6, 320, 1, 1),
)  # fmt: skip
#: Widths that Keras has MobileNetV2's weights for.
MOBILENET_V2_WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
STEM, HEAD = 32, 1280
#: How many times wider and deeper EfficientNet-Lite 0, 1 and 2 are.
LITE = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2))


def rounded(channels: float) -> int:
    """The nearest multiple of eight that takes away at most a tenth, as all of them round."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


def wider(stages: Sequence[Stage], width: float) -> tuple[Stage, ...]:
    """The stages with so many times the channels."""
    return tuple(stage._replace(channels=rounded(width * stage.channels)) for stage in stages)


def lite_stages(variant: int) -> tuple[Stage, ...]:
    """Those of an EfficientNet-Lite; the first and the last grow wider, but not deeper."""
    width, depth = LITE[variant]
    first, *between, last = wider(EFFICIENTNET_B0, width)
    deeper = [stage._replace(blocks=ceil(depth * stage.blocks)) for stage in between]
    return first, *deeper, last


def kernels(stem: int, stages: Sequence[Stage], head: int) -> Counter[tuple[int, ...]]:
    """Shapes of all convolutions' kernels as Keras has them, (h, w, in, out) or (h, w, in, 1)."""
    found, read = [(3, 3, 3, stem)], stem
    for stage in stages:
        for _ in range(stage.blocks):
            wide = stage.expansion * read
            found += [(1, 1, read, wide)] if stage.expansion > 1 else []
            found += [(stage.kernel, stage.kernel, wide, 1), (1, 1, wide, stage.channels)]
            read = stage.channels
    return Counter([*found, (1, 1, read, head)])
