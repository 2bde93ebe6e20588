"""Dividing photos so that no group straddles."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import DataError
from training.data.dataset import SPLITS, Dataset, Example
from training.data.splits import assign_splits, unrepresented


def dataset(groups):
    """Photos from (label, size) groups."""
    examples = [
        Example(f"{number:03d}-{i:03d}.jpg", label, None, f"g{number}")
        for number, (label, size) in enumerate(groups)
        for i in range(size)
    ]
    return Dataset(Path("photos"), tuple(examples))


groups = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 30)), min_size=3, max_size=40)


@settings(max_examples=60, deadline=None)
@given(groups=groups, seed=st.integers(0, 9))
def test_no_group_straddles_and_every_photo_has_a_split(groups, seed):
    """Whatever the groups, each lies on one side and nothing is lost."""
    divided = assign_splits(dataset(groups), seed=seed)
    sides = defaultdict(set)
    for example in divided.examples:
        sides[example.group].add(example.split)
    assert all(len(side) == 1 for side in sides.values())
    assert all(example.split in SPLITS for example in divided.examples)


def test_classes_keep_their_proportions_with_uneven_groups():
    """With many groups of mixed size each class is within a few photos of 60/20/20."""
    rng = np.random.default_rng(0)
    data = dataset([(label, int(rng.integers(1, 12))) for label in "abcde" for _ in range(40)])
    divided = assign_splits(data, seed=1)
    for label, count in data.counts().items():
        cells = Counter(e.split for e in divided.examples if e.label == label)
        for split, part in zip(SPLITS, (0.6, 0.2, 0.2), strict=True):
            assert cells[split] == pytest.approx(part * count, abs=3)


def test_the_same_seed_gives_the_same_splits_in_any_order():
    """The order of the photos does not matter, the seed does."""
    data = dataset([("a", 3), ("b", 2)] * 20)
    turned = Dataset(data.root, tuple(reversed(data.examples)))
    assert assign_splits(data, seed=4).examples == assign_splits(turned, seed=4).examples
    assert assign_splits(data, seed=4).examples != assign_splits(data, seed=5).examples


def test_splits_that_exist_are_kept_and_new_photos_join_their_group():
    """A test set stays the same while photos are added."""
    old = [Example("a1.jpg", "a", "test", "p1"), Example("b1.jpg", "b", "train", "p2")]
    new = [Example("a2.jpg", "a", None, "p1"), Example("c.jpg", "a"), Example("d.jpg", "b")]
    divided = assign_splits(Dataset(Path("photos"), (*old, *new)))
    split = {example.file: example.split for example in divided.examples}
    assert (split["a1.jpg"], split["b1.jpg"], split["a2.jpg"]) == ("test", "train", "test")
    assert assign_splits(divided) is divided


def test_a_class_of_one_plant_is_reported_as_missing_elsewhere():
    """One group cannot be in three places; the gap is named."""
    divided = assign_splits(dataset([("a", 2)] * 12 + [("b", 9)]))
    assert {label for label, _ in unrepresented(divided)} == {"b"}
    assert len(unrepresented(divided)) == 2


@pytest.mark.parametrize("fractions", [(0.6, 0.2, 0.3), (1.2, -0.1, -0.1)])
def test_fractions_must_divide_one(fractions):
    """Fractions that are no division are refused with the numbers."""
    with pytest.raises(DataError, match="sum to 1"):
        assign_splits(dataset([("a", 1)] * 5), fractions)


def test_too_few_groups_is_an_error():
    """Two plants cannot make three splits."""
    with pytest.raises(DataError, match="2 group"):
        assign_splits(dataset([("a", 5), ("b", 5)]))


@pytest.mark.parametrize("scenes", [2, 3])
def test_classes_of_few_scenes_are_learned_and_validated_before_they_are_tested(scenes):
    """Two scenes go to train and val, whatever the seed; only a third one can be for the test."""
    examples = [Example(f"{c}{i}.jpg", c) for c in "abcdef" for i in range(scenes)]
    for seed in range(20):
        divided = assign_splits(Dataset(Path("."), tuple(examples)), seed=seed)
        have = {(e.label, e.split) for e in divided.examples}
        assert {(c, s) for c in "abcdef" for s in ("train", "val")} <= have
