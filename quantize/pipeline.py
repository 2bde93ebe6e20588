"""Run -> bundle: prune, quantization-aware training, conversion, parity gate, packing.

Every phase leaves its result in RUN/quantize/METHOD/ under a name that holds a hash of all that
it came from, so a repeated command goes on after the last finished phase and other options never
meet an old result.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import QuantizeError
from edge.image import InputSpec
from edge.manifest import Manifest, OutputSpec
from quantize import package, parity
from quantize.convert import (
    Io,
    int8_input,
    model_scale,
    output_spec,
    to_float_tflite,
    to_int8_ptq,
    to_int8_qat,
)
from quantize.finetune import Schedule
from quantize.flatbuffer import layers, read_graph

if TYPE_CHECKING:
    from training.runs import Run

#: Photos that activation ranges are first taken from.
CALIBRATION_PHOTOS = 256
#: Photos that each layer's share of the pruning is found on.
SENSITIVITY_PHOTOS = 64


#: Passes over the training photos, where nothing else is asked for ...
QAT_EPOCHS, PRUNING_EPOCHS = 5, 7
#: ... and the fewest steps: with few photos a pass is soon over, weights need their steps anyway.
QAT_STEPS, PRUNING_STEPS = 200, 300
LEARNING_RATE = 5e-4


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for; everything but `io` and `limits` shapes the weights."""

    method: Literal["qat", "ptq"] = "qat"
    pruning: float = 0.0
    """Share of the convolution and dense weights that become zero, 0 to 0.95."""
    io: Io = "int8"
    epochs: int | None = None
    """Of quantization-aware training; None: QAT_EPOCHS, more where these are few steps."""
    pruning_epochs: int | None = None
    """Before that; None: PRUNING_EPOCHS, more where these are few steps."""
    learning_rate: float = LEARNING_RATE
    batch: int = 32
    limits: parity.Limits = parity.Limits()

    def __post_init__(self) -> None:
        """Refuse values that make no sense, with what does."""
        checks = {
            "--method": (self.method in ("qat", "ptq"), self.method, "qat or ptq"),
            "--io": (self.io in ("int8", "uint8"), self.io, "int8 or uint8"),
            "--pruning": (0 <= self.pruning <= 0.95, self.pruning, "0 to 0.95"),
            "--epochs": (0 <= (self.epochs or 0) <= 500, self.epochs, "0 to 500"),
            "--pruning-epochs": (
                self.pruning_epochs is None or 1 <= self.pruning_epochs <= 500,
                self.pruning_epochs,
                "1 to 500",
            ),
            "--learning-rate": (0 < self.learning_rate <= 1, self.learning_rate, "0 to 1"),
            "--batch": (1 <= self.batch <= 1024, self.batch, "1 to 1024"),
        }
        for name, (good, value, allowed) in checks.items():
            if not good:
                raise QuantizeError(f"{name} {value}: give {allowed}")


class Watcher(Protocol):
    """Is told how the work goes."""

    def phase(self, name: str, steps: int) -> None:
        """A phase of so many steps begins."""

    def advance(self, steps: int, note: str = "") -> None:
        """Some steps of the phase are done."""

    def say(self, text: str) -> None:
        """Something worth a line."""


@dataclass(frozen=True)
class Outcome:
    """An int8 model and how it compares; the bundle's manifest where the gate was passed."""

    model: bytes
    report: parity.Report
    photos: dict[str, parity.Photos]
    answers: dict[str, parity.Answers]
    specs: tuple[InputSpec, OutputSpec]
    manifest: Manifest | None = None


