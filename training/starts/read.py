"""Named start weights as tensors."""

from __future__ import annotations

from training.starts.files import content_of
from training.starts.folded import unfold
from training.starts.tensors import Tensors


def named_tensors(name: str) -> Tensors:
    """The tensors of start weights in `training.starts.table`.

    Raises:
        TrainingError: their file cannot be had.
    """
    return unfold(content_of(name)).tensors
