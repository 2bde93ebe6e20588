"""A model and a runtime together: pixels in, a decided classification out."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edge.errors import ModelError, SelfTestError
from edge.messages.sighting import Score
from edge.model.bundle.bundle import Bundle, read_bundle
from edge.model.bundle.manifest import OutputSpec, Reference
from edge.model.image.preprocessing import InputSpec, fit, quantise, takes_levels
from edge.model.runtimes import FEATURES, Runtime, open_runtime
from edge.model.scores import (
    DecisionSpec,
    Reason,
    ScoreCheck,
    both_sides,
    decide,
    dequantise,
    probabilities_of,
    refuse_no_numbers,
    unknown_score,
)
from edge.model.selftest import SelfTestReport, self_test
from edge.model.unknown_rule import UnknownRule, UnknownSpec

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edge.model.bundle.signing import PublicKey
    from edge.model.image.preprocessing import Pixels
    from edge.model.scores import Floats


class ModelInfo(msgspec.Struct, frozen=True):
    """Which model gave a classification, and what ran it."""

    name: str
    version: str
    sha256: str
    """Of the bundle or model file."""
    runtime: str
    runtime_version: str
    delegate: str | None = None
    """"XNNPACK" or "EdgeTPU"; None: plain kernels, or not known."""


class FrameTimings(msgspec.Struct, frozen=True):
    """Where the time went."""

    preprocess_ms: float
    invoke_ms: float


class Classification(msgspec.Struct, frozen=True):
    """What one picture shows."""

    label: str | None
    confidence: float
    """Calibrated probability (0..1) of the most likely label, also when ``label`` is None."""
    reason: Reason | None
    alternatives: tuple[Score, ...]
    """The most likely labels, best first, the first one included."""
    probabilities: Floats
    """(classes,) in the order of the labels."""
    timings: FrameTimings
    tiles: tuple[Tile, ...] = ()
    """What each tile shows, where the picture was looked at in parts (see
    :mod:`edge.model.tiled_classifier`); the rest is then that of the surest tile."""


class Tile(msgspec.Struct, frozen=True):
    """What one part of a picture shows."""

    box: tuple[int, int, int, int]
    """Left, top, right, bottom in pixels of the picture as it was taken."""
    found: Classification


class Classifier:
    """Classifies pictures with one model on one runtime; use from one thread at a time."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        input: InputSpec,
        output: OutputSpec,
        labels: Sequence[str],
        model_info: ModelInfo,
        model_bytes: int,
        thresholds: Sequence[float] | None = None,
        decision: DecisionSpec | None = None,
        top: int = 3,
        reference: Reference | None = None,
        check: ScoreCheck | None = None,
        unknown_rule: UnknownRule | None = None,
    ) -> None:
        """Put the parts together; use :meth:`from_bundle`, or
        :func:`edge.model.tflite.foreign.open_tflite`.

        Raises:
            ModelError: the runtime's tensors are not what ``input``, ``output``, ``labels`` and
                ``unknown_rule`` say.
        """
        _check_tensors(runtime, input, output, len(labels))
        if unknown_rule is not None:
            _check_features(runtime, unknown_rule.spec)
        self.input = input
        self.output = output
        self.labels = tuple(labels)
        self.model_info = model_info
        self.model_bytes = model_bytes
        self.top = top
        self.reference = reference
        self._check = check
        self._unknown_rule = unknown_rule
        self.thresholds = tuple(thresholds or (0.0,) * len(labels))
        self._decision = decision or DecisionSpec(unknown="none")
        self.runtime = runtime
        self._tensor = None if takes_levels(input) else np.empty(runtime.input.shape, input.dtype)

    @classmethod
    def from_bundle(
        cls,
        bundle: Bundle | Path | str,
        runtime: str = "litert",
        threads: int = 1,
        trusted_keys: Sequence[PublicKey] = (),
        self_test: bool = True,
    ) -> Classifier:
        """Load a bundle; by default its golden pictures must come out right first.

        ``trusted_keys`` are used where ``bundle`` is a path.

        Raises:
            BundleError: the bundle is refused; SelfTestError: it does not prove itself here.
            ConfigError, ModelError, RuntimeUnavailableError: as for ``open_runtime``.
        """
        verified = bundle if isinstance(bundle, Bundle) else read_bundle(bundle, trusted_keys)
        opened = open_runtime(runtime, _model_for(runtime, verified), threads)
        return cls._assemble(verified, opened, self_test)

    @classmethod
    def _assemble(cls, bundle: Bundle, opened: Runtime, self_test: bool) -> Classifier:
        """Put a bundle and its runtime together, and prove them if asked to."""
        manifest = bundle.manifest
        try:
            classifier = cls(
                opened,
                input=manifest.input,
                output=manifest.output,
                labels=bundle.labels,
                thresholds=[label.threshold for label in manifest.labels],
                decision=manifest.decision,
                model_info=model_info(opened, manifest.name, manifest.version, bundle.sha256),
                model_bytes=len(_model_for(opened.name, bundle)),
                reference=manifest.reference,
                unknown_rule=_unknown_rule(bundle),
            )
            if self_test:
                prove(classifier, bundle)
        except BaseException:
            opened.close()
            raise
        return classifier

    def raw(self, pixels: Pixels) -> NDArray[Any]:
        """The raw output levels (classes,) for RGB uint8 (H, W, 3) pixels."""
        return self.runtime.invoke(self._prepare(pixels))

    def classify(self, pixels: Pixels) -> Classification:
        """Classify RGB uint8 (H, W, 3) pixels of any size.

        Raises:
            ImageError: another shape or dtype.
            ModelError: the runtime failed, or is closed, or the scores make no sense.
        """
        started = perf_counter()
        tensor = self._prepare(pixels)
        ready = perf_counter()
        levels = self.runtime.invoke(tensor)
        done = perf_counter()
        spec = self._decision
        values = dequantise(levels, self.output.scale, self.output.zero_point)
        refuse_no_numbers(values)
        if self._check is not None:
            self._check(values)
        if values.size == 1:
            values = both_sides(values, self.output.kind)
        probabilities = probabilities_of(values, self.output.kind, spec.temperature)
        decision = decide(
            probabilities,
            self.labels,
            self.thresholds,
            spec,
            score=self._known(values, probabilities),
            top=self.top,
        )
        return Classification(
            label=decision.label,
            confidence=decision.confidence,
            reason=decision.reason,
            alternatives=decision.alternatives,
            probabilities=probabilities,
            timings=FrameTimings((ready - started) * 1e3, (done - ready) * 1e3),
        )

    def _known(self, values: Floats, probabilities: Floats) -> float | None:
        """How well the picture just run is known, by the decision's rule; None without one."""
        if self._unknown_rule is None:
            return unknown_score(values, probabilities, self._decision)
        return self._unknown_rule.score(self.runtime.output(1), values)

    def _prepare(self, pixels: Pixels) -> NDArray[Any]:
        """Fill and return the input tensor; it holds until the next picture."""
        return quantise(fit(pixels, self.input), self.input, out=self._tensor)

    def close(self) -> None:
        """Let the model go; a second call does nothing."""
        self.runtime.close()

    def __enter__(self) -> Classifier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _model_for(runtime: str, bundle: Bundle) -> bytes:
    if runtime != "edgetpu":
        return bundle.model
    if bundle.edgetpu_model is None:
        raise ModelError("the bundle holds no model compiled for the Edge TPU")
    return bundle.edgetpu_model


