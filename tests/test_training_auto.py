"""The choice of a recipe by the photos: probes of start weights, then rate and length."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import shallow
from discs import paint
from msgspec.structs import replace
from rich.console import Console

from edge.errors import TrainingError
from training.architectures import ARCHITECTURES, Architecture
from training.commands.asked import FitOptions
from training.commands.auto import settle
from training.data.dataset import Dataset
from training.data.sources import load_dataset
from training.fitting.auto import StartComparison, compare_starts, multiply_adds
from training.fitting.fit import fit
from training.fitting.rates import settle_rate
from training.models import build_model
from training.recipe import Recipe
from training.runs import Run, load_run

pytestmark = pytest.mark.usefixtures("shallow")

LABELS = ("ant", "bee", "moth")
SEES = Recipe(
    model="shallow",
    resolution=32,
    weights="here",
    head_views=1,
    epochs=2,
    batch=16,
    freeze_statistics=True,
)


def blind(recipe, classes):
    """The shallow network with kernels of zeros: it sees nothing."""
    model = shallow.build(recipe, classes)
    for layer in model.layers[:-1]:
        layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    return model


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """90 pictures of discs on noise, three classes by colour, with splits and groups."""
    return paint(tmp_path_factory.mktemp("photos"), 30, lambda i: i // 5 if i % 5 < 3 else i + 50)


@pytest.fixture(scope="module")
def chosen_by(photos):
    """The photos that choose: all but those for the test."""
    dataset = load_dataset(photos)
    return dataset.with_examples(e for e in dataset.examples if e.split != "test")


def compare(dataset, folder, **recipes):
    """Compare recipes; what was told on the way is kept as `told` of the function."""
    told = []
    found = compare_starts(dataset, recipes, folder, lambda name, done: told.append((name, done)))
    return found, told


def test_the_start_that_tells_more_is_chosen(chosen_by, tmp_path, monkeypatch):
    """A net that sees against one that sees nothing, which takes as much work."""
    monkeypatch.setitem(ARCHITECTURES, "blind", Architecture(f"{__name__}:blind"))
    found, told = compare(chosen_by, tmp_path, blind=replace(SEES, model="blind"), sees=SEES)
    assert [start.recipe for start in found.starts] == ["sees", "blind"]
    sees, sees_not = found.starts
    assert found.chosen == "sees"
    assert sees.accuracy > 0.9
    assert sees_not.accuracy < 0.6
    assert sees_not.log_loss == pytest.approx(np.log(3), abs=0.1), "as good as no answer"
    assert sees_not.behind.low > 0.5
    assert found.photos == len(chosen_by)
    assert "least log loss" in found.reason
    assert told == [("blind", 64), ("blind", 72), ("sees", 64), ("sees", 72)]
    assert msgspec.json.decode(msgspec.json.encode(found), type=StartComparison) == found


def test_of_starts_that_are_as_good_the_one_with_less_work_is_chosen(
    chosen_by, tmp_path, monkeypatch
):
    """A net that sees nothing sees as much of larger pictures."""
    monkeypatch.setitem(ARCHITECTURES, "blind", Architecture(f"{__name__}:blind"))
    little = replace(SEES, model="blind")
    found, _ = compare(chosen_by, tmp_path, large=replace(little, resolution=64), little=little)
    work = {start.recipe: start.multiply_adds for start in found.starts}
    assert work["large"] > 3 * work["little"]
    assert found.chosen == "little"


def test_starts_that_cannot_be_had_are_named(chosen_by, tmp_path):
    """With the reason; where none can be had, that is an error."""
    away = Recipe(model="mobilenet_v2", weights=str(tmp_path / "away.h5"), resolution=32)
    found, _ = compare(chosen_by, tmp_path, away=away, sees=SEES)
    assert "away.h5: there is no such file" in found.left_out["away"]
    assert found.reason == "sees is the only recipe whose start weights can be had"
    with pytest.raises(TrainingError, match=r"no recipe's start weights can be had: .*away\.h5"):
        compare(chosen_by, tmp_path, away=away)


def test_classes_of_few_groups_choose_nothing(chosen_by, tmp_path):
    """No probe that judges them could have learnt them; with one class left there is no choice."""
    groups = {label: {e.group for e in chosen_by.examples if e.label == label} for label in LABELS}

    def thinned(*labels: str) -> Dataset:
        few = {min(groups[label]) for label in labels}
        return chosen_by.with_examples(
            e for e in chosen_by.examples if e.label not in labels or e.group in few
        )

    found, _ = compare(thinned("ant"), tmp_path, sees=SEES)
    assert found.photos == sum(e.label != "ant" for e in chosen_by.examples)
    assert found.starts[0].log_loss < 0.5
    with pytest.raises(TrainingError, match="too few to choose a recipe by"):
        compare(thinned("ant", "bee"), tmp_path, sees=SEES)


def test_multiply_adds_are_counted_by_hand():
    """MobileNetV2 0.35 at 224 pixels has 59 million (Sandler et al. 2018)."""
    model = build_model(Recipe(model="mobilenet_v2", resolution=224), 1000)
    assert multiply_adds(model) == pytest.approx(59e6, rel=0.02)


def never(recipe: Recipe, place: Path) -> Run:
    """Nothing is left to train."""
    pytest.fail(f"{recipe} was trained in {place}")


def test_rates_and_length_are_settled_once(photos, tmp_path):
    """Three rates of one member each; as long as the loss falls, twice the length."""
    made = []

    def train(recipe, place):
        made.append(recipe)
        return fit(load_dataset(photos), "auto", recipe, place, seed=1)

    weights = tmp_path / "start.h5"
    weights.write_bytes(b"whatever the network happens to hold")
    slow = replace(SEES, learning_rate=5e-3, members=2, blend=(0.5, 1.0), steps=12)
    slow = replace(slow, weights=str(weights))
    recipe, tried = settle_rate(slow, 54, tmp_path / "auto", train)
    assert [one.learning_rate for one in tried[:3]] == [5e-3, 2e-3, 1.25e-2]
    assert {one.members for one in made} == {1}
    assert [one.steps for one in tried[:3]] == [12] * 3
    longer = tried[3:]
    best = min(tried[:3], key=lambda one: one.log_loss)
    assert best.falling == bool(longer)
    assert longer, "a net this small still learns after 12 steps"
    assert {one.learning_rate for one in longer} == {best.learning_rate}
    assert [one.steps for one in longer] == [24, 48][: len(longer)]
    best = min(tried, key=lambda one: one.log_loss)
    assert recipe == replace(slow, learning_rate=best.learning_rate, steps=best.steps)
    again = settle_rate(slow, 54, tmp_path / "auto", never)
    assert again == (recipe, tried)
    assert {path.suffix for path in (tmp_path / "auto").iterdir()} == {".json"}


def test_recipe_rate_and_length_are_settled_together(photos, tmp_path):
    """What the comparison chose is what the trials vary; asked again, it is all there."""
    weights = tmp_path / "start.h5"
    weights.write_bytes(b"whatever the network happens to hold")
    sees = replace(SEES, weights=str(weights), members=2)
    asked = FitOptions(out=tmp_path / "run", seed=1)
    shown = Console(record=True, width=200, file=io.StringIO())

    def settled() -> tuple[str, Recipe]:
        return settle(load_dataset(photos), {"sees": sees}, asked, "as given", shown)

    name, recipe = settled()
    assert name == "sees"
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run/auto").iterdir()}
    assert {f"rate-{rate}-steps-6.json" for rate in ("0.001", "0.0004", "0.0025")} < set(kept)
    assert recipe == replace(sees, learning_rate=recipe.learning_rate, steps=recipe.steps)
    assert settled() == (name, recipe)
    again = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run/auto").iterdir()}
    assert again == kept
    words = shown.export_text()
    assert f"--recipe sees --set learning_rate={recipe.learning_rate:g}" in words
    assert "linear probes, cross-validated on 72 photos" in words
    assert "│ Pi 4          │    ? │" in words, "the network of no shipped recipe"


def test_without_training_there_is_no_rate(tmp_path):
    """Epochs 0 leave the fitted head, so nothing is tried."""
    recipe = replace(SEES, epochs=0)
    assert settle_rate(recipe, 54, tmp_path, never) == (recipe, ())


def fit_auto(photos: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`fit --recipe auto` where only the start weights below `out`'s folder can be had."""
    command = [sys.executable, "-m", "training", "fit", str(photos), "--recipe", "auto"]
    home = {"HOME": str(out.parent), "WHEATEAR_WEIGHTS": str(out.parent / "none")}
    return subprocess.run(
        [*command, "--out", str(out), "--accept", "duplicate-leak", *options],
        env=os.environ | home | {"WHEATEAR_WEIGHTS_MIRROR": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def one_start(tmp_path, monkeypatch):
    """A home folder with what Keras would have downloaded for MobileNetV2 0.35, of noise."""
    from training.starts.origin import imagenet_file
    from training.tf import keras

    monkeypatch.setenv("HOME", str(tmp_path))
    weights = imagenet_file(0.35)
    weights.parent.mkdir(parents=True)
    keras.applications.MobileNetV2(
        (224, 224, 3), alpha=0.35, include_top=False, weights=None
    ).save_weights(weights)
    return tmp_path


def test_the_command_chooses_and_goes_on(photos, one_start):
    """From `--recipe auto` to a finished run, with the one start that can be had; said on the page.

    Started again after the choice was made, nothing is compared anew; other settings are refused.
    """
    from training.report.evaluate import evaluate
    from training.report.page import write_report

    out, few = one_start / "run", ("--epochs=0", "--set=resolution=32", "--set=head_views=1")
    first = fit_auto(photos, out, *few)
    assert first.returncode == 0, first.stderr
    assert "is the only recipe whose start weights can be had" in first.stdout
    assert "insects was left out: weights inat-insects" in first.stdout.replace("\n", " ")
    compared = msgspec.json.decode((out / "auto/starts.json").read_bytes(), type=StartComparison)
    assert compared.photos == 72
    run = load_run(out)
    assert run.info.recipe_name == compared.chosen
    page = write_report(run, *evaluate(run)).read_text()
    assert "The photos chose the recipe" in page
    assert "</code>.\nData fingerprint" in page

    stopped = one_start / "stopped"
    shutil.copytree(out / "auto", stopped / "auto")
    refused = fit_auto(photos, stopped, *few, "--set=batch=24")
    assert refused.returncode == 2
    assert "other photos or settings were compared" in refused.stderr
    again = fit_auto(photos, stopped, *few)
    assert again.returncode == 0, again.stderr
    before, after = (folder / "auto/starts.json" for folder in (out, stopped))
    assert before.stat().st_mtime_ns == after.stat().st_mtime_ns, "it was compared before"


def test_a_recipe_that_is_chosen_brings_its_own_weights(photos, tmp_path):
    """`--weights` beside `--recipe auto` would leave nothing to choose."""
    said = fit_auto(photos, tmp_path, "--weights", "imagenet")
    assert said.returncode == 2
    assert "leave --weights out, or name the recipe" in said.stderr
