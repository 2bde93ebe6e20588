"""Finished runs as teachers: what they make of the very pictures a student is trained on.

A label says what a photo shows; a teacher also says what it might be taken for, and sees that a
piece without the insect shows little (knowledge distillation, Hinton et al. 2015,
arXiv:1503.02531; with the same view for both, Beyer et al. 2022, arXiv:2106.05237). Answers are
kept on disk, since several students and tries ask for the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import TrainingError
from training import metrics
from training.data.dataset import Dataset
from training.files import write_shared
from training.fitting.train import Views, predict_logits
from training.input.dataset import train_dataset
from training.recipe import Recipe
from training.runs import PROBE_FILE, Run, UsedRun, finished_model, load_run
from training.starts.origin import sha256
from training.tf import keras, traced
from training.untyped import Model

Floats = NDArray[np.float32]


class _Teacher(NamedTuple):
    """One of them, ready to be asked."""

    run: Run
    model: Model
    temperature: float


def taught_by(paths: Sequence[Path], dataset: Dataset, recipe: Recipe) -> tuple[UsedRun, ...]:
    """What is written down of teachers that may teach a run on these photos.

    Args:
        paths: run folders, or RUN/probe.keras for a run's linear probe.
        dataset: the student's photos with their splits.
        recipe: the student's.

    Raises:
        TrainingError: one is no finished run, was trained on other photos or splits (it would have
            seen photos that the student is judged by), or looks at pictures in another way; or the
            recipe mixes pictures.
    """
    if paths and (recipe.augment.mixup or recipe.augment.cutmix):
        raise TrainingError(
            "--teacher: the recipe mixes pictures (augment.mixup, augment.cutmix); set both to 0"
        )
    found = []
    for path in paths:
        try:
            run = load_run(_folder(path))
        except TrainingError as error:
            raise TrainingError(f"--teacher {error}") from error
        model = _model(path)
        finished_model(run.path)
        if run.dataset.examples != dataset.examples or (
            run.info.data_fingerprint != dataset.fingerprint()
        ):
            raise TrainingError(
                f"--teacher {path}: was trained on other photos, labels or splits; a teacher must "
                "not have seen what its student is judged by: train it on the same ones"
            )
        if run.info.recipe.crop != recipe.crop:
            raise TrainingError(
                f"--teacher {path}: makes photos square by {run.info.recipe.crop}, the student by "
                f"{recipe.crop}; set crop to the same"
            )
        found.append(
            UsedRun(
                path=str(path.resolve()), recipe_name=run.info.recipe_name, sha256=sha256(model)
            )
        )
    return tuple(found)


class Committee:
    """Teachers whose mean answer counts; see `training.fitting.train.Teachers`."""

    def __init__(self, taught: Sequence[UsedRun], student: Run) -> None:
        self._taught, self._student = taught, student
        self._folder = Path(student.info.cache) if student.info.cache else student.path / "cache"
        self._teachers: list[_Teacher] = []

    def __len__(self) -> int:
        """How many."""
        return len(self._taught)

    def answers(self, asked: Views, progress: Callable[[int], None]) -> Floats:
        """Log-probabilities float32 (n, classes) of what shows on a student's pictures.

        Each teacher is asked at its own resolution and at the temperature at which it is right on
        the validation photos as often as it says; the mean is over their log-probabilities.
        `progress` is called with how many pictures have been answered since, by all of them.

        Raises:
            TrainingError: a photo cannot be decoded, or the photos have changed.
        """
        path = self._folder / f"{self._key(asked)}.answers"
        shape = len(asked.order), len(self._student.info.labels)
        if not path.exists() or path.stat().st_size != 4 * shape[0] * shape[1]:
            found = np.mean(
                [self._one(teacher, asked, progress) for teacher in self._all()], axis=0
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            write_shared(path, found.astype("<f4").tobytes())
        else:
            progress(len(asked.order) * len(self))
        flat: Floats = np.frombuffer(path.read_bytes(), "<f4")
        return flat.reshape(shape)

    def _key(self, asked: Views) -> str:
        """Everything that the answers follow from."""
        info = self._student.info
        about = (
            [one.sha256 for one in self._taught],
            (info.data_fingerprint, info.recipe.crop, info.recipe.augment, info.packages),
            (asked.batch, asked.seed, asked.order.tobytes()),
        )
        return hashlib.sha256(msgspec.json.encode(about)).hexdigest()[:24]

    def _all(self) -> list[_Teacher]:
        """The teachers, opened when they are first asked."""
        if not self._teachers:
            self._teachers = [_open(one) for one in self._taught]
        return self._teachers

    def _one(self, teacher: _Teacher, asked: Views, progress: Callable[[int], None]) -> Floats:
        run, side = teacher.run, teacher.run.info.recipe.resolution
        photos = run.dataset.split("train")
        targets = np.zeros((len(photos), 1), np.float32)
        forward = traced(lambda x: teacher.model(x, training=False))
        found = []
        for x, _ in train_dataset(
            run.pixels(photos, run.info.recipe.source),
            targets,
            asked.order,
            batch=asked.batch,
            side=side,
            augment=self._student.info.recipe.augment,
            seed=asked.seed,
        ):
            found.append(metrics.log_softmax(forward(x).numpy(), teacher.temperature))
            progress(len(x))
        return np.concatenate(found).astype(np.float32)


def _folder(teacher: Path) -> Path:
    """The run that a teacher is, or is the probe of."""
    return teacher.parent if teacher.name == PROBE_FILE else teacher


def _model(teacher: Path) -> Path:
    """The file of its network. Raises TrainingError: there is none."""
    if teacher.name != PROBE_FILE:
        return finished_model(teacher)
    if not teacher.exists():
        raise TrainingError(
            f"--teacher {teacher}: the run has no linear probe; give {teacher.parent}"
        )
    return teacher


def _open(taught: UsedRun) -> _Teacher:
    """Load a teacher and see how sure it may be.

    Raises:
        TrainingError: it is another than the one that was begun with.
    """
    path = Path(taught.path)
    run, file = load_run(_folder(path)), _model(path)
    if sha256(file) != taught.sha256:
        raise TrainingError(f"--teacher {path}: has changed since the student was begun")
    model = keras.models.load_model(file, compile=False)
    pixels, truth = run.arrays("val")
    temperature = metrics.fit_temperature(predict_logits(model, pixels), truth)
    return _Teacher(run, model, temperature)
