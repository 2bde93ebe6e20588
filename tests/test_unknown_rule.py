"""The unknown rule on a device: its arithmetic, what it refuses, a bundle that carries it."""

import msgspec
import numpy as np
import pytest
import tiny
from unknown_rules import FEATURES, OWN, SPEC, arrays, bundle, packed

from edge.errors import BundleMembersError, ModelError
from edge.model.bundle.bundle import read_bundle, write_bundle
from edge.model.classifier import Classifier
from edge.model.runtimes import open_runtime
from edge.model.scores import DecisionSpec
from edge.model.tflite.foreign import open_tflite
from edge.model.unknown_rule import Scale, UnknownRule, log_odds
from quantize.tflite.features import with_features


@pytest.mark.parametrize("real", [(0.6, 0.45), (0.1, 0.7), (0.35, -0.3)])
def test_the_score_is_the_sum_but_never_above_what_none_leaves(real):
    """By hand: along standardised features, likeness as a cosine, the class over none."""
    levels = np.full(FEATURES, SPEC.zero_point, np.int16)
    levels[:2] += np.rint(np.array(real) / SPEC.scale).astype(np.int16)
    x = (levels[:2] - SPEC.zero_point) * SPEC.scale
    a, b = (x[0] - 0.1) / 0.5, (x[1] - 0.2) / 0.25
    likeness = b / np.hypot(a, b)
    outlier = (b + 0.5) - (-b + 0.25)
    logit = 3.0
    logits = np.array([logit, -1, 0], np.float32)
    total = (logit - 1) / 2 + (likeness - 0.5) / 0.25 + outlier / 4
    expected = min(total, 6 * outlier / 4)
    rule = UnknownRule(SPEC, packed(arrays()), 3)
    assert rule.score(levels, logits) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("answer", "has"), [(0, True), (1, False)])
def test_likeness_is_to_the_answered_class_and_confidence_is_added(answer, has):
    """The only prototype is class 0's; another answer is like nothing. Log odds by hand."""
    levels = np.full(FEATURES, SPEC.zero_point, np.int16)
    levels[:2] += np.rint(np.array([0.35, 0.7]) / SPEC.scale).astype(np.int16)
    logits = np.array([1.0, 0.5, -1.0], np.float32)
    logits[answer] = 3
    powers = np.exp(logits.astype(float) / 0.5)
    odds = powers[answer] / (powers.sum() - powers[answer])
    old = UnknownRule(SPEC, packed(arrays()), 3)
    alike, outlier = old.parts(levels[None], np.array([answer]))
    likeness = float(alike[0]) if has else -1
    total = (3 - 1) / 2 + (np.log(odds) - 1) / 8 + (likeness - 0.5) / 0.25 + outlier[0] / 4
    found = UnknownRule(OWN, packed(arrays()), 3).score(levels, logits)
    assert found == pytest.approx(min(total, 6 * outlier[0] / 4), abs=1e-4)


def test_confidence_has_digits_where_a_probability_has_none_left():
    """Two answers whose probability is 1 in float32 still differ."""
    rows = np.array([[60, 0, 0], [70, 0, 0]], np.float32)
    np.testing.assert_allclose(log_odds(rows, 2.0), [30 - np.log(2), 35 - np.log(2)], rtol=1e-6)


def test_without_likeness_only_none_and_confidence_count():
    """No prototypes in the file; the win over none is no part of the sum, and still its bound."""
    spec = msgspec.structs.replace(
        OWN, prototypes=0, prototypes_of=(), likeness=None, logit=Scale(centre=1.0, spread=2.0)
    )
    rule = UnknownRule(spec, packed(arrays()[:5]), 3)
    levels = np.full(FEATURES, SPEC.zero_point, np.int16)
    levels[1] += round(0.7 / SPEC.scale)
    (outlier,) = rule.parts(levels[None], np.array([0]))[1]
    for top in (3.0, 30.0):
        logits = np.array([top, 0, 0], np.float32)
        total = (top - 1) / 2 + (top / 0.5 - np.log(2) - 1) / 8
        assert rule.score(levels, logits) == pytest.approx(min(total, 6 * outlier / 4), rel=1e-4)
    assert total > 6 * outlier / 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prototypes": 0}, "prototypes and the scale of likeness need each other"),
        ({"likeness": None}, "prototypes and the scale of likeness need each other"),
        ({"prototypes_of": (1, 1, 0)}, "prototypes_of has 2 of 1 prototypes"),
    ],
)
def test_a_rule_that_contradicts_itself_is_refused(changes, message):
    """In its manifest, before any array is read."""
    with pytest.raises(ValueError, match=message):
        msgspec.structs.replace(OWN, **changes)


def test_prototypes_of_other_classes_are_refused():
    """The file may be of the right size all the same."""
    spec = msgspec.structs.replace(OWN, prototypes_of=(1, 0))
    with pytest.raises(ModelError, match="prototypes of 2 classes of 3"):
        UnknownRule(spec, packed(arrays()), 3)


