"""What ``weights`` does on the terminal."""

from __future__ import annotations

import hashlib
from pathlib import Path

from rich.console import Console

from edge.errors import TrainingError, WheatearError
from edge.model.tflite.foreign import read_model


def convert(model: Path, out: Path) -> None:
    """Write start weights, and say what they are of."""
    from training.starts.folded import unfold
    from training.starts.tensors import write_tensors

    if out.is_dir():
        raise TrainingError(f"--out {out}: a folder; give the file to write, NAME.weights.h5")
    content = read_model(model)
    try:
        found = unfold(content)
    except WheatearError as error:
        raise TrainingError(f"{model}: {error}") from error
    write_tensors(found.tensors, out)
    console = Console(highlight=False, soft_wrap=True)
    if not found.scaling_known:
        console.print(
            f"note: {model} does not say how it takes pictures; -1..1 is taken for granted",
            style="cyan",
            markup=False,
        )
    network = " ".join(map(str, found.settings.values()))
    settings = " ".join(f"--set {name}={value}" for name, value in found.settings.items())
    console.print(
        f"{out}: {network} at {found.side} pixels, from {model} (SHA-256 "
        f"{hashlib.sha256(content).hexdigest()}); next: python -m training fit photos/ "
        f"--weights {out} {settings} --out runs/mine",
        markup=False,
    )
