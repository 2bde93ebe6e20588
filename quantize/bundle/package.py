"""From a judged int8 model to a bundle: decision rules, goldens, metrics, provenance."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import QuantizeError
from edge.model.bundle.bundle import MODEL, UNKNOWN_RULE, write_bundle
from edge.model.bundle.manifest import (
    ClassMetrics,
    Interpreter,
    LabelSpec,
    Manifest,
    Metrics,
    ModelMetrics,
    Provenance,
    Teacher,
    UnknownMetrics,
)
from edge.model.image.preprocessing import InputSpec
from edge.model.scores import DecisionSpec
from quantize.bundle import goldens
from quantize.bundle.reference import reference
from quantize.bundle.unknown import Rule
from quantize.options import Options
from quantize.parity.compare import Calibration, Form, Photos
from quantize.parity.outcome import Outcome
from quantize.tflite.features import with_features
from quantize.tflite.metadata import add_metadata
from training import metrics
from training.unknown.fit import Fitted

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from training.runs import Run, UsedRun

#: Answers about a class are reported from the confidence on at which so many of them were right.
WANTED_PRECISION = 0.8
#: A class with fewer validation answers gets no threshold of its own.
LEAST_ANSWERS = 5
#: Share of right answers that a class's threshold leaves standing.
KEEP = 0.95


class Identity(NamedTuple):
    """What the bundle is called, and where it comes from."""

    name: str
    version: str
    created: str
    labels: tuple[str, ...]
    """Ids."""
    provenance: Provenance


def write(
    path: Path,
    outcome: Outcome,
    rule: Rule,
    identity: Identity,
    root: Path,
    signing_key: Ed25519PrivateKey | None = None,
) -> Manifest:
    """Write the bundle; return its manifest.

    Args:
        path: NAME.wtr, replaced whole.
        outcome: of an int8 TFLite without metadata, by the parity gate.
        rule: for what is unknown to that model.
        identity: what it is.
        root: the photos' folder.
        signing_key: signs the manifest.
    """
    input_spec, output_spec = outcome.specs
    labels, report = identity.labels, outcome.report
    by_rule = rule.fitted.spec is not None
    described = add_metadata(
        with_features(outcome.model) if by_rule else outcome.model,
        labels,
        input_spec,
        identity.name,
        identity.version,
        f"Wheatear int8 classifier of {len(labels)} classes; the first output is logits.",
    )
    val, answers = outcome.photos["val"], outcome.answers["val"].int8
    decision, thresholds = decide(answers, val.truth, report.int8_calibration, rule.fitted)
    entries, files, version = goldens.make(
        described, input_spec, _golden_photos(answers, val, labels, input_spec, root)
    )
    manifest = Manifest(
        name=identity.name,
        version=identity.version,
        created=identity.created,
        labels=tuple(
            LabelSpec(id=label, name=display_name(label), threshold=threshold)
            for label, threshold in zip(labels, thresholds, strict=True)
        ),
        input=input_spec,
        output=output_spec,
        decision=decision,
        unknown=rule.fitted.spec,
        metrics=_metrics(outcome, labels, rule.metrics),
        provenance=identity.provenance,
        goldens=entries,
        interpreter=Interpreter(name="litert", version=version),
        reference=reference(answers, val.pixels, decision.temperature),
    )
    members = {MODEL: described, **files}
    if by_rule:
        members[UNKNOWN_RULE] = rule.fitted.data
    return write_bundle(path, manifest, members, signing_key)


def _golden_photos(
    logits: NDArray[np.float32],
    val: Photos,
    labels: tuple[str, ...],
    spec: InputSpec,
    root: Path,
) -> list[tuple[str, NDArray[np.uint8]]]:
    """Names and pixels of the golden pictures; the clearest of them as large as it was taken."""
    chosen = goldens.choose(logits, val.truth)
    ordered = np.sort(logits[chosen], axis=1)
    clearest = int((ordered[:, -1] - ordered[:, -2]).argmax())
    found = [(_slug(labels[val.truth[i]], i), val.pixels[i]) for i in chosen]
    name, _ = found[clearest]
    found[clearest] = (name, goldens.original(root / val.files[chosen[clearest]], spec))
    return found


def decide(
    logits: NDArray[np.float32],
    truth: NDArray[np.int64],
    calibration: Calibration,
    unknown: Fitted,
) -> tuple[DecisionSpec, tuple[float, ...]]:
    """The decision and each class's threshold, from validation logits (n, classes).

    `unknown` is the way of telling the unknown.

    Raises:
        QuantizeError: no validation photo is answered rightly.
    """
    shares = metrics.softmax(logits, calibration.temperature)
    confidence, said = shares.max(axis=1), shares.argmax(axis=1)
    right = said == truth
    if not right.any():
        raise QuantizeError(
            "no validation photo is classified correctly, so there is nothing to set thresholds by"
        )
    spec = DecisionSpec(
        temperature=device_temperature(calibration),
        unknown="max-probability" if unknown.spec is None else "features",
        unknown_threshold=_down(unknown.threshold),
    )
    thresholds = [
        class_threshold(confidence[said == c], right[said == c]) for c in range(logits.shape[1])
    ]
    return spec, tuple(thresholds)


def device_temperature(calibration: Calibration) -> float:
    """The temperature as a bundle has it: in few digits, within its bounds."""
    return round(float(np.clip(calibration.temperature, 0.05, 20)), 4)


def class_threshold(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Lowest confidence from which `WANTED_PRECISION` of a class's answers are right.

    0 where all of them together are good enough or too few to tell; never so high that more than
    5 % of the right answers fall below it.
    """
    if len(right) < LEAST_ANSWERS or not right.any() or right.mean() >= WANTED_PRECISION:
        return 0.0
    order = np.argsort(-confidence, kind="stable")
    precision = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(precision >= WANTED_PRECISION)
    wanted = float(confidence[order][good[-1]]) if len(good) else 1.0
    return _down(min(wanted, metrics.fit_unknown_threshold(confidence, right, KEEP)))