def test_a_rule_of_another_size_is_refused():
    """Five classes need another file than three."""
    with pytest.raises(ModelError, match=r"has 90 bytes; 114 are needed for 4 features and 5"):
        UnknownRule(SPEC, packed(arrays()), 5)


@pytest.mark.parametrize(("part", "value"), [(0, np.nan), (1, 0.0), (2, np.inf), (4, 0), (5, 0)])
def test_a_rule_that_makes_no_sense_is_refused(part, value):
    """No number, no deviation, or a row that points nowhere."""
    parts = arrays()
    parts[part][...] = value
    with pytest.raises(ModelError, match="numbers that make no sense"):
        UnknownRule(SPEC, packed(parts), 3)


@pytest.mark.parametrize("spec", [SPEC, OWN])
def test_a_bundle_decides_by_its_rule(tmp_path, spec):
    """Between two thresholds around its score the same picture is known, then unknown."""
    picture = tiny.picture("red")
    with Classifier.from_bundle(bundle(tmp_path / "a.wtr", packed(arrays()))) as classifier:
        found = classifier.classify(picture)
        features, levels = classifier.runtime.output(1), classifier.raw(picture)
    logits = ((levels.astype(np.float32) - 10) * 0.04818287864327431).astype(np.float32)
    score = UnknownRule(spec, packed(arrays()), 3).score(features, logits)
    for threshold, reason in ((score - 0.01, None), (score + 0.01, "unknown")):
        path = bundle(tmp_path / "b.wtr", packed(arrays()), spec, threshold)
        with Classifier.from_bundle(path) as classifier:
            decided = classifier.classify(picture)
        assert decided.reason == reason
        assert decided.label == (None if reason else "red")
        np.testing.assert_array_equal(decided.probabilities, found.probabilities)


def test_the_model_answers_as_it_did_without_the_second_output():
    """Bit by bit; what is new are the levels that its last layer reads."""
    before = open_runtime("litert", tiny.model())
    after = open_runtime("litert", with_features(tiny.model()))
    tensor = np.random.default_rng(0).integers(-128, 128, (1, 16, 16, 3)).astype(np.int8)
    np.testing.assert_array_equal(before.invoke(tensor), after.invoke(tensor))
    np.testing.assert_array_equal(after.output(0), after.invoke(tensor))
    assert (after.outputs[1].name, after.output(1).shape) == ("features", (FEATURES,))
    assert len(set(after.output(1).tolist())) > 1
    after.close()
    with pytest.raises(ModelError, match="closed"):
        after.output(1)


def test_a_model_with_features_is_still_a_classifier_without_a_bundle(tmp_path):
    """Its file, taken out of the bundle, goes on being used by itself."""
    (tmp_path / "model.tflite").write_bytes(with_features(tiny.model()))
    path, scale = tmp_path / "model.tflite", (127.5,)
    with open_tflite(path, tuple(tiny.COLOURS), mean=scale, std=scale) as classifier:
        assert classifier.classify(tiny.picture("blue")).label == "blue"


def test_a_rule_needs_the_features_it_was_made_for(tmp_path):
    """A model without the output, and one whose features are scaled otherwise."""
    path = tmp_path / "a.wtr"
    members = tiny.members() | {"unknown.bin": packed(arrays())}
    decision = DecisionSpec(unknown="features")
    write_bundle(path, tiny.manifest(decision=decision, unknown=SPEC), members)
    with pytest.raises(ModelError, match="no second output of features"):
        Classifier.from_bundle(path)
    other = msgspec.structs.replace(SPEC, scale=0.5)
    with pytest.raises(ModelError, match=r"needs 4 features in int8 \(scale 0.5"):
        Classifier.from_bundle(bundle(path, packed(arrays()), other))


def test_rule_and_file_need_each_other(tmp_path):
    """A decision without a rule, a rule without its file, a file without a rule."""
    path = tmp_path / "a.wtr"
    with pytest.raises(ValueError, match='a decision by "features" and a rule'):
        tiny.write(path, decision=DecisionSpec(unknown="features"))
    with pytest.raises(ValueError, match='a decision by "features" and a rule'):
        tiny.write(path, unknown=SPEC)
    with pytest.raises(BundleMembersError, match=r"unknown\.bin is missing"):
        tiny.write(path, unknown=SPEC, decision=DecisionSpec(unknown="features"))
    with pytest.raises(BundleMembersError, match=r"unexpected member 'unknown\.bin'"):
        write_bundle(path, tiny.manifest(), tiny.members() | {"unknown.bin": b"x"})


def test_the_file_comes_back_as_it_was_written(tmp_path):
    """Hashed like every other member."""
    found = read_bundle(bundle(tmp_path / "a.wtr", packed(arrays())))
    assert found.unknown_rule == packed(arrays())
    assert found.manifest.unknown == SPEC
