"""Painted field scenes."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict

import numpy as np
import pytest
from typer.testing import CliRunner

from edge.errors import DataError
from edge.model.image.preprocessing import decode
from training.commands.cli import app
from training.data.sources import load_dataset
from training.synthetic.generate import KINDS, generate


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Seven photos of each kind."""
    return generate(tmp_path_factory.mktemp("scenes") / "s", 7, seed=2, size=(160, 120), unknown=3)


def digest(root):
    """One hash over every file and its name."""
    lines = [f"{p.relative_to(root)} {hashlib.sha256(p.read_bytes()).hexdigest()}"
             for p in sorted(root.rglob("*")) if p.is_file()]  # fmt: skip
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def test_the_same_seed_paints_the_same_bytes(scenes, tmp_path):
    """Pictures and CSV agree byte for byte; another seed gives others."""
    generate(tmp_path / "again", 7, seed=2, size=(160, 120), unknown=3)
    generate(tmp_path / "other", 7, seed=3, size=(160, 120), unknown=3)
    assert digest(tmp_path / "again") == digest(scenes.root)
    assert digest(tmp_path / "other") != digest(scenes.root)


def test_every_class_has_its_photos_at_the_size_asked_for(scenes):
    """The folder loads as a data set with groups and without the unknown pests."""
    dataset = load_dataset(scenes.root)
    assert dataset.counts() == dict.fromkeys(sorted(KINDS), 7)
    assert all(example.group for example in dataset.examples)
    assert {decode(dataset.path(e)).shape for e in dataset.examples} == {(120, 160, 3)}
    assert len(list((scenes.root / "unknown").iterdir())) == 3


def test_photos_of_one_plant_share_their_ground(scenes):
    """Colours agree within a plant better than between plants, which show two labels each."""
    colours, labels = defaultdict(list), defaultdict(set)
    for example in scenes.examples:
        pixels = decode(scenes.path(example)).reshape(-1, 3)
        share = np.median(pixels, axis=0)
        colours[example.group].append(share / share.sum())
        labels[example.group].add(example.label)
    within = np.mean([np.std(c, axis=0).mean() for c in colours.values() if len(c) > 2])
    between = np.std([np.mean(c, axis=0) for c in colours.values()], axis=0).mean()
    assert within < between / 2
    assert Counter(map(len, labels.values())).most_common(1)[0][0] == 2


def test_a_folder_with_files_is_not_painted_over(scenes):
    """Nothing is overwritten."""
    before = digest(scenes.root)
    with pytest.raises(DataError, match="not an empty folder"):
        generate(scenes.root, 1)
    assert digest(scenes.root) == before


def test_the_command_says_what_it_made(tmp_path):
    """``synth`` names the folder, the number and the classes."""
    arguments = ["synth", str(tmp_path / "x"), "--per-class", "1", "--size", "64", "48"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert "6 photos of 3 plants; classes aphid, beetle" in result.stdout
