"""Files as PyTorch wrote them before its version 1.6, made without PyTorch."""

from __future__ import annotations

import io
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from training.starts.torch_file import MAGIC, VERSION


class Storage:
    """Numbers that tensors lie in."""

    def __init__(self, key: str, numbers: np.ndarray) -> None:
        """Hold float32 or int64 (n,)."""
        self.key, self.numbers = key, numbers


class Tensor:
    """A view of a storage."""

    def __init__(
        self, storage: Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
    ) -> None:
        """Lie at `offset`, with so many numbers from one entry to the next of each axis."""
        hooks: OrderedDict[str, object] = OrderedDict()
        self.parts = storage, offset, shape, stride, False, hooks

    def __reduce__(self) -> Any:
        """Be made again by PyTorch's own function."""
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.parts  # noqa: SLF001


@contextmanager
def _torch() -> Iterator[None]:
    """Modules of those names, as far as a pickle looks at them."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("FloatStorage", "LongStorage", "HalfStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def rebuild() -> None:
        """Stand for the function in a pickle."""

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    vars(utils)["_rebuild_tensor_v2"] = rebuild
    before = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    sys.modules |= {"torch": torch, "torch._utils": utils}
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


class _Pickler(pickle.Pickler):
    def persistent_id(self, one: Any) -> Any:
        """Name a storage in place of its numbers."""
        if not isinstance(one, Storage):
            return None
        kinds = {"f4": "FloatStorage", "i8": "LongStorage", "f2": "HalfStorage"}
        kind = getattr(sys.modules["torch"], kinds[one.numbers.dtype.str[1:]])
        return "storage", kind, one.key, "cpu", one.numbers.size, None


def torch_file(state: Mapping[str, Any]) -> bytes:
    """The file of a state: arrays, or tensors that lie in storages as they like.

    Anything else is pickled as it is.
    """
    tensors: OrderedDict[str, Any] = OrderedDict()
    for number, (name, value) in enumerate(state.items()):
        if isinstance(value, np.ndarray):
            steps = tuple(step // value.itemsize for step in value.copy("C").strides)
            value = Tensor(Storage(str(900 - number), value.ravel()), 0, value.shape, steps)
        tensors[name] = value
    storages = {
        one.parts[0].key: one.parts[0] for one in tensors.values() if isinstance(one, Tensor)
    }
    file = io.BytesIO()
    with _torch():
        for one in (MAGIC, VERSION, {"little_endian": True}, tensors, sorted(storages)):
            _Pickler(file, protocol=2).dump(one)
    for key in sorted(storages):
        numbers = storages[key].numbers
        file.write(np.int64(numbers.size).tobytes() + numbers.tobytes())
    return file.getvalue()
