"""The figures a report quotes: against published values and what counting gives."""

import numpy as np
import pytest

from training import metrics


@pytest.fixture(scope="module")
def answers():
    """400 labels of 5 classes and logits that are often right."""
    rng = np.random.default_rng(7)
    truth = rng.integers(5, size=400)
    logits = rng.normal(size=(400, 5)) + 2.0 * np.eye(5)[truth]
    return truth, logits


def test_wilson_interval_matches_published_values():
    """81 of 263 gives 0.2553..0.3662 (Newcombe 1998, table I)."""
    low, high = metrics.wilson_interval(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert metrics.wilson_interval(0, 20).low == 0.0
    assert round(metrics.wilson_interval(0, 20).high, 4) == 0.1611


def test_paired_interval_matches_published_values():
    """Newcombe 1998 (paired data), method 10, 36/12/2/0: 0.0569..0.3404."""
    a = np.r_[np.ones(36), np.ones(12), np.zeros(2)]
    b = np.r_[np.ones(36), np.zeros(12), np.ones(2)]
    low, high = metrics.paired_difference_interval(a, b)
    assert (round(low, 4), round(high, 4)) == (0.0569, 0.3404)


def test_paired_interval_of_equal_answers_holds_zero_and_is_narrow():
    """Two models with the same 400 answers differ by 0, give or take less than 1.5 points."""
    same = np.r_[np.ones(300), np.zeros(100)]
    low, high = metrics.paired_difference_interval(same, same)
    assert -0.015 < low <= 0 <= high < 0.015


def test_group_bootstrap_is_wider_where_groups_answer_alike():
    """Ten copies of each photo tell no more than one."""
    right = np.repeat(np.random.default_rng(0).random(40) < 0.7, 10)
    alone = metrics.group_bootstrap_interval(right, np.arange(400))
    grouped = metrics.group_bootstrap_interval(right, np.repeat(np.arange(40), 10))
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_class_scores_are_what_counting_gives(answers):
    """Confusion, precision, recall, F1, balanced accuracy; a class that never occurs counts not."""
    truth, logits = answers
    truth, said = np.where(truth == 3, 4, truth), logits.argmax(axis=1)
    pairs = list(zip(truth.tolist(), said.tolist(), strict=True))
    counted = [[pairs.count((true, answer)) for answer in range(6)] for true in range(6)]
    np.testing.assert_array_equal(metrics.confusion_matrix(truth, said, 6), counted)
    scores = metrics.class_scores(truth, said, 6)
    assert scores.n.tolist() == [sum(row) for row in counted]
    for i in (0, 1, 2, 4):
        column = sum(row[i] for row in counted)
        assert scores.precision[i] == counted[i][i] / column
        assert scores.recall[i] == counted[i][i] / scores.n[i]
        assert scores.f1[i] == 2 * counted[i][i] / (column + scores.n[i])
    assert (scores.n[3], scores.recall[3], scores.f1[3]) == (0, 0, 0)
    seen, occur = [0, 1, 2, 3, 4], [0, 1, 2, 4]
    assert metrics.macro_f1(truth, said) == pytest.approx(scores.f1[seen].mean(), abs=1e-15)
    recall = scores.recall[occur].mean()
    assert metrics.balanced_accuracy(truth, said) == pytest.approx(recall, abs=1e-15)


def test_a_class_never_answered_scores_zero():
    """No division by zero, no warning."""
    scores = metrics.class_scores(np.array([0, 1]), np.array([0, 0]), 3)
    assert scores.precision.tolist() == [0.5, 0, 0]
    assert scores.f1[2] == 0


def test_areas_are_what_counting_gives(answers):
    """ROC: pairs in the right order, ties half. PR: precision at each step of recall."""
    truth, logits = answers
    scores, positive = np.round(logits[:, 2], 1), truth == 2
    above = scores[positive][:, None] - scores[~positive]
    assert metrics.area_under_roc(scores, positive) == pytest.approx(
        ((above > 0) + (above == 0) / 2).mean()
    )
    total = 0.0
    for level in np.unique(scores[positive]):
        step = positive[scores == level].sum() / positive.sum()
        total += step * positive[scores >= level].mean()
    assert metrics.average_precision(scores, positive) == pytest.approx(total)


def test_curves_go_from_the_strictest_threshold_to_the_loosest():
    """Every distinct score is a point, also where the line stays straight; ties are one."""
    scores, positive = [0.9, 0.8, 0.8, 0.7, 0.1], [True, True, False, True, False]
    roc = metrics.roc_curve(scores, positive)
    assert roc.x.tolist() == [0, 0, 0.5, 0.5, 1]
    assert roc.y.tolist() == [0, 1 / 3, 2 / 3, 1, 1]
    pr = metrics.pr_curve(scores, positive)
    assert pr.x.tolist() == [0, 1 / 3, 2 / 3, 1, 1]
    assert pr.y.tolist() == [1, 1, 2 / 3, 3 / 4, 3 / 5]


def test_temperature_undoes_a_known_scale(answers):
    """Logits three times too large come back with temperature three times the former."""
    truth, logits = answers
    plain = metrics.fit_temperature(logits, truth)
    assert metrics.fit_temperature(3 * logits, truth) == pytest.approx(3 * plain, rel=1e-3)
    best = metrics.negative_log_likelihood(logits, truth, plain)
    for other in (0.9 * plain, 1.1 * plain):
        assert best <= metrics.negative_log_likelihood(logits, truth, other)


def test_a_group_counts_once_in_the_temperature_however_many_photos_it_has(answers):
    """Thirty copies of the worst photo in one group change nothing; as own groups they do."""
    truth, logits = answers
    worst = int(np.argmin(logits[np.arange(len(truth)), truth] - logits.max(axis=1)))
    more = np.append(np.arange(len(truth)), [worst] * 30)
    groups = [str(i) for i in more]
    plain = metrics.fit_temperature(logits, truth)
    grouped = metrics.fit_temperature(logits[more], truth[more], groups)
    assert grouped == pytest.approx(plain, rel=1e-6)
    assert metrics.fit_temperature(logits[more], truth[more]) > 1.05 * plain
    with pytest.raises(ValueError, match="3 groups"):
        metrics.fit_temperature(logits, truth, ["a", "b", "c"])


def test_ece_of_a_known_table():
    """Ten answers at 0.8 of which six are right: ECE 0.2."""
    probabilities = np.tile([0.8, 0.2], (10, 1))
    truth = np.array([0] * 6 + [1] * 4)
    assert metrics.ece(probabilities, truth) == pytest.approx(0.2)
    table = metrics.reliability(probabilities, truth, bins=10)
    assert table.n.sum() == 10
    assert table.n[7] == 10


def test_unknown_threshold_keeps_the_asked_share_of_right_answers():
    """95 of 100 right answers stay; wrong ones are not looked at."""
    scores = np.r_[np.arange(100) / 100, np.full(50, 0.001)]
    correct = np.r_[np.ones(100), np.zeros(50)]
    threshold = metrics.fit_unknown_threshold(scores, correct, keep=0.95)
    assert threshold == 0.05
    assert (scores[:100] >= threshold).sum() == 95


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.wilson_interval(3, 2), "3 successes of 2 trials"),
        (lambda: metrics.accuracy(np.array([1]), np.array([1, 2])), "1 true labels, 2 pred"),
        (lambda: metrics.confusion_matrix(np.array([5]), np.array([0]), 3), "5..5 of 3 classes"),
        (lambda: metrics.class_scores(np.array([0]), np.array([-1]), 3), "-1..-1 of 3 classes"),
        (lambda: metrics.roc_curve([0.5], [True]), "needs positives and negatives"),
        (lambda: metrics.area_under_roc([0.5], [False]), "needs positives and negatives"),
        (lambda: metrics.pr_curve([0.5], [False]), "needs positives"),
        (lambda: metrics.average_precision([0.5], [False]), "needs positives"),
        (lambda: metrics.fit_unknown_threshold([0.5], [False]), "no answer is right"),
    ],
)
def test_impossible_input_is_refused_with_its_value(call, message):
    """No silent nan."""
    with pytest.raises(ValueError, match=message):
        call()
