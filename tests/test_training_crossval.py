"""Cross-validation: each photo is judged once, by a model that saw none of its group."""

import msgspec
import numpy as np
import pytest
from discs import COLOURS, paint

from edge.errors import DataError, TrainingError
from training.commands.asked import FitOptions, PhotoOptions
from training.commands.crossval import crossval
from training.data.folds import divide
from training.data.sources import load_dataset
from training.report.crossval import CrossValidation, FoldAnswers, pool

pytestmark = pytest.mark.usefixtures("shallow")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Ninety discs in three classes on grounds of their own; a third shares a group in pairs."""

    def group(i):
        return i - i % 2 if i < 10 and i % 5 < 3 else i + 50

    return paint(tmp_path_factory.mktemp("photos"), 30, group, patches=True)


def asked(out, *changes):
    """A small network for two epochs."""
    settings = ["model=shallow", "resolution=32", "epochs=2", "batch=6", "learning_rate=5e-3"]
    return FitOptions(
        out=out,
        recipe="small",
        change=[*settings, f"weights={__file__}", "head_views=1", *changes],
    )


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    """A cross-validation in three folds, and its folder."""
    out = tmp_path_factory.mktemp("crossval")
    crossval(given(photos), asked(out), 3)
    return out


def given(photos):
    """The photos."""
    return PhotoOptions(data=photos)


def answers_of(out, number):
    """What fold `number` left."""
    return msgspec.json.decode(
        (out / f"fold-{number}" / "answers.json").read_bytes(), type=FoldAnswers
    )


def test_every_photo_that_is_no_test_photo_is_judged_once(finished, photos):
    """The given test photos stay unseen; the others lie in one fold each."""
    judged = [file for n in (1, 2, 3) for file in answers_of(finished, n).files]
    dataset = load_dataset(photos)
    assert sorted(judged) == [e.file for e in dataset.examples if e.split != "test"]
    together = msgspec.json.decode((finished / "crossval.json").read_bytes(), type=CrossValidation)
    assert together.photos == len(judged)
    assert len(together.folds) == 3
    assert together.accuracy == np.mean(
        [r for n in (1, 2, 3) for r in answers_of(finished, n).right]
    )
    assert together.probe_accuracy is not None
    assert together.ahead == pytest.approx(together.accuracy - together.probe_accuracy)


def test_no_group_lies_in_two_folds(finished):
    """Neither is one of a fold's own training groups judged by it."""
    groups = [set(answers_of(finished, n).groups) for n in (1, 2, 3)]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    for number in (1, 2, 3):
        path = finished / f"fold-{number}" / "split.csv"
        trained = {
            line.split(",")[3] for line in path.read_text().splitlines() if ",train," in line
        }
        assert trained
        assert not trained & set(answers_of(finished, number).groups)


def test_repeating_it_trains_nothing_again(finished, photos, capsys):
    """Finished folds are taken as they are; the decoded copies of the photos are gone."""
    before = {path: path.stat().st_mtime_ns for path in finished.glob("fold-*/*")}
    crossval(given(photos), asked(finished), 3)
    assert {path: path.stat().st_mtime_ns for path in finished.glob("fold-*/*")} == before
    assert not list(finished.glob("fold-*/cache"))
    said = " ".join(capsys.readouterr().out.split())
    assert "points ahead of the linear probe" in said
    assert "18 test photos left out" in said


def test_damaged_answers_are_named_with_the_cure(finished, photos):
    """Once they are deleted, the fold is judged again, and gives the same."""
    answers = finished / "fold-2" / "answers.json"
    before = answers.read_bytes()
    answers.write_bytes(b'{"kept": 5}')
    with pytest.raises(
        TrainingError, match=r"answers.json is damaged \(kept: it must be text\); de"
    ):
        crossval(given(photos), asked(finished), 3)
    answers.unlink()
    crossval(given(photos), asked(finished), 3)
    assert answers.read_bytes() == before


