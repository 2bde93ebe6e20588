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
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge import __version__
from edge.errors import QuantizeError
from edge.model.bundle.manifest import Manifest
from edge.model.image.preprocessing import InputSpec
from quantize.bundle import package
from quantize.int8 import phase as rounding
from quantize.int8.convert import (
    int8_input,
    model_scale,
    output_spec,
    to_float_tflite,
)
from quantize.keras.finetune import Schedule
from quantize.options import Options
from quantize.parity import compare as parity
from quantize.parity import compliance as promises
from quantize.parity.outcome import Outcome
from quantize.timing.timer import Local, Timer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from training.runs import Run


class Watcher(Protocol):
    """Is told how the work goes."""

    def phase(self, name: str, steps: int) -> None:
        """A phase of so many steps begins."""

    def advance(self, steps: int, note: str = "") -> None:
        """Some steps of the phase are done."""

    def say(self, text: str) -> None:
        """Something worth a line."""


@dataclass(frozen=True)
class Pipeline:
    """One run being quantized."""

    run: Run
    options: Options
    watcher: Watcher
    timer: Timer = field(default_factory=Local)
    """Times models on the machine that a time budget is for."""

    @property
    def folder(self) -> Path:
        """Where phases leave their results."""
        return self.run.path / "quantize" / self.options.method

    @cached_property
    def float_keras(self) -> Any:  # noqa: ANN401
        """The run's own model."""
        return self.run.model()

    @cached_property
    def source(self) -> Any:  # noqa: ANN401
        """The float model that is quantized: the run's own, or what was made of it."""
        from quantize.compress.cluster import clustered
        from quantize.compress.prune import pruned
        from quantize.compress.structured import smaller

        o = self.options
        model, features = self.float_keras, None
        if o.budget or o.resolution:
            model, features = smaller(self)
        if o.pruning:
            model = pruned(self, model, features)
        return clustered(self, model, features) if o.clusters else model

    @cached_property
    def input(self) -> InputSpec:
        """What the quantized model takes: the run's input, or a smaller one."""
        from quantize.compress.structured import resolution

        side = resolution(self)
        return msgspec.structs.replace(self.run.info.input, width=side, height=side)

    @cached_property
    def _origin(self) -> str:
        path = self.run.path / "model.keras"
        if not path.exists():
            self.run.model()  # raises with the cure
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def result_path(self, phase: str, suffix: str, *facts: Any) -> Path:  # noqa: ANN401
        """Where a phase leaves its result; other facts, another name."""
        from training.runs import package_versions

        everything = (self._origin, self.run.info.seed, __version__, package_versions(), facts)
        key = hashlib.sha256(msgspec.json.encode(everything)).hexdigest()[:12]
        return self.folder / f"{phase}-{key}{suffix}"

    def int8_model(self) -> bytes:
        """The int8 TFLite file, made or taken from an earlier run with the same options.

        Raises:
            QuantizeError: a layer cannot be quantized, training diverged, conversion failed.
        """
        o = self.options
        path = self.result_path(
            "int8", ".tflite", o.method, *self.rounding_facts(), *self.source_facts(), o.io
        )
        if path.exists():
            self.watcher.say(f"int8 model taken from {path}")
            return path.read_bytes()
        self.prepare()
        model = (rounding.ranged if o.method == "ptq" else rounding.trained)(self)
        promises.check(model, o)
        save(path, model)
        return model

    def float_model(self) -> bytes:
        """The float TFLite file of what is quantized."""
        path = self.result_path("float", ".tflite", *self.source_facts())
        if not path.exists():
            self.prepare()
            source = self.source
            self.watcher.phase("converting the float model", 1)
            save(path, to_float_tflite(source))
            self.watcher.advance(1)
        return path.read_bytes()

    def judge(self, int8: bytes) -> Outcome:
        """Compare all forms on validation and test photos.

        Raises:
            QuantizeError: too few photos.
        """
        from edge.errors import WheatearError

        float_tflite = self.float_model()
        specs = (int8_input(self.input, int8), output_spec(int8))
        photos = {name: self.photos(name) for name in ("val", "test")}
        total = sum(len(part.truth) for part in photos.values())
        self.watcher.phase("comparing float and int8", 2 * total)
        try:
            answers = {
                name: parity.answer(
                    (self.float_keras, self.source),
                    float_tflite,
                    int8,
                    (self.input, *specs),
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
        run_pixels, truth = self.run.arrays(split)
        part = self.run.dataset.split(split)
        examples = part.examples
        return parity.Photos(
            pixels=self.run.pixels(part, self.input),
            run_pixels=run_pixels,
            truth=truth,
            files=tuple(e.file for e in examples),
            groups=tuple(e.group or e.file for e in examples),
        )

    def source_facts(self) -> tuple[Any, ...]:
        """What of the options shapes the float model that is quantized."""
        o = self.options
        if not o.clusters:
            return self.pruning_facts()
        clustering = (o.clusters, o.pruning_epochs, o.pruning_learning_rate, o.batch)
        return (*self.pruning_facts(), *clustering)

    def pruning_facts(self) -> tuple[Any, ...]:
        """What of the options shapes the model that is pruned or made smaller."""
        o = self.options
        if not (o.pruning or o.budget or o.resolution):
            return (0,)
        training = (o.pruning_epochs, o.pruning_learning_rate, o.batch)
        schedule = o.pruning_schedule or "polynomial"
        facts = (o.pruning, schedule, o.pruning_pattern, o.budget, o.resolution, *training)
        return (*facts, self.timer.where) if o.timed else facts

    def rounding_facts(self) -> tuple[Any, ...]:
        """What of the options shapes the training with rounding."""
        o = self.options
        return (o.epochs, o.learning_rate, o.batch)

    def prepare(self) -> None:
        """Make what follows repeatable."""
        from training.tf import keras, tf

        keras.utils.set_random_seed(self.run.info.seed)
        # Numbered layer names end up in the file: the second model of a process is named as the
        # first, so that its bytes are the same.
        keras.backend.reset_uids()
        tf.config.experimental.enable_op_determinism()
        self.folder.mkdir(parents=True, exist_ok=True)

    def train_photos(self, most: int, spec: InputSpec | None = None) -> NDArray[np.uint8]:
        """Training photos as the device would see them, evenly spaced over the classes.

        `spec` is the input rule, by default that of the model that is quantized.
        """
        pixels = self.run.pixels(self.run.dataset.split("train"), spec or self.input)
        if len(pixels) == 0:
            raise QuantizeError(f"{self.run.path}: the run has no training photos")
        spots = np.linspace(0, len(pixels) - 1, min(most, len(pixels))).round().astype(int)
        chosen: NDArray[np.uint8] = pixels[spots]
        return chosen

    def model_photos(self, most: int, spec: InputSpec) -> NDArray[np.float32]:
        """The same by another input rule, as the model takes them, float32 (n, h, w, 3)."""
        return model_scale(self.train_photos(most, spec))

    def schedule(self, epochs: int | None, usual: int, fewest_steps: int, rate: float) -> Schedule:
        """So many epochs; None: the usual number, or more where that is too few steps."""
        photos = len(self.run.dataset.split("train").examples)
        steps = max(1, photos // min(self.options.batch, max(1, photos)))
        return Schedule(
            epochs=max(usual, math.ceil(fewest_steps / steps)) if epochs is None else epochs,
            steps_per_epoch=steps,
            learning_rate=rate,
        )

    def batches(self, schedule: Schedule, stream: int, side: int) -> Iterator[tuple[Any, Any]]:
        """The run's own training photos and augmentation, at `side` pixels.

        `stream` keeps phases apart.
        """
        from training.input.dataset import one_hot, train_dataset
        from training.input.sampling import epoch_order, group_shares

        info = self.run.info
        part = self.run.dataset.split("train")
        source = info.recipe.source_side
        rule = InputSpec(width=source, height=source, crop=info.recipe.crop)
        pixels = self.run.pixels(part, rule)
        truth = self.run.labels_of(part)
        groups = tuple(e.group or e.file for e in part.examples)
        shares = group_shares(truth, groups, info.recipe.group_balance)
        batch = min(self.options.batch, len(truth))
        whole = len(truth) // batch
        orders = [
            epoch_order(shares, info.seed + 1000 * stream, epoch)[: whole * batch]
            for epoch in range(math.ceil(schedule.steps / whole))
        ]
        dataset = train_dataset(
            pixels,
            one_hot(truth, len(info.labels)),
            np.concatenate(orders) if orders else np.zeros(0, np.int32),
            batch=batch,
            side=side,
            augment=info.recipe.augment,
            seed=info.seed + 1000 * stream,
        )
        return iter(dataset)

    def progress(self, _step: int, _steps: int, loss: float) -> None:
        """Move the bar of a training."""
        self.watcher.advance(1, f"loss {loss:.3f}")


def pack(
    pipeline: Pipeline,
    outcome: Outcome,
    out: Path,
    name: str,
    version: str,
    signing_key: Ed25519PrivateKey | None = None,
) -> Manifest:
    """Write the bundle of an outcome that passed the gate.

    Raises:
        ParityError: it did not; nothing is written.
    """
    parity.require(outcome.report)
    run, board = pipeline.run, pipeline.timer.board if pipeline.options.timed else ""
    identity = package.Identity(
        name=name,
        version=version,
        created=package.created((run.path / "model.keras").stat().st_mtime),
        labels=run.info.labels,
        provenance=package.provenance(run, pipeline.options, board),
    )
    return package.write(out, outcome, identity, run.dataset.root, signing_key)


def save_model(model: Any, path: Path) -> Any:  # noqa: ANN401 - Keras models
    """Save a float model whole; return it as a later call would find it.

    What was taken out of wrappers or cut has traces of two graphs in its layers.
    """
    from training.tf import keras

    partial = path.with_name(f"{path.stem}.{uuid4().hex}.partial.keras")
    model.save(partial)
    os.replace(partial, path)
    return keras.models.load_model(path, compile=False)


def save(path: Path, content: bytes) -> None:
    """Write a file whole, and its folder where there is none."""
    from training.runs import write_whole

    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)
