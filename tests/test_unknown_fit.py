"""How the unknown rule is fitted and judged, on features whose truth is known; made pictures."""

import numpy as np
import pytest
import tiny
from there import there

from edge.errors import TrainingError
from edge.model.image.preprocessing import InputSpec
from edge.model.scores import DecisionSpec, softmax, unknown_score
from edge.model.unknown_rule import UnknownRule, log_odds
from training.unknown.choose import CLASSES as BY_CLASSES
from training.unknown.choose import NOTHING, best_way, choose, held_out
from training.unknown.fit import KEEP, WAYS, Fitted, Quantised, Seen, Way, fit_ways
from training.unknown.foreign import check_folders, foreign_pictures
from training.unknown.judge import MADE, SeenSplits, Stranger, judge, known
from training.unknown.made_pictures import KINDS, SIDE, made_pictures

CLASSES, FEATURES = 4, 24
TENSOR = Quantised("int8", 0.02, -100)
CENTRES = np.random.default_rng(7).normal(0, 1, (CLASSES + 2, FEATURES)) + 2


def levels(rng: np.random.Generator, centre: np.ndarray, n: int) -> np.ndarray:
    """Features around a centre, int8 (n, FEATURES)."""
    real = centre + rng.normal(0, 0.35, (n, FEATURES))
    return np.clip(np.rint(real / TENSOR.scale) + TENSOR.zero_point, -128, 127).astype(np.int8)


def logits_of(features: np.ndarray) -> np.ndarray:
    """Of a network that measures the distance to each class."""
    real = (features.astype(np.float32) - TENSOR.zero_point) * TENSOR.scale
    away = ((real[:, None] - CENTRES[None, :CLASSES]) ** 2).sum(axis=2)
    return (-away / 4).astype(np.float32)


def seen(seed: int, n: int) -> Seen:
    """`n` photos of each class."""
    rng = np.random.default_rng(seed)
    features = np.concatenate([levels(rng, CENTRES[c], n) for c in range(CLASSES)])
    return Seen(features, logits_of(features), np.repeat(np.arange(CLASSES), n))


def stranger(seed: int, which: int, n: int = 60) -> Stranger:
    """Pictures around a centre that is no class."""
    features = levels(np.random.default_rng(seed), CENTRES[CLASSES + which], n)
    return Stranger(features, logits_of(features))


def fit_rule(train: Seen, val: Seen, outliers: np.ndarray, way: Way = "likeness") -> Fitted:
    """One way, at temperature 1."""
    return fit_ways(train, val, outliers, TENSOR, 1.0)[way]


TRAIN, VAL, TEST = seen(1, 60), seen(2, 60), seen(3, 60)
OUTLIERS = stranger(4, 0)


def test_right_answers_stay_and_strangers_go():
    """At least the share asked for of validation, about it of test; other things hardly ever."""
    rule = fit_rule(TRAIN, VAL, OUTLIERS.features)
    kept = {
        name: float((known(rule, part) >= rule.threshold)[part.right].mean())
        for name, part in (("val", VAL), ("test", TEST))
    }
    assert KEEP <= kept["val"] < KEEP + 0.02
    assert kept["test"] > 0.88
    for which in (0, 1):  # like the outliers it learned from, and like nothing it met
        assert (known(rule, stranger(5, which)) < rule.threshold).mean() > 0.9