def created(recorded: float) -> str:
    """When the bundle counts as made, UTC: SOURCE_DATE_EPOCH, else the run's own time (epoch s)."""
    stamp = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        seconds = int(stamp) if stamp else int(recorded)
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError) as error:
        raise QuantizeError(f"SOURCE_DATE_EPOCH is {stamp!r}: give whole seconds") from error


def display_name(label: str) -> str:
    """A label id as people write it: field_cricket -> Field cricket."""
    words = label.replace("_", " ").replace("-", " ").strip()
    return words[:1].upper() + words[1:] or label


def _metrics(outcome: Outcome, labels: tuple[str, ...], unknown: UnknownMetrics) -> Metrics:
    report, test = outcome.report, outcome.answers["test"]
    truth = outcome.photos["test"].truth
    scores = metrics.class_scores(truth, test.int8.argmax(axis=1), len(labels))
    split = report.splits["test"]
    return Metrics(
        split="test",
        n=split.n,
        float_=_model_metrics(split.keras, report.float_calibration),
        int8=_model_metrics(split.int8, report.int8_calibration),
        agreement=split.agreement,
        per_class={label: ClassMetrics(**scores.of(i)) for i, label in enumerate(labels)},
        unknown=unknown,
    )


def _model_metrics(form: Form, calibration: Calibration) -> ModelMetrics:
    return ModelMetrics(**msgspec.structs.asdict(form), ece=calibration.ece_after)


def provenance(
    run: Run, options: Options, board: str = "", taught: Sequence[UsedRun] = ()
) -> Provenance:
    """Where the model comes from, taken from the run and the packages used now.

    `board` is the machine whose times shaped the model; empty: none did. `taught` are teachers
    beside those of the run.
    """
    info = run.info
    teachers = dict.fromkeys((one.recipe_name, one.sha256) for one in (*info.teachers, *taught))
    return Provenance(
        data_fingerprint=info.data_fingerprint,
        split_rule=info.split_rule,
        recipe=info.recipe_name,
        seed=info.seed,
        start=info.start,
        teachers=tuple(Teacher(recipe=recipe, sha256=sha256) for recipe, sha256 in teachers),
        packages={**info.packages, "ai-edge-litert": package_version("ai-edge-litert")},
        method=options.method,
        pruning=options.zeros,
        pruning_pattern="2:4" if options.pruning_pattern == "2:4" else "",
        clusters=options.clusters,
        budget=f"{options.budget} on {board}" if board else options.budget,
    )


def _down(value: float) -> float:
    """Four decimals, rounded down: the photo that set a threshold stays above it."""
    return float(np.floor(value * 1e4) / 1e4)


def _slug(label: str, index: int) -> str:
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', label).strip('-_')[:48] or 'photo'}-{index}"
