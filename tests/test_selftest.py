"""A bundle proves itself where it runs."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import tiny

from edge.errors import SelfTestError
from edge.model.bundle.bundle import read_bundle
from edge.model.bundle.manifest import Golden
from edge.model.classifier import Classifier
from edge.model.selftest import self_test


class Scripted:
    """Scores goldens as told, in their order."""

    def __init__(self, *scores):
        """Take raw scores per golden."""
        self.scores = iter(scores)

    def raw(self, pixels):
        """Return the next scores."""
        assert pixels.shape == (30, 40, 3)
        return np.array(next(self.scores), np.int8)


@pytest.fixture
def bundle(tmp_path):
    """The tiny bundle, read."""
    return read_bundle(tiny.write(tmp_path / "b.wtr"))


def test_litert_reproduces_the_golden_scores(bundle):
    """The real interpreter comes within the tolerance, and the report says how close."""
    pytest.importorskip("ai_edge_litert")
    with Classifier.from_bundle(bundle, self_test=False) as classifier:
        report = self_test(classifier, bundle)
    assert report.goldens == 3
    assert report.worst_difference <= 2


def test_scores_within_the_tolerance_pass(bundle):
    """A difference of the tolerance is allowed; the worst one is named."""
    red, green, blue = tiny.SCORES.values()
    report = self_test(Scripted(red, (green[0] + 2, *green[1:]), blue), bundle)
    assert (report.worst_difference, report.worst_golden) == (2, "golden/green.png")


def test_scores_beyond_the_tolerance_are_refused(bundle):
    """The message names the picture, the label and how far off it is."""
    red, green, _ = tiny.SCORES.values()
    with pytest.raises(SelfTestError, match=r"golden/green\.png .*'blue'.* off by 9 levels, 2"):
        self_test(Scripted(red, (green[0], green[1], green[2] - 9)), bundle)


def test_another_top_label_is_refused_within_the_tolerance(tmp_path):
    """Close scores that swap the winner are refused: the device would report another pest."""
    goldens = [msgspec.structs.replace(g, tolerance=300) for g in tiny.manifest().goldens]
    goldens[0] = Golden(file="golden/red.png", scores=(50, 49, 0), tolerance=3)
    bundle = read_bundle(tiny.write(tmp_path / "b.wtr", goldens=tuple(goldens)))
    with pytest.raises(SelfTestError, match=r"red\.png came out as 'green', not 'red'"):
        self_test(Scripted((49, 50, 0)), bundle)


def test_a_broken_golden_picture_is_refused(tmp_path):
    """A golden that cannot be decoded proves nothing."""
    from edge.model.bundle.bundle import write_bundle

    members = tiny.members() | {"golden/red.png": b"no picture"}
    write_bundle(tmp_path / "b.wtr", tiny.manifest(), members)
    with pytest.raises(SelfTestError, match=r"golden/red\.png: .*not a picture"):
        self_test(Scripted(), read_bundle(tmp_path / "b.wtr"))


def test_a_model_that_does_not_prove_itself_is_not_loaded(tmp_path):
    """By default a classifier opens only what passes its self-test."""
    pytest.importorskip("ai_edge_litert")
    goldens = list(tiny.manifest().goldens)
    goldens[2] = msgspec.structs.replace(goldens[2], scores=(-50, -35, 90))
    path = tiny.write(tmp_path / "b.wtr", goldens=tuple(goldens))
    with pytest.raises(SelfTestError, match="off by 25 levels"):
        Classifier.from_bundle(path)
