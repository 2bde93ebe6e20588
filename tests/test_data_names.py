"""Names of classes that stay on no line of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.data.dataset import Dataset, Example
from training.data.judgement import obstacles

SPLITS = ("train", "val", "test")


@pytest.mark.parametrize(
    "label",
    ["leaf\nminer", "leaf\rminer", "a\x0bb", "a\x85b", "a\u2028b", "a\x00b", "a\x1bb", "a\tb"],
)
def test_names_that_break_lines_are_errors(label):
    """Bundles hold labels one a line: all that follow would move by one."""
    examples = [Example(f"{n}{s}.jpg", n, s) for n in (label, "moth") for s in SPLITS]
    (found,) = obstacles(Dataset(Path("photos"), tuple(examples)))
    assert (found.severity, found.kind) == ("error", "broken-name")
    assert found.title.endswith(repr(label))


@pytest.mark.parametrize(
    "label", ["leaf miner", "état", "蚜虫", "a\u00a0b", "👩\u200d🌾", "<b>", "{{ 1 }}"]
)
def test_other_names_are_fine(label):
    """Whatever can be written on a line."""
    examples = [Example(f"{n}{s}.jpg", n, s) for n in (label, "moth") for s in SPLITS]
    assert list(obstacles(Dataset(Path("photos"), tuple(examples)))) == []
