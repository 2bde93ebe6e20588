"""The parity gate on invented answers: what it lets through, what not, and what it says."""

import msgspec
import numpy as np
import pytest
import unknown_rules

from edge.errors import ParityError, QuantizeError
from quantize.bundle.package import class_threshold, decide
from quantize.options import Limits
from quantize.parity.compare import Calibration, FormAnswers, Photos, compare, require
from training.unknown.fit import Confidence, Fitted

LABELS = ("ant", "bee", "moth")


def answers_of(said, sureness=4.0):
    """Logits that give the answers `said`."""
    return np.eye(len(LABELS), dtype=np.float32)[said] * sureness


def photos_of(truth):
    """Photos whose pixels nobody looks at."""
    blank = np.zeros((len(truth), 4, 4, 3), np.uint8)
    files = tuple(f"{i}.png" for i in range(len(truth)))
    return Photos(pixels=blank, run_pixels=blank, truth=truth, files=files, groups=files)


def judged(float_said, int8_said, truth, limits=None, converter_said=None):
    """The report where both splits hold the same photos."""
    form = FormAnswers(
        keras=answers_of(float_said),
        source=answers_of(float_said),
        float_tflite=answers_of(float_said if converter_said is None else converter_said),
        int8=answers_of(int8_said),
    )
    photos = {name: photos_of(truth) for name in ("val", "test")}
    return compare(photos, {"val": form, "test": form}, LABELS, limits or Limits())


@pytest.fixture
def truth():
    """200 labels."""
    return np.random.default_rng(0).integers(0, 3, 200)


def flipped(said, count):
    """The same answers, the first `count` of them changed."""
    return np.where(np.arange(len(said)) < count, (said + 1) % 3, said)


def test_the_same_answers_pass(truth):
    """Nothing lost, everything agreed upon: no failures, a bundle may be written."""
    said = flipped(truth, 30)
    report = judged(said, said, truth)
    require(report)
    assert report.splits["both"].n == 400
    assert report.splits["both"].lost == 0
    assert report.splits["both"].agreement == 1.0


def test_lost_accuracy_beyond_chance_is_refused_with_figures_and_cures(truth):
    """30 of 200 right answers gone: the message names accuracies, points and options."""
    report = judged(truth, flipped(truth, 30), truth)
    with pytest.raises(ParityError) as refused:
        require(report)
    message = str(refused.value)
    assert "accuracy 85.0% instead of 100.0% on 400 photos: 15.0 points lost" in message
    assert "agree on 85.0% of 400 photos (60 differ), 95% are required" in message
    assert "--pruning" in message
    assert "--tolerance" in message


def test_a_loss_that_chance_explains_passes(truth):
    """Three of 200 lost is 1.5 points, but the paired interval reaches below one."""
    report = judged(truth, flipped(truth, 3), truth)
    assert report.splits["both"].lost == pytest.approx(0.015)
    assert report.splits["both"].lost_low < 0.01
    assert report.failures == ()


def test_equal_is_said_only_where_the_whole_interval_is_within_the_tolerance(truth):
    """One in 400 lost leaves at most 1.2 points: equal at 1.5 allowed, not shown at 1."""
    said = flipped(truth, 1)
    report = judged(truth, said, truth, Limits(tolerance=0.02))
    assert report.verdict == "equal"
    assert "as good as the float one: with 95 % confidence it loses at most" in report.sentence
    open_question = judged(truth, said, truth)
    assert open_question.splits["both"].lost_high > 0.01
    assert open_question.failures == ()
    assert open_question.verdict == "not shown to be equal"
    assert "as good as" not in open_question.sentence
    assert "400 photos with 2 different answers cannot show it" in open_question.sentence


def test_a_loss_beyond_the_tolerance_is_not_rounded_into_it(truth):
    """1.02 points are told as 1.1: with "1 point" the sentence would contradict itself."""
    found = judged(truth, flipped(truth, 1), truth)
    for high, told in ((0.0102, "up to 1.1 points"), (0.011, "up to 1.1 points")):
        both = msgspec.structs.replace(found.splits["both"], lost_high=high)
        report = msgspec.structs.replace(found, splits={**found.splits, "both": both})
        assert report.verdict == "not shown to be equal"
        assert told in report.sentence
        assert "has to be 1 point or less" in report.sentence


def test_fewer_photos_never_prove_more():
    """The same share of lost answers on a tenth of the photos: what 4,000 prove 400 do not."""
    many, few = np.arange(4000) % 3, np.arange(400) % 3
    limits = Limits(tolerance=0.005)
    assert judged(many, flipped(many, 4), many, limits).verdict == "equal"
    assert judged(few, flipped(few, 1), few, limits).verdict == "not shown to be equal"


