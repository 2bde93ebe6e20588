"""``manifest.json`` of a model bundle: frozen structs that check themselves (docs/bundle.md)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge.errors import BundleFormatError
from edge.messages.base import Sha256
from edge.model.image.preprocessing import InputSpec
from edge.model.scores import DecisionSpec
from edge.model.unknown_rule import UnknownSpec
from edge.text.json_text import from_json

SCHEMA_VERSION = 1

#: Names that are safe in file names and topics.
Name = Annotated[str, Meta(pattern=r"^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?\Z")]
Version = Annotated[str, Meta(pattern=r"^[0-9A-Za-z](?:[0-9A-Za-z.+-]{0,62}[0-9A-Za-z])?\Z")]
Probability = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
Label = Annotated[str, Meta(min_length=1, max_length=200)]


class _ManifestPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every part of the manifest is: immutable, and without unknown keys."""


class LabelSpec(_ManifestPart, frozen=True, kw_only=True):
    """One class, in the order of the model's outputs."""

    id: Label
    """Stable identifier, as sent in sightings."""
    name: Label
    """For people."""
    threshold: Probability = 0.0
    """Probability below which this class is not reported."""


class OutputSpec(_ManifestPart, frozen=True, kw_only=True):
    """What the model's output tensor (1, classes) means."""

    kind: Literal["logits", "probabilities"] = "logits"
    dtype: Literal["int8", "uint8", "float32"] = "int8"
    scale: Annotated[float, Meta(gt=0)] = 1.0
    """Real units per level (integer dtypes only)."""
    zero_point: int = 0
    """The level that stands for real 0 (integer dtypes only)."""


class ModelMetrics(_ManifestPart, frozen=True, kw_only=True):
    """How good one form of the model is; fractions 0..1."""

    accuracy: Probability
    accuracy_low: Probability
    """Lower end of the 95 % interval."""
    accuracy_high: Probability
    """Upper end of the 95 % interval."""
    balanced_accuracy: Probability
    ece: Probability
    """Expected calibration error, 15 bins."""


class ClassMetrics(_ManifestPart, frozen=True, kw_only=True):
    """How good the int8 model is on one class; fractions 0..1."""

    n: Count
    precision: Probability
    recall: Probability
    f1: Probability


class UnknownKind(_ManifestPart, frozen=True, kw_only=True):
    """How many pictures of one kind, none of them of a class, are called unknown."""

    n: Count
    """Pictures."""
    roc_area: Probability
    """The chance that a right answer scores above one of them."""
    caught: Probability
    """Share of them below the threshold."""
    caught_low: Probability
    """Lower end of the 95 % interval, which takes pictures as independent."""
    caught_high: Probability
    """Upper end."""


class UnknownWay(_ManifestPart, frozen=True, kw_only=True):
    """How well one way of telling the unknown did on what was held out to choose by."""

    roc_area: Probability
    """The chance that a right answer scores above something held out."""
    caught: Probability
    """Share of it below the threshold that keeps 95 % of those right answers."""


class UnknownMetrics(_ManifestPart, frozen=True, kw_only=True):
    """What the unknown rule does on the device."""

    chosen: str = ""
    """The way that was chosen; empty: there was no choice."""
    chosen_by: str = ""
    """What was held out to choose by."""
    ways: dict[str, UnknownWay] = {}
    """What there was to choose from."""

    kept: Probability
    """Share of the right answers on the test photos that stay."""
    kinds: dict[str, UnknownKind] = {}
    """By what the pictures are."""


class Metrics(_ManifestPart, frozen=True, kw_only=True, rename={"float_": "float"}):
    """What was measured, on which photos, through the device's own preprocessing."""

    split: str
    n: Count
    float_: ModelMetrics
    int8: ModelMetrics
    agreement: Probability
    """Share of photos on which int8 gives the same top label as the float model it was quantized
    from: the pruned one, where it was pruned."""
    per_class: dict[str, ClassMetrics] = {}
    """By label id."""
    unknown: UnknownMetrics | None = None


class StartWeights(_ManifestPart, frozen=True, kw_only=True):
    """The file of weights that training began with."""

    name: Label
    """As it was asked for, "imagenet"; or the file's name."""
    source: str = ""
    """Where it was published; empty: not known."""
    licence: str = ""
    """SPDX identifier; empty: not known."""
    sha256: Sha256


def starts_of(start: StartWeights | tuple[StartWeights, ...] | None) -> tuple[StartWeights, ...]:
    """The start weights that a run or a manifest names, however many."""
    if start is None:
        return ()
    return start if isinstance(start, tuple) else (start,)


class Teacher(_ManifestPart, frozen=True, kw_only=True):
    """A finished run whose answers a model learned from."""

    recipe: str
    sha256: Sha256
    """Of its model's file."""