def test_scales_come_from_right_validation_answers():
    """By them likeness has spread 1, the others 1/2, and 5 % of their sums are below 0."""
    logits, features = VAL.logits[VAL.right], VAL.features[VAL.right]
    odds = log_odds(logits, 1.0)
    ways: tuple[Way, ...] = ("likeness", "none")
    for way in ways:
        rule = fit_rule(TRAIN, VAL, OUTLIERS.features, way)
        assert isinstance(rule.rule, UnknownRule)
        spec, logit = there(rule.spec), logits.max(axis=1)
        sure = there(spec.confidence)
        assert ((odds - sure.centre) / sure.spread).std() == pytest.approx(0.5, rel=1e-3)
        total = (logit - spec.logit.centre) / spec.logit.spread
        assert total.std() == pytest.approx(0.5, rel=1e-3)
        total = total + (odds - sure.centre) / sure.spread
        likeness, outlier = rule.rule.parts(features, logits.argmax(axis=1))
        assert 2 * outlier.std() == pytest.approx(spec.outlier, rel=1e-3)
        if spec.likeness is not None:
            assert likeness.std() == pytest.approx(spec.likeness.spread, rel=1e-3)
            total = total + (likeness - spec.likeness.centre) / spec.likeness.spread
            total = total + outlier / spec.outlier
        assert (total < 0).mean() == pytest.approx(0.05, abs=0.01)


def test_confidence_alone_is_what_the_device_computes_without_a_rule():
    """The same score, and nothing for the bundle to carry."""
    rule = fit_ways(TRAIN, VAL, OUTLIERS.features, TENSOR, 3.0)["confidence"]
    spec, shares = DecisionSpec(temperature=3.0), softmax(TEST.logits[0], 3.0)
    assert known(rule, TEST)[0] == unknown_score(TEST.logits[0], shares, spec)
    assert (rule.spec, rule.data) == (None, b"")
    assert KEEP <= (known(rule, VAL) >= rule.threshold)[VAL.right].mean() < KEEP + 0.02


def test_photos_that_are_all_alike_to_the_network_are_no_matter_to_warn_of():
    """Fewer different ones than a class has means: they are taken, and strangers still go."""
    few = seen(1, 5)
    alike = Seen(*(np.repeat(part, 12, axis=0) for part in few[:3]))
    rule = fit_rule(alike, VAL, OUTLIERS.features)
    assert (known(rule, stranger(5, 0)) < rule.threshold).mean() > 0.9


def test_each_class_is_held_out_once():
    """A quarter at a time; of two none can be."""
    assert [len(left) for left in held_out(17)] == [4, 4, 4, 4, 1]
    assert sorted(np.concatenate(held_out(17)).tolist()) == list(range(17))
    assert [left.tolist() for left in held_out(3)] != [] == held_out(2)


def test_all_ways_are_tried_on_classes_left_out():
    """In units of each held-out part; strangers far from all classes are told by every way."""
    steps: list[int] = []
    found = choose(TRAIN, VAL, OUTLIERS.features, TENSOR, steps.append)
    assert (found.by, tuple(found.ways)) == (BY_CLASSES, WAYS)
    assert len(steps) == len(held_out(CLASSES)) == CLASSES
    assert min(way.roc_area for way in found.ways.values()) > 0.6
    assert found.way == best_way({name: way.roc_area for name, way in found.ways.items()})


def test_where_no_class_can_be_left_out_likeness_is_not_taken_on_trust():
    """Of two classes: by confidence where *none* does not win."""
    train, val = (
        Seen(part.features[own], part.logits[own][:, :2], part.truth[own])
        for part, own in ((part, part.truth < 2) for part in (TRAIN, VAL))
    )
    assert choose(train, val, OUTLIERS.features, TENSOR) == ("none", NOTHING, {})


@pytest.mark.parametrize(
    ("likeness", "none", "confidence", "chosen"),
    [
        (0.85, 0.82, 0.80, "likeness"),
        (0.83, 0.82, 0.80, "none"),
        (0.70, 0.80, 0.81, "none"),
        (0.79, 0.78, 0.81, "confidence"),
        (0.85, 0.80, 0.86, "confidence"),
        (1.0, 1.0, 1.0, "none"),
    ],
)
def test_likeness_is_taken_where_it_is_clearly_better_and_none_where_it_is_no_worse(
    likeness, none, confidence, chosen
):
    """By areas on what was held out: two points do not count."""
    assert best_way({"likeness": likeness, "none": none, "confidence": confidence}) == chosen


