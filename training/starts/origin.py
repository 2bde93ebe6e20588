"""What is written down of start weights: their name, source, licence and hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edge.errors import TrainingError, os_errors_as
from edge.model.bundle.manifest import StartWeights
from training.recipe import Recipe
from training.starts.table import STARTS


def origin(recipe: Recipe) -> StartWeights | None:
    """Of the start weights of a recipe whose network has been built; None: there are none.

    Raises:
        TrainingError: their file cannot be read.
    """
    if recipe.weights is None:
        return None
    if recipe.weights == "imagenet":
        file = imagenet_file(recipe.alpha or 0)
        return StartWeights(
            name="imagenet",
            source=f"Keras Applications, {file.name}",
            licence="Apache-2.0",
            sha256=sha256(file),
        )
    if start := STARTS.get(recipe.weights):
        return StartWeights(
            name=recipe.weights,
            source=str(start.where),
            licence=start.licence,
            sha256=start.sha256,
        )
    file = Path(recipe.weights)
    return StartWeights(name=file.name, sha256=sha256(file))


def sha256(path: Path) -> str:
    """Of a file's content, as 64 hexadecimal digits. Raises TrainingError."""
    with os_errors_as(TrainingError, f"weights {path}"), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def imagenet_file(alpha: float) -> Path:
    """Where Keras looks for downloaded weights of MobileNetV2, before it downloads them."""
    width = "1.0" if alpha == 1 else str(float(alpha))
    return (
        Path.home()
        / ".keras/models"
        / f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{width}_224_no_top.h5"
    )