class Provenance(_ManifestPart, frozen=True, kw_only=True):
    """Where the model comes from."""

    data_fingerprint: str
    split_rule: str
    recipe: str
    seed: int
    start: StartWeights | tuple[StartWeights, ...] | None = None
    """None: training began from scratch, or the run does not say. Several: of joined networks."""
    teachers: tuple[Teacher, ...] = ()
    """Of training, and of making it smaller."""
    packages: dict[str, str] = {}
    method: str = ""
    pruning: Probability = 0.0
    """Share of weights set to zero."""
    pruning_pattern: Literal["", "2:4"] = ""
    """Which weights: "2:4", two of four neighbours along the input channels; empty: any."""
    clusters: Count = 0
    """Different weights in each convolution and dense layer; 0: any number."""
    budget: str = ""
    """What channels were taken out for, as "macs=0.5" or "latency=0.5 on Raspberry Pi 4 ...", with
    the machine that was timed; empty: none were."""


class Golden(_ManifestPart, frozen=True, kw_only=True):
    """A picture and the raw output levels expected for it."""

    file: str
    scores: tuple[int | float, ...]
    """Raw output values, one per class, before dequantising."""
    tolerance: Annotated[float, Meta(ge=0)]
    """Largest allowed difference of any score, in output levels."""


class Interpreter(_ManifestPart, frozen=True, kw_only=True):
    """Which interpreter gave the golden scores."""

    name: str
    version: str


class FileEntry(_ManifestPart, frozen=True, kw_only=True):
    """Size and hash of one other member."""

    size: Count
    """Bytes, uncompressed."""
    sha256: Sha256


class Reference(_ManifestPart, frozen=True, kw_only=True):
    """What photos it was not trained on look like to the device: counts by bin.

    The bins are those of :mod:`edge.model.picture_statistics`.
    """

    split: str
    n: Annotated[int, Meta(ge=1)]
    """Photos counted."""
    labels: tuple[Count, ...]
    """By most likely class, in the order of the labels."""
    confidence: Annotated[tuple[Count, ...], Meta(min_length=10, max_length=10)]
    """Of the most likely class: tenths."""
    brightness: Annotated[tuple[Count, ...], Meta(min_length=16, max_length=16)]
    """Mean luma: sixteen levels each."""
    sharpness: Annotated[tuple[Count, ...], Meta(min_length=16, max_length=16)]
    """Variance of the Laplacian: below 1, then octaves."""

    def __post_init__(self) -> None:
        """Refuse counts that do not add up."""
        for name in ("labels", "confidence", "brightness", "sharpness"):
            if sum(getattr(self, name)) != self.n:
                raise ValueError(f"{name} of the reference must add up to n = {self.n}")


class Manifest(_ManifestPart, frozen=True, kw_only=True):
    """All that a device or a person must know about a bundle."""

    schema_version: int = SCHEMA_VERSION
    name: Name
    version: Version
    created: str
    """UTC, ISO 8601."""
    labels: Annotated[tuple[LabelSpec, ...], Meta(min_length=1)]
    input: InputSpec
    output: OutputSpec
    decision: DecisionSpec
    unknown: UnknownSpec | None = None
    """The rule that the decision names "features"; its arrays are in unknown.bin."""
    metrics: Metrics | None = None
    provenance: Provenance | None = None
    goldens: Annotated[tuple[Golden, ...], Meta(min_length=1)]
    interpreter: Interpreter
    reference: Reference | None = None
    files: dict[str, FileEntry] = {}

    def __post_init__(self) -> None:
        """Refuse parts that contradict each other; ValueError, so msgspec names the path."""
        ids = [label.id for label in self.labels]
        if len(set(ids)) != len(ids):
            raise ValueError("label ids must differ from each other")
        for golden in self.goldens:
            if len(golden.scores) != len(ids):
                raise ValueError(
                    f"{golden.file} has {len(golden.scores)} scores for {len(ids)} labels"
                )
        if self.reference is not None and len(self.reference.labels) != len(ids):
            raise ValueError(
                f"the reference has counts of {len(self.reference.labels)} labels of {len(ids)}"
            )
        calibrated = self.decision.temperature != 1 or self.decision.unknown == "energy"
        if self.output.kind == "probabilities" and calibrated:
            raise ValueError("temperature and energy need an output of kind logits")
        by_features = self.decision.unknown == "features"
        if by_features != (self.unknown is not None):
            raise ValueError('a decision by "features" and a rule in `unknown` need each other')
        if by_features and self.output.kind == "probabilities":
            raise ValueError("the unknown rule needs an output of kind logits")


def encode(manifest: Manifest) -> bytes:
    """The manifest as indented JSON, the same bytes for the same values."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def parse(data: bytes) -> Manifest:
    """Read ``manifest.json``.

    Raises:
        BundleFormatError: not JSON, an unknown schema version, or values that do not fit.
    """
    raw: Any = None
    try:
        raw = from_json(data, msgspec.json.Decoder(Any))
        found = raw.get("schema_version") if isinstance(raw, dict) else None
        if found != SCHEMA_VERSION:
            raise BundleFormatError(
                f"manifest.json has schema version {found!r}; this software reads "
                f"{SCHEMA_VERSION}. Update one of the two"
            )
        return msgspec.convert(raw, Manifest)
    except (msgspec.MsgspecError, RecursionError) as error:
        from edge.text.refusals import refusal  # for errors only: a start does not wait for it

        why = refusal(error, raw)
        raise BundleFormatError(f"manifest.json: {why}; pack the bundle again") from error
