"""What ``weights`` and ``starts`` do on the terminal, and how weights are fetched there."""

from __future__ import annotations

import hashlib
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from edge.errors import TrainingError, WheatearError
from edge.model.tflite.foreign import read_model
from training.inverted import MOBILENET_V2_WIDTHS
from training.starts.table import STARTS

ALPHAS = ", ".join(map(str, MOBILENET_V2_WIDTHS))


def convert(model: Path, out: Path) -> None:
    """Write start weights, and say what they are of."""
    from training.starts.folded import unfold
    from training.starts.tensors import write_tensors

    if out.suffix != ".h5" or out.is_dir():
        raise TrainingError(f"--out {out}: give the file to write, NAME.weights.h5")
    content = read_model(model)
    try:
        found = unfold(content)
    except WheatearError as error:
        raise TrainingError(f"{model}: {error}") from error
    out.parent.mkdir(parents=True, exist_ok=True)
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


def ready(weights: str | None, console: Console) -> None:
    """Fetch start weights that are asked for by name, unless they are there.

    Raises:
        TrainingError: they cannot be had.
    """
    from training.starts.files import content_of, file_of, is_to_fetch

    if weights not in STARTS or not is_to_fetch(weights):
        return
    start = STARTS[weights]
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(f"fetching {start.file}", total=None)
        content_of(
            weights, lambda came, size: bars.update(task, completed=came, total=size or None)
        )
    console.print(f"fetched {start.where}, {start.licence}: {file_of(weights)}", markup=False)


def starts() -> None:
    """Print which start weights have names."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"imagenet: mobilenet_v2, alpha {ALPHAS}, on ImageNet; Apache-2.0")
    console.print("    Keras Applications, which Keras downloads")
    for name, start in STARTS.items():
        console.print(f"{name}: {start.network}, on {start.taught}; {start.licence}")
        console.print(f"    {start.where}", markup=False)
