"""The networks that were measured, layer by layer, as far as their totals need it.

Without weights: only sizes. Batch norms and activations are folded into the layer before them, as
every converter does it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from quantize.boards.totals import Totals
from training.inverted import (
    HEAD,
    MOBILENET_V2,
    STEM,
    Stage,
    lite_stages,
    rounded,
    wider,
)

CLASSES = 1000


class Net:
    """Follows one feature map of (height, width, channels) and adds up what is done to it."""

    def __init__(self, side: int) -> None:
        self.height = self.width = side
        self.channels = 3
        self.totals = Totals()

    @property
    def size(self) -> int:
        """Activations of the map."""
        return self.height * self.width * self.channels

    def conv(
        self,
        channels: int,
        kernel: int | tuple[int, int] = 1,
        stride: int = 1,
        padded: bool = True,
    ) -> Net:
        """A convolution; with padding the map keeps its size but for the stride."""
        taps, read, before = self._window(kernel, stride, padded)
        self.channels = channels
        weights = taps * read * channels
        return self._add(
            macs=weights * self.height * self.width, moved=before + self.size, weights=weights
        )

    def depthwise(self, kernel: int = 3, stride: int = 1) -> Net:
        """A convolution of every channel on its own."""
        taps, channels, before = self._window(kernel, stride, True)
        return self._add(
            depthwise=taps * self.size, moved=before + self.size, weights=taps * channels
        )

    def pool(self, kernel: int, stride: int, padded: bool = True) -> Net:
        """A mean or maximum."""
        _, _, before = self._window(kernel, stride, padded)
        return self._add(moved=before + self.size)

    def shortcut(self) -> Net:
        """An addition of another map of this size."""
        return self._add(moved=3 * self.size)

    def dense(self, channels: int) -> Net:
        """A dense layer over all of the map."""
        read = self.size
        self.height = self.width = 1
        self.channels = channels
        return self._add(macs=read * channels, moved=read + channels, weights=read * channels)

    def head(self) -> Net:
        """Mean over the pixels, and the classes."""
        self.pool(self.height, self.height)
        return self.dense(CLASSES)

    def fork(self) -> Net:
        """A way that starts from this map and counts for itself."""
        other = Net(0)
        other.height, other.width, other.channels = self.height, self.width, self.channels
        return other

    def aside(self, way: Net) -> None:
        """Count what happens beside the map, on the way of a shortcut."""
        self.totals = self.totals.plus(way.totals)

    def join(self, *ways: Net) -> Net:
        """Forks of this map, their channels set side by side."""
        for way in ways:
            self.aside(way)
        self.height, self.width = ways[0].height, ways[0].width
        self.channels = sum(way.channels for way in ways)
        return self._add(moved=2 * self.size)

    def _window(
        self, kernel: int | tuple[int, int], stride: int, padded: bool
    ) -> tuple[int, int, int]:
        """Move to the size behind a window; pixels under it, channels and activations before."""
        high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
        read, before = self.channels, self.size
        if padded:
            self.height, self.width = -(-self.height // stride), -(-self.width // stride)
        else:
            self.height = (self.height - high) // stride + 1
            self.width = (self.width - wide) // stride + 1
        return high * wide, read, before

    def _add(self, **sums: float) -> Net:
        self.totals = self.totals.plus(Totals(operators=1, **sums))
        return self


def mobilenet_v1(alpha: float, side: int) -> Totals:
    """Howard et al. 2017, arXiv:1704.04861, table 1."""
    net = Net(side).conv(int(32 * alpha), 3, 2)
    for channels, stride in (
        (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5,
        (1024, 2), (1024, 1),
    ):  # fmt: skip
        net.depthwise(3, stride).conv(int(channels * alpha))
    return net.head().totals


def mobilenet_v2(alpha: float, side: int) -> Totals:
    """Width and side of the picture as in the names below."""
    net = Net(side).conv(rounded(STEM * alpha), 3, 2)
    _inverted(net, wider(MOBILENET_V2, alpha))
    return net.conv(rounded(HEAD * max(alpha, 1.0))).head().totals


def efficientnet_lite(variant: int, side: int) -> Totals:
    """Variant 0 at 224 pixels was measured."""
    net = Net(side).conv(STEM, 3, 2)
    _inverted(net, lite_stages(variant))
    return net.conv(HEAD).head().totals


def resnet(depth: int, side: int = 224) -> Totals:
    """He et al. 2015, arXiv:1512.03385, table 1; depth 18 or 50, the stride on the 3x3."""
    blocks = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}[depth]
    net = Net(side).conv(64, 7, 2).pool(3, 2)
    for stage, count in enumerate(blocks):
        width = 64 << stage
        for block in range(count):
            stride = 2 if stage and not block else 1
            out = width if depth == 18 else 4 * width
            if net.channels != out:
                net.aside(net.fork().conv(out, 1, stride))
            if depth == 18:
                net.conv(width, 3, stride).conv(width, 3)
            else:
                net.conv(width).conv(width, 3, stride).conv(out)
            net.shortcut()
    return net.head().totals


def squeezenet(side: int = 224) -> Totals:
    """Version 1.1 of Iandola et al. 2016, arXiv:1602.07360."""
    net = Net(side).conv(64, 3, 2, False).pool(3, 2, False)
    for number, squeeze in enumerate((16, 16, 32, 32, 48, 48, 64, 64)):
        net.conv(squeeze)
        net.join(net.fork().conv(4 * squeeze), net.fork().conv(4 * squeeze, 3))
        if number in (1, 3):
            net.pool(3, 2, False)
    net.conv(CLASSES).pool(net.height, net.height)
    return net.totals


def vgg(depth: int, side: int = 224) -> Totals:
    """Simonyan and Zisserman 2014, arXiv:1409.1556, table 1; depth 16 or 19."""
    late = {16: 3, 19: 4}[depth]
    net = Net(side)
    for channels, count in ((64, 2), (128, 2), (256, late), (512, late), (512, late)):
        for _ in range(count):
            net.conv(channels, 3)
        net.pool(2, 2)
    return net.dense(4096).dense(4096).dense(CLASSES).totals


def inception_v1(side: int = 224) -> Totals:
    """Szegedy et al. 2014, arXiv:1409.4842, table 1; its 5x5 as 3x3, as it was published."""
    net = Net(side).conv(64, 7, 2).pool(3, 2).conv(64).conv(192, 3).pool(3, 2)
    for number, (a, b, c, d, e, f) in enumerate((
        (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128), (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128),
    )):  # fmt: skip
        if number in (2, 7):
            net.pool(3, 2)
        net.join(
            net.fork().conv(a),
            net.fork().conv(b).conv(c, 3),
            net.fork().conv(d).conv(e, 3),
            net.fork().pool(3, 1).conv(f),
        )
    return net.head().totals


def inception_v4(side: int = 299) -> Totals:
    """Szegedy et al. 2016, arXiv:1602.07261, figures 3 to 9."""
    net = Net(side).conv(32, 3, 2, False).conv(32, 3, 1, False).conv(64, 3)
    net.join(net.fork().pool(3, 2, False), net.fork().conv(96, 3, 2, False))
    net.join(
        net.fork().conv(64).conv(96, 3, 1, False),
        net.fork().conv(64).conv(64, (1, 7)).conv(64, (7, 1)).conv(96, 3, 1, False),
    )
    net.join(net.fork().conv(192, 3, 2, False), net.fork().pool(3, 2, False))
    for _ in range(4):
        net.join(
            net.fork().conv(96),
            net.fork().conv(64).conv(96, 3),
            net.fork().conv(64).conv(96, 3).conv(96, 3),
            net.fork().pool(3, 1).conv(96),
        )
    net.join(
        net.fork().conv(384, 3, 2, False),
        net.fork().conv(192).conv(224, 3).conv(256, 3, 2, False),
        net.fork().pool(3, 2, False),
    )
    for _ in range(7):
        long = net.fork().conv(192).conv(192, (7, 1)).conv(224, (1, 7)).conv(224, (7, 1))
        net.join(
            net.fork().conv(384),
            net.fork().conv(192).conv(224, (1, 7)).conv(256, (7, 1)),
            long.conv(256, (1, 7)),
            net.fork().pool(3, 1).conv(128),
        )
    net.join(
        net.fork().conv(192).conv(192, 3, 2, False),
        net.fork().conv(256).conv(256, (1, 7)).conv(320, (7, 1)).conv(320, 3, 2, False),
        net.fork().pool(3, 2, False),
    )
    for _ in range(3):
        short = net.fork().conv(384)
        long = net.fork().conv(384).conv(448, (3, 1)).conv(512, (1, 3))
        for way in (short, long):
            way.join(way.fork().conv(256, (1, 3)), way.fork().conv(256, (3, 1)))
        net.join(net.fork().conv(256), short, long, net.fork().pool(3, 1).conv(256))
    return net.head().totals


def _inverted(net: Net, stages: Sequence[Stage]) -> None:
    for stage in stages:
        for block in range(stage.blocks):
            stride = 1 if block else stage.stride
            kept = net.channels == stage.channels and stride == 1
            if stage.expansion > 1:
                net.conv(stage.expansion * net.channels)
            net.depthwise(stage.kernel, stride).conv(stage.channels)
            if kept:
                net.shortcut()


#: By the names that `figures.py` uses: family, width multiplier, side of the picture.
NETWORKS: dict[str, Callable[[], Totals]] = {
    "MobileNetV1 0.25 128": partial(mobilenet_v1, 0.25, 128),
    "MobileNetV1 0.5 160": partial(mobilenet_v1, 0.5, 160),
    "MobileNetV1 1.0 128": partial(mobilenet_v1, 1.0, 128),
    "MobileNetV1 1.0 224": partial(mobilenet_v1, 1.0, 224),
    "MobileNetV2 0.35 96": partial(mobilenet_v2, 0.35, 96),
    "MobileNetV2 0.35 160": partial(mobilenet_v2, 0.35, 160),
    "MobileNetV2 0.35 224": partial(mobilenet_v2, 0.35, 224),
    "MobileNetV2 0.5 128": partial(mobilenet_v2, 0.5, 128),
    "MobileNetV2 0.5 224": partial(mobilenet_v2, 0.5, 224),
    "MobileNetV2 0.75 160": partial(mobilenet_v2, 0.75, 160),
    "MobileNetV2 1.0 96": partial(mobilenet_v2, 1.0, 96),
    "MobileNetV2 1.0 128": partial(mobilenet_v2, 1.0, 128),
    "MobileNetV2 1.0 224": partial(mobilenet_v2, 1.0, 224),
    "EfficientNet-Lite0": partial(efficientnet_lite, 0, 224),
    "ResNet-18": partial(resnet, 18),
    "ResNet-50": partial(resnet, 50),
    "SqueezeNet 1.1": squeezenet,
    "VGG-16": partial(vgg, 16),
    "VGG-19": partial(vgg, 19),
    "Inception V1": inception_v1,
    "Inception V4": inception_v4,
}
