"""Networks of inverted residuals as tables: sizes alone, for whoever builds or counts them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from typing import Any, Literal, NamedTuple


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
RELU6 = "ReLU6"
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


class NetLayer(NamedTuple):
    """One convolution with what is folded into it, or an addition of what came in."""

    kind: Literal["conv2d", "depthwise_conv2d", "add"]
    kernel: tuple[int, ...] = ()
    """Shape as Keras has it, (h, w, in, out) or (h, w, in, 1)."""
    stride: int = 1
    activation: str = ""

    def __str__(self) -> str:
        if self.kind == "add":
            return self.kind
        shape = " x ".join(map(str, self.kernel))
        return (
            f"{self.kind} {shape}, stride {self.stride}{self.activation and ', '}{self.activation}"
        )


def layers(stem: int, stages: Sequence[Stage], head: int) -> list[NetLayer]:
    """A network's layers in order, from the stem to the head."""
    found, read = [NetLayer("conv2d", (3, 3, 3, stem), 2, activation=RELU6)], stem
    for stage in stages:
        for block in range(stage.blocks):
            stride, wide = 1 if block else stage.stride, stage.expansion * read
            if stage.expansion > 1:
                found.append(NetLayer("conv2d", (1, 1, read, wide), activation=RELU6))
            deep = (stage.kernel, stage.kernel, wide, 1)
            found.append(NetLayer("depthwise_conv2d", deep, stride, activation=RELU6))
            found.append(NetLayer("conv2d", (1, 1, wide, stage.channels)))
            if stride == 1 and read == stage.channels:
                found.append(NetLayer("add"))
            read = stage.channels
    return [*found, NetLayer("conv2d", (1, 1, read, head), activation=RELU6)]


def published() -> Iterator[tuple[dict[str, Any], list[NetLayer]]]:
    """Networks that start weights are published for: settings of a recipe, and their layers."""
    for alpha in MOBILENET_V2_WIDTHS:
        head = rounded(HEAD * max(1, alpha))
        stages = wider(MOBILENET_V2, alpha)
        found = layers(rounded(STEM * alpha), stages, head)
        yield {"model": "mobilenet_v2", "alpha": alpha}, found
    for variant in range(len(LITE)):
        yield (
            {"model": "efficientnet_lite", "variant": variant},
            layers(STEM, lite_stages(variant), HEAD),
        )
