"""What every phase is handed: run, options, timer, kept results, photos, batches. Knows no phase.

A phase leaves its result in RUN/quantize/METHOD/ under a name that holds a hash of all that it
came from, so a repeated command goes on after the last finished phase and other options never
meet an old result.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar
from uuid import uuid4

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge import __version__
from edge.errors import QuantizeError
from edge.model.image.preprocessing import InputSpec
from quantize.keras.finetune import Distillation, Others, Schedule
from quantize.options import Options
from quantize.timing.timer import Local, Timer
from training.files import write_shared
from training.runs import Run, UsedRun, finished_model, package_versions
from training.untyped import Model

if TYPE_CHECKING:
    from training.fitting.teachers import Committee
    from training.fitting.train import Views

T = TypeVar("T")

#: Real value of one input level and the level of real 0. A pixel p becomes level p - 128 (int8) or
#: p (uint8): an exact table, half a grey level off the training scale (p - 127.5) / 127.5, because
#: TFLite wants real 0 to be a whole level.
INPUT_SCALE = 2.0 / 255.0
INPUT_MEAN = 127.0
INPUT_MIN, INPUT_MAX = -127 * INPUT_SCALE, 128 * INPUT_SCALE


class Watcher:
    """Is told how the work goes; this one does nothing."""

    def phase(self, name: str, steps: int) -> None:
        """A phase of so many steps begins."""

    def advance(self, steps: int, note: str = "") -> None:
        """Some steps of the phase are done."""

    def say(self, text: str) -> None:
        """Something worth a line."""


class Format(NamedTuple, Generic[T]):
    """How a result lies on disk."""

    suffix: str
    read: Callable[[Path], T]
    write: Callable[[Path, T], T]
    """Returns the result as a later call would read it."""


@dataclass(frozen=True)
class Workbench:
    """One run being quantized."""

    run: Run
    options: Options
    watcher: Watcher
    timer: Timer = field(default_factory=Local)
    """Times models on the machine that a time budget is for."""
    taught: tuple[UsedRun, ...] = ()
    """Runs that teach beside the run's own model, from `training.fitting.teachers.taught_by`."""

    @property
    def folder(self) -> Path:
        """Where phases leave their results."""
        return self.run.path / "quantize" / self.options.method

    @cached_property
    def float_keras(self) -> Model:
        """The run's own model."""
        return self.run.model()

    @cached_property
    def _origin(self) -> str:
        return hashlib.sha256(finished_model(self.run.path).read_bytes()).hexdigest()

    def kept(
        self,
        phase: str,
        facts: tuple[Any, ...],
        form: Format[T],
        make: Callable[[], T],
        told: str = "",
        steps: int = 0,
    ) -> T:
        """What the phase left before, or what `make` gives now, which is left for the next call.

        Args:
            phase: begins the file's name.
            facts: all that the result comes from besides the run; others give another name.
            form: how it lies on disk.
            make: makes it.
            told: said before the path where it was there.
            steps: by which the bar moves where it was there.
        """
        everything = (self._origin, self.run.info.seed, __version__, package_versions(), facts)
        key = hashlib.sha256(msgspec.json.encode(everything)).hexdigest()[:12]
        path = self.folder / f"{phase}-{key}{form.suffix}"
        if not path.exists():
            from training.tf import as_written

            result: T = as_written(lambda: form.write(path, make()))()
            return result
        if told:
            self.watcher.say(f"{told} {path}")
        if steps:
            self.watcher.advance(steps, "from before")
        return form.read(path)

    @cached_property
    def _committee(self) -> Committee:
        from training.fitting.teachers import Committee

        return Committee(self.taught, self.run)

    @cached_property
    def others(self) -> Others | None:
        """How much the other teachers count; None: there are none."""
        from training import metrics
        from training.fitting.train import predict_logits

        if not self.taught:
            return None
        pixels, truth = self.run.arrays("val")
        temperature = metrics.fit_temperature(predict_logits(self.float_keras, pixels), truth)
        return Others(self.run.info.recipe.teacher_share, temperature)

    def source_facts(self) -> tuple[Any, ...]:
        """What of the options shapes the float model that is quantized."""
        o = self.options
        if not o.clusters:
            return self.pruning_facts()
        clustering = (o.clusters, o.pruning_epochs, o.pruning_learning_rate, o.batch)
        return (*self.pruning_facts(), *clustering, *self.teaching_facts())

    def pruning_facts(self) -> tuple[Any, ...]:
        """What of the options shapes the model that is pruned or made smaller."""
        o = self.options
        if not (o.zeros or o.budget or o.resolution):
            return (0,)
        training = (o.pruning_epochs, o.pruning_learning_rate, o.batch)
        schedule = o.pruning_schedule or "polynomial"
        facts = (o.zeros, schedule, o.pruning_pattern, o.budget, o.resolution, *training)
        return self.timed((*facts, *self.teaching_facts()))

    def teaching_facts(self) -> tuple[Any, ...]:
        """Who teaches beside the run's own model, and how much."""
        if not self.taught:
            return ()
        return [one.sha256 for one in self.taught], self.run.info.recipe.teacher_share

    def rounding_facts(self) -> tuple[Any, ...]:
        """What of the options shapes the training with rounding."""
        o = self.options
        return (o.epochs, o.learning_rate, o.batch)

    def timed(self, facts: tuple[Any, ...]) -> tuple[Any, ...]:
        """Facts of what times may have shaped: these hold for one machine."""
        return (*facts, self.timer.where) if self.options.timed else facts

    def prepare(self) -> None:
        """Make what follows repeatable."""
        from training.tf import keras, tf

        keras.utils.set_random_seed(self.run.info.seed)
        # Numbered layer names end up in the file: the second model of a process is named as the
        # first, so that its bytes are the same.
        keras.backend.reset_uids()
        tf.config.experimental.enable_op_determinism()
        self.folder.mkdir(parents=True, exist_ok=True)

    def input_of(self, model: Model) -> InputSpec:
        """The run's rule for pictures at the size that `model` takes."""
        side = model.input_shape[1]
        return msgspec.structs.replace(self.run.info.input, width=side, height=side)

    def train_pixels(self, most: int, model: Model) -> NDArray[np.uint8]:
        """Training photos as a device would see them for `model`, evenly over the classes.

        Raises:
            QuantizeError: the run has no training photos.
        """
        part, spec = self.run.dataset.split("train"), self.input_of(model)
        if not len(part):
            raise QuantizeError(f"{self.run.path}: the run has no training photos")
        spots = np.linspace(0, len(part) - 1, min(most, len(part))).round().astype(int)
        # At the run's own size they are decoded already; at another only these need be.
        if spec == self.run.info.input:
            chosen: NDArray[np.uint8] = self.run.pixels(part, spec)[spots]
            return chosen
        return self.run.pixels(part.with_examples(part.examples[i] for i in spots), spec)

    def train_photos(self, most: int, model: Model) -> NDArray[np.float32]:
        """The same as `model` takes them, float32 (n, h, w, 3)."""
        return model_scale(self.train_pixels(most, model))

    def schedule(self, epochs: int | None, usual: int, fewest_steps: int, rate: float) -> Schedule:
        """So many epochs; None: the usual number, or more where that is too few steps."""
        photos = len(self.run.dataset.split("train").examples)
        steps = max(1, photos // min(self.options.batch, max(1, photos)))
        return Schedule(
            epochs=max(usual, math.ceil(fewest_steps / steps)) if epochs is None else epochs,
            steps_per_epoch=steps,
            learning_rate=rate,
        )

    def batches(
        self, schedule: Schedule, stream: int, side: int, first: int = 0
    ) -> Iterator[tuple[Any, Any]]:
        """The run's own training photos and augmentation, at `side` pixels, from step `first` on.

        With them their one-hot labels. `stream` keeps phases apart.
        """
        from training.input.dataset import one_hot, train_dataset

        info = self.run.info
        part = self.run.dataset.split("train")
        views = self._views(schedule, stream)
        dataset = train_dataset(
            self.run.pixels(part, info.recipe.source),
            one_hot(self.run.labels_of(part), len(info.labels)),
            views.order[first * views.batch :],
            batch=views.batch,
            side=side,
            augment=info.recipe.augment,
            seed=views.seed,
            first_step=first,
        )
        return iter(dataset)

    def lessons(self, schedule: Schedule, stream: int, first: int = 0) -> Iterator[tuple[Any, Any]]:
        """Batches of the run's own size to teach with; what other teachers say instead of labels.

        They are asked once, in a phase of their own: call `ask_teachers` before the one that this
        is used in.
        """
        batches = self.batches(schedule, stream, self.run.info.input.width, first)
        if not self.taught:
            return batches
        views = self._views(schedule, stream)
        answers = self._committee.answers(views, lambda _: None)
        each = answers.reshape(-1, views.batch, answers.shape[1])[first:]
        return ((images, said) for (images, _), said in zip(batches, each, strict=True))

    def ask_teachers(self, schedule: Schedule, stream: int) -> None:
        """Have other teachers, if there are any, answer what `lessons` will show.

        Raises:
            TrainingError: one has changed since, or a photo cannot be decoded.
        """
        if self.taught:
            views = self._views(schedule, stream)
            self.watcher.phase("asking the teachers", len(views.order) * len(self.taught))
            self._committee.answers(views, self.watcher.advance)

    def _views(self, schedule: Schedule, stream: int) -> Views:
        """Which pictures are shown in all steps of a schedule."""
        from training.fitting.train import Views
        from training.input.sampling import epoch_order, group_shares

        info, part = self.run.info, self.run.dataset.split("train")
        truth, seed = self.run.labels_of(part), self.run.info.seed + 1000 * stream
        shares = group_shares(truth, part.groups, info.recipe.group_balance)
        batch = min(self.options.batch, len(truth))
        whole = len(truth) // batch
        orders = [
            epoch_order(shares, seed, epoch)[: whole * batch]
            for epoch in range(math.ceil(schedule.steps / whole))
        ]
        order = np.concatenate([np.zeros(0, np.int32), *orders])[: schedule.steps * batch]
        return Views(order, batch, seed)

    def teach(
        self, schedule: Schedule, stream: int, features: NDArray[np.int64] | None = None
    ) -> Callable[[Any], float]:
        """Return a function that trains a student in place, the run's own model being its teacher.

        Other teachers are asked before it returns. `features` says which of the run's pooled
        features the student has, where not all.
        """
        self.ask_teachers(schedule, stream)
        return lambda student: Distillation(student, self.float_keras, features, self.others).run(
            self.lessons(schedule, stream), schedule, self.progress
        )

    def progress(self, _step: int, _steps: int, loss: float) -> None:
        """Move the bar of a training."""
        self.watcher.advance(1, f"loss {loss:.3f}")


def model_scale(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pixels uint8 (n, h, w, 3) on the grid of the int8 model's input levels, float32."""
    return (images.astype(np.float32) - INPUT_MEAN) * np.float32(INPUT_SCALE)


def save(path: Path, content: bytes) -> bytes:
    """Write a file whole, and its folder where there is none; give its content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_shared(path, content)
    return content


def load_model(path: Path) -> Model:
    """Read a float model."""
    from training.tf import keras

    return keras.models.load_model(path, compile=False)


def save_model(path: Path, model: Model) -> Model:
    """Save a float model whole; return it as a later call would find it.

    What was taken out of wrappers or cut has traces of two graphs in its layers.
    """
    partial = path.with_name(f"{path.stem}.{uuid4().hex}.partial.keras")
    model.save(partial)
    os.replace(partial, path)
    return load_model(path)


def json_format(kind: type[T]) -> Format[T]:
    """A struct as JSON."""

    def write(path: Path, value: T) -> T:
        save(path, msgspec.json.encode(value))
        return value

    return Format(".json", lambda path: msgspec.json.decode(path.read_bytes(), type=kind), write)


def weights_format(model: Model) -> Format[None]:
    """The weights of a model, which reading puts into it."""

    def read(path: Path) -> None:
        try:
            with np.load(path, allow_pickle=False) as file:
                model.set_weights([file[name] for name in file.files])
        except (OSError, ValueError, KeyError) as error:
            raise QuantizeError(f"{path}: damaged ({error}); delete it to train again") from error

    def write(path: Path, _: None) -> None:
        stream = io.BytesIO()
        np.savez(stream, *model.get_weights())
        save(path, stream.getvalue())

    return Format(".npz", read, write)


TFLITE = Format(".tflite", Path.read_bytes, save)
KERAS = Format(".keras", load_model, save_model)
