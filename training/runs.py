"""A run folder: what was trained, from what, and how it ended. Written whole, read checked.

RUN/run.json        everything needed to repeat it, and the result
RUN/split.csv       which photo was in which split
RUN/model.keras     the model (Keras 2): float32 (n, h, w, 3) in -1..1 to logits
RUN/probe.keras     the same net with the linear probe, which training has to beat
RUN/history.csv     one line per judgement by the validation photos
RUN/tensorboard/    the same as curves
RUN/state/          what an interrupted run goes on from; gone when it is finished
RUN/cache/          decoded photos; may be deleted
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import TrainingError
from edge.model.bundle.manifest import StartWeights, starts_of
from edge.model.image.preprocessing import InputSpec
from edge.text.refusals import refusal
from training.data.dataset import Dataset
from training.data.sources import load_dataset
from training.files import write_json
from training.input.cache import cached_pixels
from training.metrics.intervals import Interval
from training.recipe import Recipe
from training.untyped import Model

SCHEMA = 2
PACKAGES = ("numpy", "pillow", "tensorflow", "tf-keras", "tensorflow-model-optimization")


PROBE = "linear probe"
"""Name of the candidate that training has to beat."""
PROBE_FILE = "probe.keras"
"""Its model in a run folder."""
HEAD = "fitted head"
"""Name of the one that all members start from."""


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Weights that training could have kept, on the validation photos."""

    name: str
    accuracy: float
    macro_f1: float
    log_loss: float
    """Nats, at the best temperature."""


class Result(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How training ended."""

    candidates: tuple[Choice, ...]
    """The kept weights first, then the others by log loss."""
    epochs: int
    """Epochs trained of all members, fewer than asked for after an early stop."""
    seconds: float
    """Time spent in epochs, interruptions left out."""
    falling: tuple[float, float] | None = None
    """Validation loss some epochs before the end and at the end, where it still fell."""

    @property
    def kept(self) -> Choice:
        """What is in model.keras."""
        return self.candidates[0]

    @property
    def probe(self) -> Choice | None:
        """The linear probe; None where training began without start weights."""
        return next((c for c in self.candidates if c.name == PROBE), None)


class UsedRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A run that another is made with."""

    path: str
    """Its folder, or a model file in it."""
    recipe_name: str
    sha256: str
    """Of the model's file."""


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a cross-validation says of models trained as a run, on fewer photos."""

    path: str
    """Its folder."""
    photos: int
    accuracy: float
    interval: Interval
    """95 %, over other groups."""
    ece: float
    keep: str
    """What its folds liked best of all that could be kept: that is kept here."""


class RunInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Content of run.json."""

    schema: int = SCHEMA
    labels: tuple[str, ...]
    """Label ids in the order of the model's outputs."""
    input: InputSpec
    recipe_name: str
    recipe: Recipe
    """Every parameter, as used."""
    seed: int
    data: str
    """Folder that the files in split.csv are relative to."""
    data_fingerprint: str
    split_rule: str
    """How the splits came about, in words."""
    packages: dict[str, str]
    start: StartWeights | tuple[StartWeights, ...] | None = None
    """None: from scratch; so it is also in runs from before it was noted. Several: joined."""
    teachers: tuple[UsedRun, ...] = ()
    """Runs whose answers it was trained on, beside the labels."""
    joined: tuple[UsedRun, ...] = ()
    """Runs whose networks it consists of; empty: it was trained."""
    cache: str = ""
    """Where decoded photos lie; empty: in the run."""
    estimate: Expectation | None = None
    """Of a run that is trained on validation photos too (`training.commands.final`)."""
    result: Result | None = None
    """None while unfinished."""

    @property
    def starts(self) -> tuple[StartWeights, ...]:
        """All start weights."""
        return starts_of(self.start)


@dataclass(frozen=True)
class Run:
    """A run on disk."""

    path: Path
    info: RunInfo

    @cached_property
    def dataset(self) -> Dataset:
        """The photos with the splits that the run was trained with.

        Raises:
            DataError: split.csv is unreadable.
        """
        return load_dataset(Path(self.info.data), split_csv=self.path / "split.csv")

    def model(self) -> Model:
        """The finished Keras model.

        Raises:
            TrainingError: training has not finished.
        """
        from training.tf import keras

        return keras.models.load_model(finished_model(self.path), compile=False)

    def probe(self) -> Model | None:
        """The start weights with the linear probe, a Keras model; None without start weights."""
        from training.tf import keras

        path = self.path / PROBE_FILE
        return keras.models.load_model(path, compile=False) if path.exists() else None

    def arrays(self, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Photos of one split as the device sees them, and their class indices.

        Returns:
            uint8 (n, h, w, 3), mapped from disk, and int64 (n,).

        Raises:
            TrainingError: a photo cannot be decoded.
        """
        part = self.dataset.split(split)
        return self.pixels(part, self.info.input), self.labels_of(part)

    def labels_of(self, part: Dataset) -> NDArray[np.int64]:
        """Class indices (n,) of the photos of `part`."""
        index = {label: i for i, label in enumerate(self.info.labels)}
        return np.array([index[e.label] for e in part.examples], np.int64)

    def pixels(
        self, part: Dataset, spec: InputSpec, progress: Callable[[int], None] | None = None
    ) -> NDArray[np.uint8]:
        """The photos of `part` by an input rule of one's own, uint8 (n, h, w, 3), cached.

        Raises:
            TrainingError: a photo cannot be decoded, or they are not those of the run any more.
        """
        files = [part.path(e) for e in part.examples]
        folder = Path(self.info.cache) if self.info.cache else self.path / "cache"
        known = self.info.data_fingerprint
        return cached_pixels(files, spec, known, folder, progress, self._verify)

    def _verify(self) -> None:
        """Hold the photos against those that the run was begun with.

        Raises:
            TrainingError: contents or labels differ.
        """
        try:
            now = self.dataset.fingerprint()
        except OSError as error:
            raise TrainingError(f"{error.filename}: cannot be read ({error.strerror})") from error
        if now != self.info.data_fingerprint:
            raise TrainingError(
                f"{self.info.data}: photos have changed since {self.path} was begun with them; put "
                "them back as they were, or train again with another --out"
            )


def finished_model(run: Path) -> Path:
    """The file of a run's model.

    Raises:
        TrainingError: training has not finished.
    """
    path = run / "model.keras"
    if not path.exists():
        raise TrainingError(f"{run}: not finished; repeat the same `fit` to go on")
    return path


class _Versioned(msgspec.Struct):
    """What tells which form the rest has."""

    schema: int


def load_run(path: Path) -> Run:
    """Open a run folder.

    Raises:
        TrainingError: it is no run, or one of another schema.
    """
    file = Path(path) / "run.json"
    try:
        text = file.read_bytes()
        schema = msgspec.json.decode(text, type=_Versioned).schema
        if schema != SCHEMA:
            raise TrainingError(
                f"{file}: written by another version of this program (schema {schema}, this one "
                f"knows {SCHEMA}); train again"
            )
        info = msgspec.json.decode(text, type=RunInfo)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TrainingError(f"{path}: no run here (run.json is missing)") from error
    except msgspec.DecodeError as error:
        raise TrainingError(
            f"{file} is damaged ({refusal(error)}); put it back, or train again"
        ) from error
    return Run(Path(path), info)


def save_info(path: Path, info: RunInfo) -> None:
    """Write run.json, all or nothing."""
    write_json(path / "run.json", info)


def package_versions() -> dict[str, str]:
    """Versions of what decides the result."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
