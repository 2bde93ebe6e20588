"""``python -m training check`` and ``split``: what they say, write and return."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from PIL import Image, ImageOps
from there import there
from typer.testing import CliRunner

from edge.errors import DataError
from training.commands.cli import app
from training.data.dataset import Example
from training.data.sources import load_dataset
from training.data.tables import read_csv, write_csv
from training.synthetic.generate import generate


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    """Clean data: 6 photos of each class."""
    return generate(tmp_path_factory.mktemp("painted") / "scenes", 6, seed=8, size=(160, 120)).root


@pytest.fixture
def scenes(painted, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(painted, tmp_path / "scenes")


def check(folder, out, *options):
    """Run the command; give (exit status, terminal text, check.json)."""
    result = CliRunner().invoke(app, ["check", str(folder), "--out", str(out), *options])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, json.loads((out / "check.json").read_text("utf-8"))


def kinds(report, severity):
    """Kinds of findings of one severity."""
    return {f["kind"] for f in report["findings"] if f["severity"] == severity}


def cases(report, kind):
    """The cases of one finding."""
    return next(f["cases"] for f in report["findings"] if f["kind"] == kind)


def test_clean_photos_pass_with_words_about_their_scenes(painted, tmp_path):
    """No errors, exit 0, though plants with few photos are mentioned."""
    status, text, report = check(painted, tmp_path / "out")
    assert status == 0
    assert report["errors"] == 0
    assert (report["photos"], report["groups"]) == (36, 6)
    assert "36 photos, 6 classes, 6 independent scenes" in text


def test_every_kind_of_damage_is_found_and_shown(scenes, tmp_path):
    """Broken, tiny, doubled and doubly labelled photos are named; the exit status is 1."""
    names = sorted(p.name for p in (scenes / "moth").iterdir())
    (scenes / "labels.csv").unlink()
    whole = (scenes / "moth" / names[0]).read_bytes()
    (scenes / "moth" / "broken.jpg").write_bytes(whole[: len(whole) // 2])
    (scenes / "moth" / "no picture.png").write_text("hello")
    (scenes / "mite" / "copy.jpg").write_bytes(whole)
    photo = Image.open(scenes / "moth" / names[-1])
    ImageOps.mirror(photo).rotate(10).save(scenes / "beetle" / "turned.jpg", quality=95)
    photo.resize((40, 30)).save(scenes / "moth" / "tiny <b>.png")
    (scenes / "wasp").mkdir()
    status, _, report = check(scenes, tmp_path / "out")
    assert status == 1
    assert kinds(report, "error") == {"unreadable", "labels-differ"}
    assert {"small", "exact-duplicates", "near-duplicates", "empty-class"} <= kinds(
        report, "warning"
    )
    broken = {case["files"][0]: case["text"] for case in cases(report, "unreadable")}
    assert set(broken) == {"moth/broken.jpg", "moth/no picture.png"}
    assert "truncated" in broken["moth/broken.jpg"]
    doubled = {file for case in cases(report, "labels-differ") for file in case["files"]}
    assert {"mite/copy.jpg", f"moth/{names[0]}", "beetle/turned.jpg"} <= doubled
    page = (tmp_path / "out" / "check.html").read_text("utf-8")
    assert "data:image/jpeg;base64," in page
    assert "tiny &lt;b&gt;.png" in page
    assert not re.search(r"(src|href)=['\"]?(https?:)?//", page)


def test_leaks_between_given_splits_are_errors(scenes, tmp_path):
    """A plant on two sides, and a copy on two sides, each with its files."""
    data = load_dataset(scenes)
    first, other = data.examples[0], data.examples[-1]
    shutil.copy(data.path(first), scenes / "copy.jpg")
    split = {f"plant-{i:03d}": ("train", "train", "val", "test")[i % 4] for i in range(6)}
    rows = [Example(e.file, e.label, split[there(e.group)], e.group) for e in data.examples]
    wrong = next(s for s in ("train", "val") if s != split[there(other.group)])
    rows[-1] = Example(other.file, other.label, wrong, other.group)
    away = next(s for s in ("test", "val") if s != split[there(first.group)])
    rows.append(Example("copy.jpg", first.label, away))
    write_csv(data.with_examples(rows), tmp_path / "mine.csv")
    status, _, report = check(scenes, tmp_path / "out", "--split-csv", str(tmp_path / "mine.csv"))
    assert status == 1
    assert other.file in cases(report, "group-leak")[0]["files"]
    leaked = {file for case in cases(report, "duplicate-leak") for file in case["files"]}
    assert {"copy.jpg", first.file} <= leaked
    # The advice that it gives, followed.
    shutil.copy(tmp_path / "mine.csv", scenes / "labels.csv")
    anew = ["split", str(scenes), "--anew", "--out", str(scenes / "split.csv")]
    assert CliRunner().invoke(app, anew).exit_code == 0
    status, _, report = check(scenes, tmp_path / "out")
    assert (status, kinds(report, "error")) == (0, set())


def test_a_row_without_its_file_is_reported_with_the_rest(scenes, tmp_path):
    """An absent file does not stop the check of the others."""
    with (scenes / "labels.csv").open("a") as table:
        table.write("moth/gone.jpg,moth,,\n")
    status, _, report = check(scenes, tmp_path / "out")
    assert status == 1
    assert cases(report, "unreadable") == [
        {"text": "the file is absent", "files": ["moth/gone.jpg"]}
    ]


def test_leakage_shows_what_a_random_split_would_claim(tmp_path):
    """Copies in two classes: the random split scores higher than the grouped one."""
    data = generate(tmp_path / "scenes", 16, seed=4, size=(160, 120))
    for example in data.examples[::2]:
        photo = Image.open(data.path(example))
        for turn in (8, -8):
            name = data.path(example).stem + f"_{turn}.jpg"
            photo.rotate(turn).save(data.path(example).with_name(name))
    status, text, report = check(data.root, tmp_path / "out", "--show-leakage", "--ignore-csv")
    random, grouped = report["leakage"]["random"], report["leakage"]["grouped"]
    assert random["mean"] > grouped["mean"] + 0.1
    assert grouped["low"] < grouped["mean"] < grouped["high"]
    assert f"{random['mean']:.1%}" in text
    assert f"{grouped['mean']:.1%}" in (tmp_path / "out" / "check.html").read_text("utf-8")
    assert status in (0, 1)


def test_one_class_is_an_error(scenes, tmp_path):
    """A single folder of photos cannot make a classifier."""
    (scenes / "labels.csv").unlink()
    for name in ("aphid", "beetle", "caterpillar", "empty", "mite"):
        shutil.rmtree(scenes / name)
    status, _, report = check(scenes, tmp_path / "out")
    assert status == 1
    assert "one-class" in kinds(report, "error")


def test_split_writes_a_csv_that_loads_without_leaks(scenes, tmp_path):
    """The CSV has splits and groups for every photo, and the check finds no leak in it."""
    out = tmp_path / "split.csv"
    result = CliRunner().invoke(app, ["split", str(scenes), "--out", str(out), "--seed", "1"])
    assert result.exit_code == 0
    assert len(read_csv(out)) == 36
    assert all(example.split and example.group for example in read_csv(out))
    status, _, report = check(scenes, tmp_path / "out", "--split-csv", str(out))
    assert status == 0
    assert not {"group-leak", "duplicate-leak"} & kinds(report, "error")


def test_a_report_that_cannot_be_written_is_one_clear_error(scenes, tmp_path):
    """A file in the folder's place is named, with the way out."""
    (tmp_path / "taken").write_text("x")
    with pytest.raises(DataError, match="use --out"):
        check(scenes, tmp_path / "taken")