def test_the_same_photos_give_the_same_bytes():
    """A bundle has to be made again."""
    first, second = (fit_rule(TRAIN, VAL, OUTLIERS.features) for _ in range(2))
    assert (first.data, first.spec, first.threshold) == (
        second.data,
        second.spec,
        second.threshold,
    )
    assert len(first.data) == there(first.spec).file_bytes(CLASSES)


def test_few_photos_and_features_make_a_smaller_rule():
    """No more directions than features, no more prototypes than photos."""
    few = seen(1, 5)
    spec = there(fit_rule(few, VAL, OUTLIERS.features).spec)
    assert (spec.directions, spec.prototypes) == (min(20, FEATURES), 20)
    assert there(fit_rule(TRAIN, VAL, OUTLIERS.features).spec).prototypes == 16 * CLASSES


def test_without_right_answers_there_is_no_rule():
    """Scales come from them."""
    wrong = Seen(VAL.features, VAL.logits, (VAL.truth + 1) % CLASSES)
    with pytest.raises(TrainingError, match="0 of 240 validation photos are answered rightly"):
        fit_rule(TRAIN, wrong, OUTLIERS.features)


def test_figures_are_of_what_the_rule_was_not_fitted_to():
    """Folders by the rule itself; each made kind by a rule that did not meet it."""
    made = {"one": OUTLIERS, "two": stranger(6, 1)}
    features = np.concatenate([one.features for one in made.values()])
    rule = fit_rule(TRAIN, VAL, features)
    steps: list[int] = []
    folders = {"leaves": stranger(8, 1, 30), "own": Stranger(TEST.features, TEST.logits)}
    photos = SeenSplits(TRAIN, VAL, TEST)
    found = judge("likeness", rule, photos, made, folders, TENSOR, 1.0, steps.append)
    assert list(found.kinds) == ["leaves", "own", MADE]
    assert steps == [1, 1]
    assert (found.kinds["leaves"].n, found.kinds[MADE].n) == (30, 120)
    assert found.kinds["leaves"].caught > 0.9 < found.kinds["leaves"].roc_area
    own = found.kinds["own"]
    assert own.roc_area == pytest.approx(0.5, abs=0.05)
    assert own.caught_low < own.caught < own.caught_high < 0.2
    assert found.kept == pytest.approx(1 - own.caught, abs=0.05)


def test_made_pictures_are_the_same_each_time_and_no_two_alike():
    """By seed; every kind, with things in it."""
    colours = np.array([[10, 200, 30], [90, 80, 70]], np.uint8)
    first, again, other = (made_pictures(4, colours, seed) for seed in (1, 1, 2))
    assert list(first) == list(KINDS)
    for kind, pictures in first.items():
        assert all(p.shape == (SIDE, SIDE, 3) and p.dtype == np.uint8 for p in pictures)
        assert all(np.array_equal(a, b) for a, b in zip(pictures, again[kind], strict=True))
        assert not any(np.array_equal(a, b) for a, b in zip(pictures, other[kind], strict=True))
        assert len({p.tobytes() for p in pictures}) == 4
        assert min(p.std() for p in pictures) > 1


def test_foreign_folders_are_looked_at_before_any_work(tmp_path):
    """None there, none in it, two of one name; what cannot be read is left out."""
    with pytest.raises(TrainingError, match="none: No such file"):
        check_folders([tmp_path / "none"])
    with pytest.raises(TrainingError, match="no picture there"):
        check_folders([tmp_path])
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "red.png").write_bytes(tiny.png(tiny.picture("red")))
    (tmp_path / "a" / "cut.png").write_bytes(tiny.png(tiny.picture("red"))[:40])
    with pytest.raises(TrainingError, match="2 folders are called a"):
        check_folders([tmp_path / "a", tmp_path / "b" / "a"])
    check_folders([tmp_path / "a"])
    assert foreign_pictures(tmp_path / "a", InputSpec(width=8, height=8)).shape == (1, 8, 8, 3)
