"""Tensors of a file that PyTorch saved before its version 1.6, read without PyTorch.

Five pickles (a magic number, a version, what computer it was, the object, the names of its
storages), then each storage as its length and its bytes. The unpickler makes nothing but
dictionaries and notes of where a tensor lies; whatever else a pickle asks for is refused.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.errors import TrainingError
from training.starts.tensors import Tensors, numbered

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001


class _Place(NamedTuple):
    """Where a tensor lies."""

    storage: tuple[str, str]
    """Its name, and the type of its numbers."""
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    """Numbers from one entry to the next, of each axis; so are `offset`'s."""
    rest: tuple[object, ...] = ()


def _place(storage: Any, offset: int, shape: Any, stride: Any, *rest: object) -> _Place:  # noqa: ANN401
    return _Place(storage, offset, shape, stride, rest)


#: All that a pickle may name. Storages are the type of their numbers.
ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _place,
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no weights need")
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> tuple[str, str]:  # noqa: ANN401
        kind, dtype, key, *_ = pid
        if kind != "storage":
            raise pickle.UnpicklingError(f"it asks for a {kind!r}, which no weights need")
        return key, dtype


def read_state(content: bytes) -> dict[str, NDArray[Any]]:
    """Tensors by name, in the order in which they were saved: float32 or int64.

    Raises:
        TrainingError: it is no such file, it is damaged, or it holds more than tensors.
    """
    file = io.BytesIO(content)
    try:
        if (_Unpickler(file).load(), _Unpickler(file).load()) != (MAGIC, VERSION):
            raise TrainingError("no file of PyTorch before 1.6: its magic number is missing")
        _Unpickler(file).load()
        places: dict[str, _Place] = _Unpickler(file).load()
        keys: list[str] = _Unpickler(file).load()
        dtypes = dict(place.storage for place in places.values())
        storages = {key: _storage(file, dtypes[key]) for key in keys}
        return {name: _tensor(place, storages) for name, place in places.items()}
    except TrainingError:
        raise
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to mean
        raise TrainingError(f"no file of PyTorch before 1.6, or a damaged one: {error}") from error


def _storage(file: io.BytesIO, dtype: str) -> NDArray[Any]:
    count = int(np.frombuffer(file.read(8), "<i8")[0])
    return np.frombuffer(file.read(count * np.dtype(dtype).itemsize), dtype)


def _tensor(place: _Place, storages: dict[str, NDArray[Any]]) -> NDArray[Any]:
    numbers = storages[place.storage[0]]
    size = numbers.itemsize
    # NumPy refuses what would lie outside of the storage.
    return np.ndarray(
        place.shape,
        numbers.dtype,
        numbers,
        place.offset * size,
        tuple(step * size for step in place.stride),
    )


def lite_tensors(content: bytes) -> Tensors:
    """Start weights of an EfficientNet-Lite from such a file, without its last layer.

    Raises:
        TrainingError: as for `read_state`, or it holds layers of another kind.
    """
    groups: dict[str, dict[str, NDArray[Any]]] = {}
    for name, tensor in read_state(content).items():
        layer, _, variable = name.rpartition(".")
        groups.setdefault(layer, {})[variable] = tensor
    kinds, values = [], []
    for layer, found in groups.items():
        weight = found["weight"]
        if "running_mean" in found:
            kinds.append("batch_normalization")
            values.append([weight, found["bias"], found["running_mean"], found["running_var"]])
        elif weight.ndim == 4 and len(found) == 1:
            # From (out, in, h, w); a depthwise kernel reads one channel.
            deep = weight.shape[1] == 1
            kinds.append("depthwise_conv2d" if deep else "conv2d")
            values.append([weight.transpose(2, 3, 0, 1) if deep else weight.transpose(2, 3, 1, 0)])
        elif weight.ndim != 2:
            raise TrainingError(f"layer {layer!r} is no convolution, batch norm or last layer")
    return dict(zip(numbered(kinds), values, strict=True))
