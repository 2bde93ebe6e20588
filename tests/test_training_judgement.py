"""`check` and `fit` judge by one rule: what one refuses, the other names as an error."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from scenes import scene, scenes
from typer.testing import CliRunner

from edge.errors import WheatearError
from training.architectures import ARCHITECTURES, Architecture
from training.commands.cli import app

TINY = ("model=shallow", "resolution=32", "epochs=1", "augment.rotation=0", "augment.hue=0")
MADE: dict[str, Callable[[Path], None]] = {}


def made(function):
    """Keep a maker of a data set under its name."""
    MADE[function.__name__] = function
    return function


@made
def two_classes_of_ten(root):
    """Nothing odd, but fewer photos than a batch holds."""
    scenes(root / "aphid", 10, 0)
    scenes(root / "moth", 10, 100)


@made
def three_classes_of_five(root):
    """As many as somebody takes to try it out."""
    for i, label in enumerate(("aphid", "moth", "mite")):
        scenes(root / label, 5, 100 * i)


@made
def two_photos_a_class(root):
    """One to learn from, one to choose by."""
    scenes(root / "aphid", 2, 0)
    scenes(root / "moth", 2, 100)


@made
def train_and_test_only(root):
    """A common download."""
    for i, part in enumerate(("train", "test")):
        scenes(root / part / "aphid", 6, 100 * i)
        scenes(root / part / "moth", 6, 1000 + 100 * i)


@made
def train_and_val_only(root):
    """Nothing to test with."""
    for i, part in enumerate(("train", "valid")):
        scenes(root / part / "aphid", 4, 100 * i)
        scenes(root / part / "moth", 4, 1000 + 100 * i)


@made
def train_only(root):
    """Two photos each, all of them in train."""
    scenes(root / "train" / "aphid", 2, 0)
    scenes(root / "train" / "moth", 2, 100)


@made
def unlabelled_folder(root):
    """Beside the classes."""
    three_classes_of_five(root)
    scenes(root / "unlabelled", 5, 500)


@made
def predict_beside_splits(root):
    """Photos to try a model on."""
    train_and_test_only(root)
    scenes(root / "predict", 3, 5000)


@made
def empty_val_folder(root):
    """As if absent."""
    train_and_test_only(root)
    (root / "val").mkdir()


@made
def one_photo(root):
    """Of one class."""
    scenes(root / "aphid", 1, 0)


@made
def one_class(root):
    """Nothing to tell it from."""
    scenes(root / "aphid", 10, 0)


@made
def one_class_of_one_photo(root):
    """It cannot both be learned and be validated."""
    scenes(root / "aphid", 10, 0)
    scenes(root / "moth", 1, 100)


@made
def a_class_of_copies(root):
    """Many photos, one scene."""
    scenes(root / "aphid", 6, 0)
    for i in range(6):
        scene(root / "moth" / f"{i}.png", 100)


@made
def everything_one_group(root):
    """The user says that all photos are of one plant."""
    two_classes_of_ten(root)
    rows = [f"{c}/p{i:02d}.png,{c},plant" for c in ("aphid", "moth") for i in range(10)]
    (root / "labels.csv").write_text("\n".join(["file,label,group", *rows]))


@made
def a_class_in_train_only(root):
    """Given splits that leave a class out of val."""
    train_and_val_only(root)
    scenes(root / "train" / "mite", 4, 9000)


@made
def a_class_in_val_only(root):
    """Given splits that leave a class out of train."""
    train_and_val_only(root)
    scenes(root / "val" / "mite", 4, 9000)


@made
def no_train_folder(root):
    """Only photos to judge by."""
    for i, part in enumerate(("val", "test")):
        scenes(root / part / "aphid", 4, 100 * i)
        scenes(root / part / "moth", 4, 1000 + 100 * i)


@made
def all_broken(root):
    """A card that failed."""
    two_classes_of_ten(root)
    for path in root.rglob("*.png"):
        path.write_bytes(path.read_bytes()[:90])


@made
def one_broken_in_test(root):
    """Training would not meet it, evaluation would."""
    train_and_test_only(root)
    (root / "test" / "moth" / "p00.png").write_bytes(b"")


@made
def a_row_without_its_file(root):
    """A table that lists more than there is."""
    two_classes_of_ten(root)
    rows = [f"{c}/p{i:02d}.png,{c}" for c in ("aphid", "moth") for i in range(11)]
    (root / "labels.csv").write_text("\n".join(["file,label", *rows]))


@made
def nothing_labelled(root):
    """Fresh from the field."""
    two_classes_of_ten(root)
    rows = [f"{c}/p{i:02d}.png,unlabelled" for c in ("aphid", "moth") for i in range(10)]
    (root / "labels.csv").write_text("\n".join(["file,label", *rows]))


@made
def a_class_of_heic(root):
    """Phones write them."""
    two_classes_of_ten(root)
    (root / "mite").mkdir()
    (root / "mite" / "IMG_1.HEIC").write_bytes(b"x")


@made
def one_picture_two_labels(root):
    """No model can learn both."""
    two_classes_of_ten(root)
    shutil.copy(root / "aphid" / "p00.png", root / "moth" / "same.png")


@made
def a_copy_in_train_and_test(root):
    """Figures would flatter."""
    train_and_val_only(root)
    shutil.copy(root / "train" / "aphid" / "p00.png", root / "valid" / "aphid" / "copy.png")


@made
def a_name_of_300_letters(root):
    """No bundle takes it."""
    two_classes_of_ten(root)
    rows = [f"{c}/p{i:02d}.png,{c * 60}" for c in ("aphid", "moth") for i in range(10)]
    (root / "labels.csv").write_text("\n".join(["file,label", *rows]))


@made
def one_level_too_deep(root):
    """As zip files often unpack."""
    two_classes_of_ten(root / "photos")


@made
def a_table_nobody_can_read(root):
    """Not passed over in favour of the folders."""
    two_classes_of_ten(root)
    (root / "labels.csv").write_text("a,b\n")


@made
def no_photos(root):
    """An empty folder."""
    root.mkdir()


WORK = {
    "two_classes_of_ten",
    "three_classes_of_five",
    "two_photos_a_class",
    "train_and_test_only",
    "train_and_val_only",
    "train_only",
    "unlabelled_folder",
    "predict_beside_splits",
    "empty_val_folder",
}


@pytest.fixture(autouse=True)
def shallow(monkeypatch):
    """A network that is built and fitted at once."""
    monkeypatch.setitem(ARCHITECTURES, "shallow", Architecture("shallow:build"))


def run(command: str, *arguments: object) -> tuple[int, str]:
    """Exit status and what was said; an error that a person reads counts as 2."""
    result = CliRunner().invoke(app, [command, *map(str, arguments)])
    if isinstance(result.exception, WheatearError):
        return 2, str(result.exception)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def fit(photos: Path, out: Path, *more: str) -> tuple[int, str]:
    """Train a tiny net for an epoch."""
    settings = [part for change in TINY for part in ("--set", change)]
    return run("fit", photos, "--recipe", "small", "--out", out, *settings, *more)


@pytest.mark.parametrize("name", MADE)
def test_check_and_fit_agree(tmp_path, name):
    """Both go through, or both refuse for the same reason and `fit` has written nothing."""
    MADE[name](tmp_path / "photos")
    checked, _ = run("check", tmp_path / "photos", "--out", tmp_path / "check")
    status, said = fit(tmp_path / "photos", tmp_path / "run")
    assert (checked == 0, status == 0) == (name in WORK, name in WORK)
    assert (tmp_path / "run" / "model.keras").exists() == (name in WORK)
    if name not in WORK:
        assert not (tmp_path / "run").exists()
        report = tmp_path / "check" / "check.json"
        unread = ("one_level_too_deep", "a_table_nobody_can_read", "no_photos")
        assert report.exists() == (name not in unread)
        findings = json.loads(report.read_text("utf-8"))["findings"] if report.exists() else []
        for finding in findings:
            assert (finding["severity"] == "error") == (finding["title"] in said)
        assert (checked == 1) == any(f["severity"] == "error" for f in findings)


@pytest.mark.parametrize("name", ["one_picture_two_labels", "a_copy_in_train_and_test"])
def test_errors_that_only_flatter_can_be_accepted(tmp_path, name):
    """--accept makes them warnings, for both commands; what hinders training stays."""
    MADE[name](tmp_path / "photos")
    accept = ("--accept", "labels-differ", "--accept", "duplicate-leak")
    status, _ = run("check", tmp_path / "photos", "--out", tmp_path / "check", *accept)
    assert status == 0
    assert fit(tmp_path / "photos", tmp_path / "run", *accept)[0] == 0
    status, said = run("check", tmp_path / "photos", "--accept", "one-class")
    assert status == 2
    assert "damaged, duplicate-leak, group-leak, labels-differ" in said


def test_validation_photos_are_cut_from_train_by_groups(tmp_path):
    """Without a val folder: a quarter of train, whole groups, and it is said by both commands."""
    train_and_test_only(tmp_path / "photos")
    for i in range(4):
        name = f"copy{i}.png"
        scene(tmp_path / "photos" / "train" / "moth" / name, 7777)
    status, _ = run("check", tmp_path / "photos", "--out", tmp_path / "check")
    report = json.loads((tmp_path / "check" / "check.json").read_text("utf-8"))
    assert "validation photos cut from train by groups" in report["splits"]
    status, said = fit(tmp_path / "photos", tmp_path / "run")
    assert status == 0
    assert "validation photos cut from train by groups" in said
    rows = (tmp_path / "run" / "split.csv").read_text().splitlines()
    assert sum(",test," in row for row in rows) == 12
    assert 3 <= sum(",val," in row for row in rows) <= 5
    assert all(row.startswith("train/") for row in rows if ",val," in row or ",train," in row)
    assert len({row.split(",")[2] for row in rows if "copy" in row}) == 1


def test_without_test_photos_the_validation_photos_judge_and_that_is_said(tmp_path):
    """`evaluate` goes through, with a warning that the figures flatter."""
    train_and_val_only(tmp_path / "photos")
    fit(tmp_path / "photos", tmp_path / "run")
    status, said = run("evaluate", tmp_path / "run")
    assert status == 0
    assert "no test photos" in said
    assert "val: 8 photos" in said
    assert "network: of no shipped recipe" in said
