"""How the unknown rule is fitted and judged, on features whose truth is known; made pictures."""

import numpy as np
import pytest
import tiny

from edge.errors import TrainingError
from edge.model.image.preprocessing import InputSpec
from training.unknown.fit import KEEP, Quantised, Seen, fit_rule
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


TRAIN, VAL, TEST = seen(1, 60), seen(2, 60), seen(3, 60)
OUTLIERS = stranger(4, 0)


def test_right_answers_stay_and_strangers_go():
    """At least the share asked for of validation, about it of test; other things hardly ever."""
    rule = fit_rule(TRAIN, VAL, OUTLIERS.features, TENSOR)
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
    rule = fit_rule(TRAIN, VAL, OUTLIERS.features, TENSOR)
    spec, logit = rule.spec, VAL.logits.max(axis=1)[VAL.right]
    likeness, outlier = rule.rule.parts(VAL.features[VAL.right])
    total = (logit - spec.logit.centre) / spec.logit.spread
    assert (total.mean(), total.std()) == pytest.approx((0, 0.5), abs=1e-3)
    total = total + (likeness - spec.likeness.centre) / spec.likeness.spread
    assert likeness.std() == pytest.approx(spec.likeness.spread, rel=1e-3)
    assert 2 * outlier.std() == pytest.approx(spec.outlier, rel=1e-3)
    assert (total + outlier / spec.outlier < 0).mean() == pytest.approx(0.05, abs=0.01)


def test_the_same_photos_give_the_same_bytes():
    """A bundle has to be made again."""
    first, second = (fit_rule(TRAIN, VAL, OUTLIERS.features, TENSOR) for _ in range(2))
    assert (first.data, first.spec, first.threshold) == (
        second.data,
        second.spec,
        second.threshold,
    )
    assert len(first.data) == first.spec.file_bytes(CLASSES)


def test_few_photos_and_features_make_a_smaller_rule():
    """No more directions than features, no more prototypes than photos."""
    few = seen(1, 5)
    spec = fit_rule(few, VAL, OUTLIERS.features, TENSOR).spec
    assert (spec.directions, spec.prototypes) == (min(20, FEATURES), 20)
    assert fit_rule(TRAIN, VAL, OUTLIERS.features, TENSOR).spec.prototypes == 16 * CLASSES


def test_without_right_answers_there_is_no_rule():
    """Scales come from them."""
    wrong = Seen(VAL.features, VAL.logits, (VAL.truth + 1) % CLASSES)
    with pytest.raises(TrainingError, match="0 of 240 validation photos are answered rightly"):
        fit_rule(TRAIN, wrong, OUTLIERS.features, TENSOR)


def test_figures_are_of_what_the_rule_was_not_fitted_to():
    """Folders by the rule itself; each made kind by a rule that did not meet it."""
    made = {"one": OUTLIERS, "two": stranger(6, 1)}
    features = np.concatenate([one.features for one in made.values()])
    rule = fit_rule(TRAIN, VAL, features, TENSOR)
    steps: list[int] = []
    folders = {"leaves": stranger(8, 1, 30), "own": Stranger(TEST.features, TEST.logits)}
    found = judge(rule, SeenSplits(TRAIN, VAL, TEST), made, folders, TENSOR, steps.append)
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