def _unknown_rule(bundle: Bundle) -> UnknownRule | None:
    spec = bundle.manifest.unknown
    if spec is None or bundle.unknown_rule is None:
        return None
    return UnknownRule(spec, bundle.unknown_rule, len(bundle.labels))


def prove(classifier: Classifier, bundle: Bundle) -> SelfTestReport:
    """Run the golden pictures; where that fails, tell of the likeliest reason.

    Raises:
        SelfTestError: they do not come out as they should.
    """
    try:
        return self_test(classifier, bundle)
    except SelfTestError as error:
        info = classifier.model_info
        if info.runtime not in ("litert", "tflite_runtime") or info.delegate is not None:
            raise
        raise SelfTestError(
            f"{error}. XNNPACK is not used here: LiteRT switches it off silently where it cannot "
            "read /proc/cpuinfo or /sys (systemd's ProcSubset=pid, a bare chroot)"
        ) from error


def model_info(runtime: Runtime, name: str, version: str, sha256: str) -> ModelInfo:
    """What a result says about the model and the runtime that made it."""
    return ModelInfo(name, version, sha256, runtime.name, runtime.version, runtime.delegate)


def _check_tensors(runtime: Runtime, spec: InputSpec, output: OutputSpec, classes: int) -> None:
    """Hold the loaded model against its description.

    Raises:
        ModelError: they differ.
    """
    found, result = runtime.input, runtime.outputs[0]
    expected = (1, spec.height, spec.width, spec.channels)
    if found.shape != expected or found.dtype != spec.dtype:
        raise ModelError(
            f"the model takes {found.dtype} {found.shape}, its description says "
            f"{spec.dtype} {expected}"
        )
    if classes < 2:
        raise ModelError(
            "with a single label, every picture would get that label; a model that says yes or no "
            "needs two: first what a high score means, then the opposite"
        )
    scores = int(np.prod(result.shape))
    yes_or_no = scores == 1 and classes == 2
    others = [tensor for tensor in runtime.outputs[1:] if tensor.name != FEATURES]
    if others or (scores != classes and not yes_or_no):
        raise ModelError(
            f"a classifier with one output of {classes} scores is needed; the model gives "
            f"{len(runtime.outputs)} outputs, the first of shape {result.shape}"
        )
    if result.dtype != output.dtype:
        raise ModelError(f"the model gives {result.dtype}, its description says {output.dtype}")
    described = [(found, spec.scale, spec.zero_point), (result, output.scale, output.zero_point)]
    for tensor, scale, zero_point in described:
        if tensor.dtype == "float32" or not tensor.scale:
            continue
        if not np.isclose(tensor.scale, scale, rtol=1e-5) or tensor.zero_point != zero_point:
            raise ModelError(
                f"tensor {tensor.name} has scale {tensor.scale} and zero point "
                f"{tensor.zero_point}, its description says {scale} and {zero_point}"
            )


def _check_features(runtime: Runtime, spec: UnknownSpec) -> None:
    """Hold the loaded model's second output against the unknown rule.

    Raises:
        ModelError: there is none, or it is another.
    """
    if len(runtime.outputs) < 2:
        raise ModelError("the model has no second output of features, which the unknown rule needs")
    found = runtime.outputs[1]
    given = (found.dtype, int(np.prod(found.shape)), found.zero_point)
    needed = (spec.dtype, spec.features, spec.zero_point)
    if given != needed or not np.isclose(found.scale, spec.scale, rtol=1e-5):
        raise ModelError(
            f"the unknown rule needs {spec.features} features in {spec.dtype} (scale "
            f"{spec.scale:g}, zero point {spec.zero_point}); the model's {found.name} has "
            f"{given[1]} in {found.dtype} (scale {found.scale:g}, zero point {found.zero_point})"
        )