def test_folds_of_another_recipe_are_refused(finished, photos):
    """Two recipes in one figure would be of neither."""
    with pytest.raises(TrainingError, match=r"fold-1: holds a fold of another recipe"):
        crossval(given(photos), asked(finished, "dropout=0.5"), 3)


def test_what_no_fold_can_learn_is_told_before_any_is_trained(photos, tmp_path, capsys):
    """Test photos are left out also where a photo without a label has no split."""
    rare, *others = COLOURS
    lines = ["file,label,split,group", f"{others[0]}/00.png,unlabelled,,"]
    lines += [f"{rare}/0{i}.png,{rare},{split}," for i, split in enumerate(("train", "val"))]
    lines += [
        f"{label}/{i:02d}.png,{label},{'test' if i > 24 else 'val' if i > 19 else 'train'},"
        for label in others
        for i in range(10, 30)
    ]
    (tmp_path / "rare.csv").write_text("\n".join(lines) + "\n")
    asking = PhotoOptions(data=photos, split_csv=tmp_path / "rare.csv")
    with pytest.raises(DataError, match=rf"3 folds: every class .* too few have {rare} \(2\)"):
        crossval(asking, asked(tmp_path / "out"), 3)
    said = " ".join(capsys.readouterr().out.split())
    assert "10 test photos left out" in said
    assert "warning: 1 photo without a label yet" in said
    assert not (tmp_path / "out" / "fold-1").exists()


def test_a_fold_without_a_class_is_told_before_any_is_trained(photos, tmp_path):
    """Whole groups cannot always be divided so that each fold has photos of every class."""
    groups, rows = ((2, 0), (3, 7), (0, 3), (2, 1)), dict.fromkeys(("ant", "bee"), 10)
    lines = ["file,label,group"]
    for number, counts in enumerate(groups):
        for label, count in zip(rows, counts, strict=True):
            lines += [
                f"{label}/{i}.png,{label},g{number}"
                for i in range(rows[label], rows[label] + count)
            ]
            rows[label] += count
    (tmp_path / "uneven.csv").write_text("\n".join(lines) + "\n")
    asking = PhotoOptions(data=photos, split_csv=tmp_path / "uneven.csv")
    with pytest.raises(DataError, match=r"fold \d of 3 cannot be trained on .*\n- no photo of "):
        crossval(asking, asked(tmp_path / "out"), 3)
    assert not (tmp_path / "out").exists()


def test_folds_of_other_photos_are_refused(finished, photos):
    """A photo that was changed in place is another one."""
    changed = photos / "ant" / "00.png"
    before = changed.read_bytes()
    changed.write_bytes(before + b"\0")
    try:
        with pytest.raises(
            TrainingError, match=r"holds a fold of another recipe, seed, start or teacher"
        ):
            crossval(given(photos), asked(finished), 3)
    finally:
        changed.write_bytes(before)


@pytest.mark.parametrize(
    ("folds", "told"), [(2, "give 3 or more"), (91, r"too few have ant \(28\), bee \(28\), moth")]
)
def test_folds_that_cannot_be_made_are_refused(photos, folds, told):
    """Two leave nothing to choose by; more than groups leave some empty."""
    with pytest.raises(DataError, match=rf"{folds} folds: .*{told}"):
        next(divide(load_dataset(photos), folds))


def test_the_figures_are_of_all_photos_alike():
    """Pooled, not a mean of means; sure and wrong shows as calibration error."""
    one = FoldAnswers(
        kept="training",
        files=("a", "b", "c"),
        groups=("a", "b", "c"),
        right=(True, True, True),
        confidence=(1.0, 1.0, 1.0),
        probe_right=(True, False, False),
    )
    two = FoldAnswers(
        kept="training",
        files=("d",),
        groups=("d",),
        right=(False,),
        confidence=(1.0,),
        probe_right=(False,),
    )
    together = pool([one, two])
    assert together.accuracy == 0.75
    assert together.folds == (1.0, 0.0)
    assert together.probe_accuracy == 0.25
    assert together.ahead == 0.5
    assert together.ece == pytest.approx(0.25)
    assert pool([msgspec.structs.replace(one, probe_right=None), two]).ahead is None
