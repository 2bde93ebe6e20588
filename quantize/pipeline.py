"""Run -> bundle: prune, quantization-aware training, conversion, parity gate, packing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge.errors import QuantizeError, WheatearError
from edge.model.bundle.manifest import Manifest
from edge.model.image.preprocessing import InputSpec
from quantize.bundle import package
from quantize.bundle.unknown import Rule, Watch, unknown_rule
from quantize.compress.cluster import clustered
from quantize.compress.prune import pruned
from quantize.compress.structured import smaller
from quantize.int8.convert import int8_input, output_spec, to_float_tflite
from quantize.int8.phase import ranged, trained
from quantize.int8.qat import check_layers
from quantize.parity import compare, compliance
from quantize.parity.outcome import Outcome
from quantize.tflite.features import with_features
from quantize.workbench import TFLITE, Workbench
from training.runs import Run, finished_model
from training.unknown.foreign import foreign_pictures
from training.untyped import Model

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True)
class Pipeline:
    """One run being quantized: the order of phases."""

    bench: Workbench

    def __post_init__(self) -> None:
        """Refuse what cannot be done to joined networks. Raises QuantizeError."""
        o = self.bench.options
        if self.bench.run.info.joined and (o.shaped or o.method != "ptq"):
            raise QuantizeError(
                f"{self.bench.run.path}: joined networks are rounded as they are: --method ptq, "
                "without --pruning, --clusters, --budget and --resolution"
            )

    @cached_property
    def source(self) -> Model:
        """The float model that is quantized: the run's own, or what was made of it."""
        o, model, features = self.bench.options, self.bench.float_keras, None
        if o.budget or o.resolution:
            model, features = smaller(self.bench)
        if o.zeros:
            model = pruned(self.bench, model, features)
        return clustered(self.bench, model, features) if o.clusters else model

    @property
    def input(self) -> InputSpec:
        """What the quantized model takes: the run's input, or a smaller one."""
        return self.bench.input_of(self.source)

    def int8_model(self) -> bytes:
        """The int8 TFLite file, made or taken from an earlier run with the same options.

        Raises:
            QuantizeError: a layer cannot be quantized, training diverged, conversion failed.
        """
        bench, o = self.bench, self.bench.options

        def make() -> bytes:
            bench.prepare()
            if o.method == "qat":
                check_layers(bench.float_keras)  # before any time is spent on pruning
            model = (ranged if o.method == "ptq" else trained)(bench, self.source)
            compliance.check(model, o)
            return model

        facts = (o.method, *bench.rounding_facts(), *bench.source_facts(), o.io)
        return bench.kept("int8", facts, TFLITE, make, "int8 model taken from")

    def float_model(self) -> bytes:
        """The float TFLite file of what is quantized."""

        def make() -> bytes:
            self.bench.prepare()
            source = self.source
            self.bench.watcher.phase("converting the float model", 1)
            model = to_float_tflite(source)
            self.bench.watcher.advance(1)
            return model

        return self.bench.kept("float", self.bench.source_facts(), TFLITE, make)

    def judge(self, int8: bytes) -> Outcome:
        """Compare all forms on validation and test photos.

        Raises:
            QuantizeError: too few photos.
        """
        bench, float_tflite = self.bench, self.float_model()
        specs = (int8_input(self.input, int8), output_spec(int8))
        parts = {name: self._photos(name) for name in ("val", "test")}
        total = sum(len(part.truth) for part in parts.values())
        bench.watcher.phase("comparing float and int8", 2 * total)
        try:
            answers = {
                name: compare.answer(
                    (bench.float_keras, self.source),
                    float_tflite,
                    int8,
                    (self.input, *specs),
                    part,
                    bench.watcher.advance,
                )
                for name, part in parts.items()
                if len(part.truth)
            }
        except WheatearError as error:
            raise QuantizeError(f"the models cannot be compared: {error}") from error
        report = compare.compare(parts, answers, bench.run.info.labels, bench.options.limits)
        return Outcome(int8, report, parts, answers, specs)

    def _photos(self, split: str) -> compare.Photos:
        """One split as the device sees it."""
        return photos(self.bench.run, split, self.input)


def photos(run: Run, split: str, spec: InputSpec) -> compare.Photos:
    """One split as a device with the input rule `spec` sees it."""
    run_pixels, truth = run.arrays(split)
    part = run.dataset.split(split)
    return compare.Photos(
        pixels=run.pixels(part, spec),
        run_pixels=run_pixels,
        truth=truth,
        files=tuple(e.file for e in part.examples),
        groups=part.groups,
    )


def pack(
    bench: Workbench,
    outcome: Outcome,
    out: Path,
    name: str,
    version: str,
    signing_key: Ed25519PrivateKey | None = None,
    unknown: Sequence[Path] = (),
) -> Manifest:
    """Write the bundle of an outcome that passed the gate; `unknown` are folders to judge it by.

    Raises:
        ParityError: it did not; nothing is written.
        TrainingError: a folder holds no picture, or too few answers are right.
    """
    compare.require(outcome.report)
    run, board = bench.run, bench.timer.board if bench.options.timed else ""
    identity = package.Identity(
        name=name,
        version=version,
        created=package.created(finished_model(run.path).stat().st_mtime),
        labels=run.info.labels,
        provenance=package.provenance(run, bench.options, board, bench.taught),
    )
    rule = _unknown_rule(bench, outcome, unknown)
    return package.write(out, outcome, rule, identity, run.dataset.root, signing_key)


def _unknown_rule(bench: Workbench, outcome: Outcome, folders: Sequence[Path]) -> Rule:
    run, spec = bench.run, outcome.specs[0]
    seen = msgspec.structs.replace(run.info.input, width=spec.width, height=spec.height)
    return unknown_rule(
        with_features(outcome.model),
        outcome.specs,
        {**outcome.photos, "train": photos(run, "train", seen)},
        {folder.name: foreign_pictures(folder, seen) for folder in folders},
        package.device_temperature(outcome.report.int8_calibration),
        run.info.seed,
        Watch(bench.watcher.phase, bench.watcher.advance),
    )
