"""The motion trigger on painted and photographed fields: wind, light, noise, insects."""

from __future__ import annotations

import pytest

from benchmarks import harness
from benchmarks.motion import motion_trigger, photographed, plain_detector, score
from benchmarks.motion_scenes import WEATHERS, sequence
from edge.cameras.triggers.motion import shrink

CALM, BREEZE, WIND, DUSK = WEATHERS


def scores(shots):
    """The trigger's score and that of a plain detector."""
    small = [(shrink(shot.pixels), shot) for shot in shots]
    return score(motion_trigger(), small), score(plain_detector(), small)


def test_insects_are_seen_and_wind_is_not():
    """In wind a plain detector passes most quiet frames; the trigger few, and it sees insects."""
    ours, plain = scores(sequence(7, WIND, frames=110, visits=3))
    assert ours.visits == 3
    assert ours.seen >= 2
    assert ours.false <= 0.08 * ours.quiet
    assert plain.false > 0.5 * plain.quiet


def test_in_calm_weather_nothing_is_missed_and_nothing_made_up():
    """Slow light and sensor noise only."""
    ours, _ = scores(sequence(8, CALM, frames=110, visits=3))
    assert (ours.seen, ours.false) == (ours.visits, 0)


@pytest.mark.parametrize("weather", [BREEZE, DUSK], ids=lambda weather: weather.name)
def test_insects_on_photographed_leaves_are_seen(weather, data):
    """Cut-outs of photographed pests cross photographed leaves."""
    root = data("bean_leaf").parent
    ours, _ = scores(photographed(root, 9, weather, frames=110, visits=3))
    assert ours.seen >= 2
    assert ours.false <= 0.05 * ours.quiet


def test_the_benchmark_of_motion_measures_both_sides(tmp_path, data):
    """Insects seen and quiet frames passed by both, for each weather; the cost of a frame."""
    options = harness.Options(out=tmp_path, tiny=True)
    figures = harness.run("motion", data("bean_leaf").parent, options).figures
    assert len(figures) == 2 * 2 * len(WEATHERS) + 1
    assert all(figure.ours for figure in figures)
    assert all(figure.theirs for figure in figures[:-1])
