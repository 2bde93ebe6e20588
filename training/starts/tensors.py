"""The tensors of start weights, laid out as Keras 3 lays them out in a ``.weights.h5``."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from training.files import write_shared

Tensors = dict[str, list[NDArray[np.float32]]]
"""By layer; each layer's in the order of its variables."""


def numbered(kinds: Iterable[str]) -> Iterator[str]:
    """What Keras 3 calls layers of these kinds in a file: conv2d, conv2d_1, ..."""
    seen: Counter[str] = Counter()
    for kind in kinds:
        yield f"{kind}_{seen[kind]}" if seen[kind] else kind
        seen[kind] += 1


def read_tensors(group: h5py.Group) -> Tensors:
    """All layers in the group ``layers`` of a file that have any."""
    found = {}
    for name, layer in group.items():
        variables = layer.get("vars", {})
        if len(variables):
            found[name] = [np.asarray(variables[key]) for key in sorted(variables, key=int)]
    return found


def write_tensors(tensors: Tensors, path: Path) -> None:
    """Write the file whole; the same bytes for the same tensors. Raises OSError."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for name, values in tensors.items():
            for number, value in enumerate(values):
                file[f"layers/{name}/vars/{number}"] = value
    write_shared(path, content.getvalue())
