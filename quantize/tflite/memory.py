"""What a TFLite model takes: activations placed as TFLite's own planner does, bytes zipped."""

from __future__ import annotations

import zlib
from math import prod
from typing import NamedTuple

from training.tflite import Graph

#: TFLite aligns tensors in the arena to so many bytes (kDefaultTensorAlignment, util.h).
ALIGNMENT = 64
_BYTES = {"INT8": 1, "UINT8": 1, "INT16": 2, "FLOAT16": 2, "INT32": 4, "FLOAT32": 4, "INT64": 8}


class _Life(NamedTuple):
    size: int
    first: int
    last: int


def arena_bytes(graph: Graph) -> int:
    """Bytes of the arena: largest tensors first, each into the lowest gap free while it lives.

    The rule is that of arena_planner.cc in TensorFlow Lite (Pisarchyk and Lee 2020,
    arXiv:2001.03288, "greedy by size"). What XNNPACK takes beside it is not counted.
    """
    placed: list[tuple[int, _Life]] = []
    top = 0
    for life in sorted(_lives(graph), key=lambda life: (-life.size, life.first)):
        offset = 0
        busy = [
            (start, other)
            for start, other in placed
            if other.first <= life.last and life.first <= other.last
        ]
        for start, other in sorted(busy):
            if start - offset >= life.size:
                break
            offset = max(offset, _aligned(start + other.size))
        placed.append((offset, life))
        top = max(top, offset + life.size)
    return top


def deflated(data: bytes) -> int:
    """Bytes after deflate at its best level, as in a zip."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return len(packer.compress(data)) + len(packer.flush())


def _lives(graph: Graph) -> list[_Life]:
    end = len(graph.operators)
    first = dict.fromkeys(graph.inputs, 0)
    last = dict.fromkeys(graph.outputs, end)
    for number, operator in enumerate(graph.operators):
        for index in operator.outputs:
            first.setdefault(index, number)
            last.setdefault(index, number)
        for index in operator.inputs:
            if not graph.tensors[index].constant:
                last[index] = max(last.get(index, 0), number)
    return [
        _Life(
            prod(graph.tensors[index].shape) * _BYTES.get(graph.tensors[index].dtype, 4),
            start,
            last.get(index, start),
        )
        for index, start in first.items()
    ]


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