def test_a_refused_model_is_never_called_equal(truth):
    """Where answers differ without a loss, the verdict is the refusal."""
    swapped = flipped(truth, 20)
    other = np.where(np.arange(200) >= 180, (truth + 1) % 3, truth)
    report = judged(swapped, other, truth, Limits(tolerance=0.5))
    assert report.verdict == "refused"
    assert "No bundle was written" in report.sentence


def test_other_answers_are_refused_even_at_the_same_accuracy(truth):
    """Wrong in other places is not the same model, however the sums come out."""
    swapped = flipped(truth, 20)
    other = np.where(np.arange(200) >= 180, (truth + 1) % 3, truth)
    report = judged(swapped, other, truth)
    assert report.splits["both"].lost == 0
    (line,) = report.failures
    assert line.startswith("int8 and the float model it was quantized from agree on 80.0%")


def test_agreement_is_with_what_was_quantized_and_accuracy_with_the_run(truth):
    """A pruned model may answer otherwise than the run, as long as it is as often right."""
    run_said = flipped(truth, 20)
    pruned_said = np.where(np.arange(200) >= 180, (truth + 1) % 3, truth)
    form = FormAnswers(
        keras=answers_of(run_said),
        source=answers_of(pruned_said),
        float_tflite=answers_of(pruned_said),
        int8=answers_of(pruned_said),
    )
    photos = {name: photos_of(truth) for name in ("val", "test")}
    report = compare(photos, {"val": form, "test": form}, LABELS, Limits())
    assert report.pruned
    assert report.failures == ()
    assert report.splits["both"].agreement == 1
    assert report.splits["both"].run_agreement == pytest.approx(0.8)
    assert report.splits["both"].lost == 0


def test_limits_are_the_users(truth):
    """What is refused by default passes with wider limits."""
    wide = Limits(tolerance=0.2, min_agreement=0.8)
    assert judged(truth, flipped(truth, 30), truth, wide).failures == ()


def test_a_wrong_conversion_is_told_apart_from_quantization(truth):
    """Where already the float TFLite differs from Keras, the message says so."""
    report = judged(truth, truth, truth, converter_said=flipped(truth, 30))
    assert "the conversion itself goes wrong" in report.failures[0]


def test_too_few_photos_decide_nothing():
    """With 2 × 5 photos the gate refuses to judge and says how many it wants."""
    few = np.arange(5) % 3
    with pytest.raises(QuantizeError, match=r"5 val, 5 test; at least 20"):
        judged(few, few, few)


def test_the_temperature_is_fitted_on_validation_and_judged_on_test(truth):
    """Overconfident answers get a temperature above 1 and a smaller calibration error."""
    report = judged(flipped(truth, 60), flipped(truth, 60), truth)
    calibration = report.int8_calibration
    assert calibration.temperature > 1.5
    assert calibration.ece_after < calibration.ece_before


def test_recall_is_compared_class_by_class(truth):
    """A class that int8 no longer knows shows in its own line."""
    report = judged(truth, np.where(truth == 2, 0, truth), truth)
    drops = {drop.label: (drop.float_recall, drop.int8_recall) for drop in report.classes}
    assert drops == {"ant": (1, 1), "bee": (1, 1), "moth": (1, 0)}


def test_a_class_that_is_often_wrongly_named_gets_a_threshold():
    """Answers below it are mostly wrong, those above right in four of five cases."""
    confidence = np.linspace(0.3, 0.99, 60)
    right = confidence > np.where(np.arange(60) % 7 == 0, 0.95, 0.6)
    threshold = class_threshold(confidence, right)
    assert 0.4 < threshold <= 0.65
    assert right[confidence >= threshold].mean() > right.mean()


def test_a_class_that_is_mostly_right_or_rarely_named_gets_none():
    """No threshold where it would only cost sightings or would be fitted to four photos."""
    assert class_threshold(np.linspace(0.5, 0.9, 20), np.ones(20, bool)) == 0.0
    assert class_threshold(np.linspace(0.5, 0.9, 4), np.array([True, False] * 2)) == 0.0


def test_the_decision_takes_the_rules_threshold_and_the_temperature(truth):
    """Both as they were fitted elsewhere, in few digits; the threshold is never rounded up."""
    calibration = Calibration(temperature=1.23456, ece_before=0.0, ece_after=0.0)
    plain = Confidence(1.2346)
    ruled, alone = (Fitted(rule, b"", 0.51239, plain) for rule in (unknown_rules.SPEC, None))
    assert decide(answers_of(truth), truth, calibration, ruled)[0].unknown == "features"
    spec, thresholds = decide(answers_of(truth), truth, calibration, alone)
    assert (spec.unknown, spec.unknown_threshold) == ("max-probability", 0.5123)
    assert spec.temperature == 1.2346
    assert len(thresholds) == 3
