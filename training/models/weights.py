"""Start weights from a file: Keras 3 ``.weights.h5`` (read with h5py) or the older ``.h5``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from edge.errors import TrainingError
from training.starts.read import named_tensors
from training.starts.table import STARTS, names
from training.starts.tensors import numbered, read_tensors
from training.untyped import Layer, Model


class WrongWeights(TrainingError):
    """A file of weights is of another network."""


def load_backbone_weights(model: Model, weights: str | Path) -> None:
    """Load into a Keras 2 model start weights by name, or a file made by its architecture without
    the top.

    Keras 3 names a layer in the file by its class and a running number ("conv2d_3"), so layers
    are matched by class and order, every tensor by shape. All match, or nothing is changed.

    Raises:
        WrongWeights: they are of another architecture or size; the first layer that differs is
            named.
        TrainingError: the file is missing, cannot be had, or is no weights file.
    """
    if weights in STARTS:
        stored = named_tensors(str(weights))
    else:
        path = Path(weights)
        with _opened(path) as file:
            if "layers" not in file:
                _load_keras_2(model, path)
                return
            stored = read_tensors(file["layers"])
    values = []
    for key, layer in layer_keys(model):
        values += _matched(weights, key, layer, stored.pop(key, []))
    if stored:
        raise WrongWeights(
            f"weights {weights}: {len(stored)} layers ({', '.join(sorted(stored)[:3])}, ...) have "
            "no place in this model"
        )
    for variable, value in values:
        variable.assign(value)


def kernel_shapes(path: Path) -> Counter[tuple[int, ...]]:
    """Shapes of all convolutions' kernels in a file of either kind.

    Raises:
        TrainingError: the file is missing, or no HDF5.
    """
    found: Counter[tuple[int, ...]] = Counter()

    def note(_: str, item: Any) -> None:  # noqa: ANN401
        if isinstance(item, h5py.Dataset) and item.ndim == 4:
            found[item.shape] += 1

    with _opened(path) as file:
        file.visititems(note)
    return found


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        file = h5py.File(path)
    except FileNotFoundError:
        known = ", ".join(names())
        raise TrainingError(
            f"weights {path}: there is no such file, and no start weights of that name ({known})"
        ) from None
    except OSError as error:
        raise TrainingError(f"weights {path}: cannot be read as HDF5 ({error})") from error
    with file:
        yield file


def layer_keys(model: Model) -> list[tuple[str, Any]]:
    """Layers that hold weights, with the names Keras 3 would store them under."""
    holding = [layer for layer in model.layers if layer.weights]
    kinds = (_snake_case(type(layer).__name__) for layer in holding)
    return list(zip(numbered(kinds), holding, strict=True))


def _snake_case(name: str) -> str:
    """``DepthwiseConv2D`` -> ``depthwise_conv2d``, as Keras 3 does."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _matched(
    weights: str | Path, key: str, layer: Layer, tensors: list[NDArray[np.float32]]
) -> list[tuple[Any, NDArray[np.float32]]]:
    wanted = [tuple(variable.shape) for variable in layer.weights]
    given = [tensor.shape for tensor in tensors]
    if wanted != given:
        raise WrongWeights(
            f"weights {weights}: layer {layer.name} ({key} in the file) needs shapes {wanted}, the "
            f"file has {given or 'none'}"
        )
    return list(zip(layer.weights, tensors, strict=True))


def _load_keras_2(model: Model, path: Path) -> None:
    try:
        model.load_weights(str(path))
    except (ValueError, KeyError, OSError) as error:
        raise WrongWeights(f"weights {path}: {error}") from error
