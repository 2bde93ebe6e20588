"""Named start weights as tensors."""

from __future__ import annotations

from training.starts.files import content_of
from training.starts.folded import unfold
from training.starts.table import STARTS
from training.starts.tensors import Tensors
from training.starts.torch_file import lite_tensors


def named_tensors(name: str) -> Tensors:
    """The tensors of start weights in `training.starts.table`.

    Raises:
        TrainingError: their file cannot be had.
    """
    content = content_of(name)
    return lite_tensors(content) if STARTS[name].file.endswith(".pth") else unfold(content).tensors
