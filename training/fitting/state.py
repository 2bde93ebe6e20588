"""What a run needs to go on after Ctrl-C, a kill or a power cut: one file, replaced whole."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.errors import TrainingError
from training.files import write_shared

Arrays = list[NDArray[Any]]
ARRAYS = ("weights", "slots", "start", "best", "first", "mean", "probe")


class State(NamedTuple):
    """Where training stands at a judgement, after whole epochs."""

    member: int
    """Members finished."""
    epoch: int
    """Epochs done of the present member."""
    weights: Arrays
    """Of the model, as trained (not the running mean)."""
    slots: Arrays
    """Of the optimiser."""
    start: Arrays
    """Weights after the head was fitted."""
    best: Arrays
    """The present member's best weights so far."""
    best_epoch: int
    """Their epoch; 0 = the fitted head."""
    first: Arrays
    """The first member's best weights; empty while it is not finished."""
    mean: Arrays
    """Mean of the finished members' best weights; empty while there are none."""
    probe: Arrays
    """The start weights with the linear probe as last layer; empty without start weights."""
    history: list[dict[str, float]]
    """One row per judgement, as in history.csv."""


def save_state(folder: Path, state: State) -> None:
    """Replace RUN/state/state.npz.

    Raises:
        OSError: the disk is full or read-only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named = {
        f"{name}_{i:04d}": array for name in ARRAYS for i, array in enumerate(getattr(state, name))
    }
    about = {name: getattr(state, name) for name in ("member", "epoch", "best_epoch", "history")}
    buffer = io.BytesIO()
    np.savez(buffer, about=np.array(json.dumps(about)), **named)
    write_shared(folder / "state.npz", buffer.getvalue())


def load_state(folder: Path) -> State | None:
    """The last state, or None where none was stored.

    Raises:
        TrainingError: the file is damaged.
    """
    path = folder / "state.npz"
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            arrays = {
                name: [file[key] for key in sorted(file.files) if key.startswith(f"{name}_")]
                for name in ARRAYS
            }
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{path}: damaged ({error}); delete it to start again") from error
    return State(
        member=about["member"],
        epoch=about["epoch"],
        best_epoch=about["best_epoch"],
        history=about["history"],
        **arrays,
    )


def values_of(variables: Sequence[Any]) -> Arrays:
    """Copies of the values of TensorFlow variables."""
    return [variable.numpy().copy() for variable in variables]


def assign(variables: Sequence[Any], values: Arrays) -> None:
    """Assign values to variables, in their order.

    Raises:
        TrainingError: there are not as many.
    """
    if len(variables) != len(values):
        raise TrainingError(f"stored state has {len(values)} tensors, the model {len(variables)}")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
