"""How what tiles show joins again."""

from __future__ import annotations

from clocks import RIGHT
from results import look, tile

from edge.config import Decision
from edge.model.classifier import FrameTimings
from edge.model.tiles import join, touch
from edge.sightings.decision import Decider
from edge.sightings.findings import findings


def test_boxes_that_touch_are_one_group_also_through_others():
    """Shared edges and corners join; a gap parts."""
    a, b, c, far = (0, 0, 10, 10), (10, 0, 20, 10), (20, 10, 30, 20), (31, 0, 40, 9)
    assert touch(b, c)
    assert not touch(c, far)
    assert join([a, c, far, b]) == [[0, 1, 3], [2]]
    assert join([]) == []


def test_regions_of_one_class_do_not_lie_over_one_another():
    """Two groups whose tiles do not touch, but the boxes around them overlap, are one region."""
    corner = [(0, 0, 10, 10), (0, 10, 10, 20), (0, 20, 10, 30), (10, 20, 20, 30), (20, 20, 30, 30)]
    inside, outside = (20, 0, 30, 10), (40, 0, 50, 10)
    assert join([*corner, inside, outside]) == [[0, 1, 2, 3, 4, 5], [6]]


def test_tiles_of_one_class_are_one_finding_with_its_regions():
    """The surest tile gives confidence and alternatives; places apart are regions of their own."""
    found = look(
        tile((0, 0, 10, 10), confidence=0.7),
        tile((8, 0, 18, 10), confidence=0.9),
        tile((50, 50, 60, 60), confidence=0.8),
        tile((20, 20, 30, 30), "mite", 0.95),
    )
    mite, aphid = findings(found, {}, frozenset())
    assert (mite.label, mite.confidence, mite.regions[0].box) == ("mite", 0.95, (20, 20, 30, 30))
    assert (aphid.confidence, aphid.alternatives[0].confidence) == (0.9, 0.9)
    assert [(r.box, r.confidence, r.tiles) for r in aphid.regions] == [
        ((0, 0, 18, 10), 0.9, 2),
        ((50, 50, 60, 60), 0.8, 1),
    ]
    assert found.timings == FrameTimings(4.0, 8.0)


def test_unknown_beside_a_class_is_a_piece_of_it():
    """Unknown tiles count only where they touch no tile with a label."""
    beside = tile((10, 0, 20, 10), reason="unknown")
    apart = tile((40, 0, 50, 10), reason="unknown")
    here = tile((0, 0, 10, 10))
    assert [one.label for one in findings(look(here, beside), {}, frozenset())] == ["aphid"]
    both = findings(look(here, beside, apart), {}, frozenset())
    assert [(one.label, one.reason) for one in both] == [("aphid", None), (None, "unknown")]
    assert both[1].regions[0].box == (40, 0, 50, 10)


def test_weak_and_background_tiles_say_nothing_unless_there_is_nothing_else():
    """Where no tile says anything, one finding says why: the surest below its threshold."""
    weak = tile((0, 0, 9, 9), confidence=0.3, reason="below-threshold")
    ground = tile((9, 9, 20, 20), "leaf")
    said = findings(look(weak, ground, tile((30, 30, 40, 40))), {}, frozenset({"leaf"}))
    assert [one.label for one in said] == ["aphid"]
    (nothing,) = findings(look(weak, ground), {}, frozenset({"leaf"}))
    assert (nothing.label, nothing.reason) == (None, "below-threshold")
    (nothing,) = findings(look(ground), {}, frozenset({"leaf"}))
    assert (nothing.reason, nothing.regions[0].box) == ("background", (9, 9, 20, 20))


def test_classes_vote_side_by_side():
    """Two classes in every frame are two events, each with votes and rest of its own."""
    both = look(tile((0, 0, 9, 9)), tile((50, 50, 60, 60), "mite", 0.8))
    decider = Decider(Decision(mode="votes", agreeing_frames=2, last_frames=3, cooldown_seconds=10))
    seen = [[event.label for event in decider.see(both, now, RIGHT)] for now in range(13)]
    assert seen[1] == ["aphid", "mite"]
    assert [now for now, labels in enumerate(seen) if labels] == [1, 11]
