"""The model to ship: validation photos train, a cross-validation says what to expect of it."""

import shutil
from statistics import mean

import msgspec
import pytest
from discs import paint
from there import there

from edge.errors import TrainingError
from edge.model.bundle.manifest import StartWeights
from training.commands.asked import FitOptions, PhotoOptions
from training.commands.crossval import crossval
from training.commands.final import final
from training.commands.fit import fit
from training.data.sources import load_dataset
from training.recipes import load_recipe
from training.report.evaluate import evaluate
from training.report.page import write_report
from training.runs import load_run, save_info

pytestmark = pytest.mark.usefixtures("shallow")

SETTINGS = ["model=shallow", "resolution=32", "epochs=2", "batch=6", "learning_rate=5e-3"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """120 pictures of discs, three classes by colour, in groups of two."""
    return paint(tmp_path_factory.mktemp("photos"), 40, lambda i: i // 10 * 5 + i % 5, patches=True)


def asked(out, *changes):
    """A small network for two epochs, of which the half may be kept."""
    given = [*SETTINGS, "blend=[0.5,1]", *changes]
    return FitOptions(out=out, recipe="small", change=given)


@pytest.fixture(scope="module")
def folds(photos, tmp_path_factory):
    """A cross-validation in three folds."""
    out = tmp_path_factory.mktemp("crossval")
    crossval(PhotoOptions(data=photos), asked(out), 3)
    return out


@pytest.fixture(scope="module")
def shipped(photos, folds, tmp_path_factory):
    """The run that is made with it."""
    out = tmp_path_factory.mktemp("runs") / "final"
    fit(PhotoOptions(data=photos), asked(out), folds)
    return load_run(out)


def test_most_validation_photos_train_and_whole_groups_stay(shipped, photos):
    """A quarter is left to calibrate by, of every class; test photos are what they were."""
    before = {e.file: e for e in load_dataset(photos).examples}
    now = shipped.dataset.examples
    moved = [e for e in now if e.split != before[e.file].split]
    assert {(before[e.file].split, e.split) for e in moved} == {("val", "train")}
    assert len(moved) == 18
    left = shipped.dataset.split("val")
    assert left.counts() == {"ant": 2, "bee": 2, "moth": 2}
    trained = set(shipped.dataset.split("train").groups)
    assert not trained & set(left.groups)
    assert shipped.info.split_rule.startswith("18 of 24 validation photos train, by groups, seed 0")


def test_what_the_folds_liked_best_is_kept(shipped, folds, photos, tmp_path):
    """By their mean log loss, whatever the few photos that are left like best."""
    found: dict[str, list[float]] = {}
    for n in (1, 2, 3):
        for one in there(load_run(folds / f"fold-{n}").info.result).candidates:
            found.setdefault(one.name, []).append(one.log_loss)
    best = min(found, key=lambda name: mean(found[name]))
    assert there(shipped.info.estimate).keep == there(shipped.info.result).kept.name == best
    worst = max(found, key=lambda name: mean(found[name]))
    turned = shutil.copytree(folds, tmp_path / "folds")
    for n in (1, 2, 3):
        path = turned / f"fold-{n}" / "run.json"
        info = load_run(turned / f"fold-{n}").info
        result = there(info.result)
        other = tuple(
            msgspec.structs.replace(one, log_loss=-one.log_loss) for one in result.candidates
        )
        result = msgspec.structs.replace(result, candidates=other)
        path.write_bytes(msgspec.json.encode(msgspec.structs.replace(info, result=result)))
    fit(PhotoOptions(data=photos), asked(tmp_path / "out"), turned)
    assert there(load_run(tmp_path / "out").info.result).kept.name == worst
    # ... and it is the very weights: those of the run that kept the best lie there, not here.
    one, other = load_run(tmp_path / "out").model(), shipped.model()
    assert any((a != b).any() for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def test_the_page_says_what_the_cross_validation_says(shipped, folds):
    """Beside the test photos' figure."""
    told = msgspec.json.decode((folds / "crossval.json").read_bytes())
    assert there(shipped.info.estimate).accuracy == told["accuracy"]
    page = write_report(shipped, *evaluate(shipped, "test")).read_text()
    assert "Trained on most validation photos too" in page
    assert f"of {told['photos']} photos, calibration error" in page


def test_a_plain_run_says_nothing_of_it(photos, tmp_path):
    """Nor does it lose a validation photo."""
    fit(PhotoOptions(data=photos), asked(tmp_path / "run"))
    run = load_run(tmp_path / "run")
    assert run.info.estimate is None
    assert len(run.dataset.split("val")) == 24


@pytest.mark.parametrize(
    ("changes", "taught", "message"),
    [
        (("batch=8",), False, r"another recipe \(batch was 6, is 8\); give the same --recipe"),
        ((), True, "had none; give no --teacher, or make another"),
    ],
)
def test_a_cross_validation_of_another_training_is_refused(folds, photos, changes, taught, message):
    """It would be no estimate of this one."""
    recipe = load_recipe("small", asked(photos, *changes).changes)
    with pytest.raises(TrainingError, match=message):
        final(folds, load_dataset(photos), "as given", recipe, 0, taught)


def test_a_cross_validation_from_other_start_weights_is_refused(folds, photos, tmp_path):
    """The same recipe, but another file under its name."""
    other = shutil.copytree(folds, tmp_path / "folds")
    start = StartWeights(name="moths", sha256="5e" * 32)
    info = msgspec.structs.replace(load_run(other / "fold-1").info, start=start)
    save_info(other / "fold-1", info)
    recipe = load_recipe("small", asked(photos).changes)
    with pytest.raises(TrainingError, match="began with another file of start weights"):
        final(other, load_dataset(photos), "as given", recipe, 0)


def test_a_cross_validation_of_other_photos_is_refused(folds, photos, tmp_path):
    """A photo more, another label, or a file with other content under an old name."""
    recipe = load_recipe("small", asked(photos).changes)
    other = shutil.copytree(photos, tmp_path / "photos")
    table = (other / "split.csv").read_text()
    (other / "split.csv").write_text(table.replace("ant/01.png,ant", "ant/01.png,bee"))
    with pytest.raises(TrainingError, match="was made with other photos or labels"):
        final(folds, load_dataset(other), "as given", recipe, 0)
    (other / "split.csv").write_text(table)
    shutil.copy(other / "ant" / "01.png", other / "ant" / "02.png")
    with pytest.raises(TrainingError, match="was made with other photos or labels"):
        final(folds, load_dataset(other), "as given", recipe, 0)


def test_an_unfinished_cross_validation_is_refused(folds, photos, tmp_path):
    """With how to make one."""
    recipe = load_recipe("small", asked(photos).changes)
    begun = shutil.copytree(folds, tmp_path / "begun")
    (begun / "crossval.json").unlink()
    with pytest.raises(TrainingError, match="holds no finished cross-validation; make one"):
        final(begun, load_dataset(photos), "as given", recipe, 0)
    (begun / "crossval.json").write_text("{")
    with pytest.raises(TrainingError, match="cannot be read"):
        final(begun, load_dataset(photos), "as given", recipe, 0)


def test_photos_without_given_splits_can_be_shipped_too(tmp_path):
    """Their cross-validation judged all of them, those too that the training keeps for its test."""
    photos = paint(tmp_path, 40, lambda i: i // 10 * 5 + i % 5, patches=True)
    lines = (photos / "split.csv").read_text().splitlines()
    cells = [line.split(",") for line in lines]
    (photos / "split.csv").write_text("\n".join(f"{a},{b},{d}" for a, b, _, d in cells) + "\n")
    head = ("epochs=0", "head_views=1")
    crossval(PhotoOptions(data=photos), asked(tmp_path / "cv", *head), 3)
    fit(PhotoOptions(data=photos), asked(tmp_path / "run", *head), tmp_path / "cv")
    run = load_run(tmp_path / "run")
    assert there(run.info.estimate).photos == 120
    assert len(run.dataset.split("test")) > 0
    with pytest.raises(TrainingError, match="holds a finished run"):
        fit(PhotoOptions(data=photos), asked(tmp_path / "run", *head))


def test_auto_has_no_recipe_to_cross_validate(photos, folds, tmp_path):
    """What was cross-validated is to be named."""
    with pytest.raises(TrainingError, match="give the --recipe that was cross-validated"):
        fit(PhotoOptions(data=photos), FitOptions(out=tmp_path / "run", recipe="auto"), folds)
    assert not (tmp_path / "run").exists()