@dataclass(frozen=True)
class Pipeline:
    """One run being quantized."""

    run: Run
    options: Options
    watcher: Watcher

    @property
    def folder(self) -> Path:
        """Where phases leave their results."""
        return self.run.path / "quantize" / self.options.method

    @cached_property
    def teacher(self) -> Any:  # noqa: ANN401
        """The float model."""
        return self.run.model()

    @cached_property
    def _origin(self) -> str:
        path = self.run.path / "model.keras"
        if not path.exists():
            self.run.model()  # raises with the cure
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def _result(self, phase: str, suffix: str, *facts: Any) -> Path:  # noqa: ANN401
        from training.runs import package_versions

        everything = (self._origin, self.run.info.seed, package_versions(), facts)
        key = hashlib.sha256(msgspec.json.encode(everything)).hexdigest()[:12]
        return self.folder / f"{phase}-{key}{suffix}"

    def int8_model(self) -> bytes:
        """The int8 TFLite file, made or taken from an earlier run with the same options.

        Raises:
            QuantizeError: a layer cannot be quantized, training diverged, conversion failed.
        """
        o = self.options
        path = self._result(
            "int8", ".tflite", o.method, o.pruning, o.epochs, *self._pruning_facts(), o.io
        )
        if path.exists():
            self.watcher.say(f"int8 model taken from {path}")
            return path.read_bytes()
        self._prepare()
        model = self._ptq() if o.method == "ptq" else self._qat()
        _check_zeros(model, o.pruning)
        _save(path, model)
        return model

    def float_model(self) -> bytes:
        """The float TFLite file of the run's own model."""
        path = self._result("float", ".tflite")
        if not path.exists():
            self.watcher.phase("converting the float model", 1)
            _save(path, to_float_tflite(self.teacher))
            self.watcher.advance(1)
        return path.read_bytes()

    def judge(self, int8: bytes) -> Outcome:
        """Compare all forms on validation and test photos.

        Raises:
            QuantizeError: too few photos.
        """
        from edge.errors import WheatearError

        float_tflite = self.float_model()
        specs = (int8_input(self.run.info.input, int8), output_spec(int8))
        photos = {name: self.photos(name) for name in ("val", "test")}
        total = sum(len(part.truth) for part in photos.values())
        self.watcher.phase("comparing float and int8", 2 * total)
        try:
            answers = {
                name: parity.answer(
                    self.teacher,
                    float_tflite,
                    int8,
                    (self.run.info.input, *specs),
                    part,
                    self.watcher.advance,
                )
                for name, part in photos.items()
                if len(part.truth)
            }
        except WheatearError as error:
            raise QuantizeError(f"the models cannot be compared: {error}") from error
        report = parity.compare(photos, answers, self.run.info.labels, self.options.limits)
        return Outcome(int8, report, photos, answers, specs)

    def photos(self, split: str) -> parity.Photos:
        """One split as the device sees it."""
        pixels, truth = self.run.arrays(split)
        files = tuple(e.file for e in self.run.dataset.split(split).examples)
        return parity.Photos(pixels=pixels, truth=truth, files=files)

    def _pruning_facts(self) -> tuple[Any, ...]:
        o = self.options
        return (o.pruning_epochs if o.pruning else 0, o.learning_rate, o.batch)

    def _prepare(self) -> None:
        from training.tf import keras, tf

        keras.utils.set_random_seed(self.run.info.seed)
        # Numbered layer names end up in the file: the second model of a process is named as the
        # first, so that its bytes are the same.
        keras.backend.reset_uids()
        tf.config.experimental.enable_op_determinism()
        self.folder.mkdir(parents=True, exist_ok=True)

    def _pruned(self) -> Any:  # noqa: ANN401
        from quantize.prune import prunable, prune
        from training.tf import keras

        o = self.options
        path = self._result("pruned", ".keras", o.pruning, *self._pruning_facts())
        if path.exists():
            self.watcher.say(f"pruned model taken from {path}")
            return keras.models.load_model(path, compile=False)
        schedule = self._schedule(o.pruning_epochs, PRUNING_EPOCHS, PRUNING_STEPS)
        count = len(prunable(self.teacher))
        self.watcher.phase(f"pruning {count} layers to {o.pruning:.0%} zeros", schedule.steps)
        model = prune(
            self.teacher,
            o.pruning,
            model_scale(self._train_photos(SENSITIVITY_PHOTOS)),
            self._batches(schedule, stream=1),
            schedule,
            self._progress,
        )
        partial = path.with_name(f"{path.stem}.partial.keras")
        model.save(partial)
        os.replace(partial, path)
        return model

    def _qat(self) -> bytes:
        from quantize import qat

        o = self.options
        qat.check_layers(self.teacher)  # before any time is spent on pruning
        start = self._pruned() if o.pruning else self.teacher
        student = qat.quantization_aware(start, self._calibration())
        path = self._result("qat", ".npz", o.pruning, o.epochs, *self._pruning_facts())
        if path.exists():
            self.watcher.say(f"quantization-aware weights taken from {path}")
            _load_weights(student, path)
        else:
            schedule = self._schedule(o.epochs, QAT_EPOCHS, QAT_STEPS)
            self.watcher.phase("quantization-aware training", schedule.steps)
            batches = self._batches(schedule, stream=2)
            qat.train(student, self.teacher, batches, schedule, self._calibration(), self._progress)
            _save_weights(student, path)
        self.watcher.phase("converting to int8", 1)
        model = to_int8_qat(student, o.io)
        self.watcher.advance(1)
        return model

    def _ptq(self) -> bytes:
        from training.input import plain_dataset

        start = self._pruned() if self.options.pruning else self.teacher
        pixels = self._train_photos(CALIBRATION_PHOTOS)
        self.watcher.phase("converting to int8", 1)
        photos = (photo.numpy() for photo in plain_dataset(pixels, batch=1))
        model = to_int8_ptq(start, photos, self.options.io)
        self.watcher.advance(1)
        return model

    def _calibration(self) -> Iterator[NDArray[np.float32]]:
        pixels = self._train_photos(CALIBRATION_PHOTOS)
        for first in range(0, len(pixels), self.options.batch):
            yield model_scale(pixels[first : first + self.options.batch])

    def _train_photos(self, most: int) -> NDArray[np.uint8]:
        """Training photos as the device would see them, evenly spaced over the classes."""
        pixels, _ = self.run.arrays("train")
        if len(pixels) == 0:
            raise QuantizeError(f"{self.run.path}: the run has no training photos")
        spots = np.linspace(0, len(pixels) - 1, min(most, len(pixels))).round().astype(int)
        chosen: NDArray[np.uint8] = pixels[spots]
        return chosen

    def _schedule(self, epochs: int | None, usual: int, fewest_steps: int) -> Schedule:
        photos = len(self.run.dataset.split("train").examples)
        steps = max(1, photos // min(self.options.batch, max(1, photos)))
        return Schedule(
            epochs=max(usual, math.ceil(fewest_steps / steps)) if epochs is None else epochs,
            steps_per_epoch=steps,
            learning_rate=self.options.learning_rate,
        )

    def _batches(self, schedule: Schedule, stream: int) -> Iterator[tuple[Any, Any]]:
        """The run's own training photos and augmentation; `stream` keeps phases apart."""
        from training.input import one_hot, train_dataset
        from training.sampling import epoch_order, group_shares

        info = self.run.info
        part = self.run.dataset.split("train")
        side = info.recipe.source_side
        pixels = self.run.pixels(part, InputSpec(width=side, height=side, crop=info.recipe.crop))
        truth = self.run.labels_of(part)
        groups = tuple(e.group or e.file for e in part.examples)
        shares = group_shares(truth, groups, info.recipe.group_balance)
        batch = min(self.options.batch, len(truth))
        used = schedule.steps_per_epoch * batch
        orders = [
            epoch_order(shares, info.seed + 1000 * stream, epoch)[:used]
            for epoch in range(schedule.epochs)
        ]
        dataset = train_dataset(
            pixels,
            one_hot(truth, len(info.labels)),
            np.concatenate(orders) if orders else np.zeros(0, np.int32),
            batch=batch,
            side=info.recipe.resolution,
            augment=info.recipe.augment,
            seed=info.seed + 1000 * stream,
        )
        return iter(dataset)

    def _progress(self, _step: int, _steps: int, loss: float) -> None:
        self.watcher.advance(1, f"loss {loss:.3f}")


def pack(
    pipeline: Pipeline,
    outcome: Outcome,
    out: Path,
    name: str,
    version: str,
    signing_key: Any = None,  # noqa: ANN401 - Ed25519PrivateKey
) -> Manifest:
    """Write the bundle of an outcome that passed the gate.

    Raises:
        ParityError: it did not; nothing is written.
    """
    from importlib.metadata import version as package_version

    parity.require(outcome.report)
    options, run = pipeline.options, pipeline.run
    packages = {"ai-edge-litert": package_version("ai-edge-litert")}
    identity = {
        "name": name,
        "version": version,
        "created": package.created((run.path / "model.keras").stat().st_mtime),
        "labels": run.info.labels,
        "provenance": package.provenance(run, options.method, options.pruning, packages),
    }
    return package.write(
        out,
        outcome.model,
        outcome.specs,
        outcome.photos,
        outcome.answers,
        outcome.report,
        identity,
        signing_key,
    )


def _check_zeros(model: bytes, pruning: float) -> None:
    """Hold the zeros in the int8 weights against what was asked for.

    Raises:
        QuantizeError: there are fewer.
    """
    pruned = layers(read_graph(model))
    size, zeros = sum(x.size for x in pruned), sum(x.zeros for x in pruned)
    if zeros < pruning * size - len(pruned):
        raise QuantizeError(
            f"{zeros / size:.1%} of the weights are zero after quantization, not {pruning:.1%}: "
            "pruning was undone; report this with the model"
        )


def _save(path: Path, content: bytes) -> None:
    from training.runs import write_whole

    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)


def _save_weights(model: Any, path: Path) -> None:  # noqa: ANN401
    import io

    stream = io.BytesIO()
    np.savez(stream, *model.get_weights())
    _save(path, stream.getvalue())


def _load_weights(model: Any, path: Path) -> None:  # noqa: ANN401
    try:
        with np.load(path, allow_pickle=False) as file:
            model.set_weights([file[name] for name in file.files])
    except (OSError, ValueError, KeyError) as error:
        raise QuantizeError(f"{path}: damaged ({error}); delete it to train anew") from error
