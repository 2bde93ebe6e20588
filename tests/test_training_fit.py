"""Training end to end on pictures of coloured shapes: finished, resumed, repeated, refused."""

import csv
import hashlib
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from discs import COLOURS, paint, small_recipe
from PIL import Image
from there import there

from edge.errors import TrainingError
from training import metrics
from training.costs import cost_rows
from training.data.sources import load_dataset
from training.data.tables import write_csv
from training.fitting.fit import fit, still_falling
from training.recipe import epochs_of
from training.recipes import load_recipe, recipe_names
from training.runs import Run, load_run

#: Seconds after which something hangs, on however busy a machine.
PATIENCE = 300

pytestmark = pytest.mark.usefixtures("shallow")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """90 pictures of discs on noise, three classes by colour, with splits and groups."""
    return paint(tmp_path_factory.mktemp("photos"), 30, lambda i: i // 5 if i % 5 < 3 else i + 50)


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    """A finished run on those pictures."""
    out = tmp_path_factory.mktemp("runs") / "plain"
    return fit(load_dataset(photos), "small", small_recipe(epochs=45), out, seed=3)


def test_a_run_learns_and_holds_everything_to_repeat_it(finished, photos):
    """Model, history, split and resolved settings are on disk; the state is gone."""
    run = load_run(finished.path)
    assert there(run.info.result).kept.accuracy > 0.8
    assert run.info.labels == ("ant", "bee", "moth")
    assert run.info.recipe.resolution == 32
    assert run.info.start is None
    assert run.info.data_fingerprint == load_dataset(photos).fingerprint()
    with (run.path / "history.csv").open() as file:
        judged = [int(row["epoch"]) for row in csv.DictReader(file)]
    assert judged == [*range(2, 45, 2), 45], "about twenty judgements, the last at the end"
    assert there(run.info.result).epochs == 45
    assert list((run.path / "tensorboard").iterdir())
    assert not (run.path / "state").exists()
    pixels, labels = run.arrays("test")
    assert pixels.shape == (18, 32, 32, 3)
    assert pixels.dtype == np.uint8
    assert np.bincount(labels).tolist() == [6, 6, 6]


def test_the_model_returns_logits_for_scaled_floats(finished):
    """float32 (n, 32, 32, 3) in, three unbounded numbers out, right on test photos."""
    model = finished.model()
    pixels, labels = finished.arrays("test")
    logits = model((pixels.astype(np.float32) - 127.5) / 127.5).numpy()
    assert logits.shape == (18, 3)
    assert np.mean(logits.argmax(axis=1) == labels) > 0.8
    assert not np.allclose(logits.sum(axis=1), 1)


def test_a_killed_run_ends_as_if_never_interrupted(photos, tmp_path):
    """SIGKILL inside the second member, the same command again: the same weights, bit by bit."""
    recipe = small_recipe(model="small", alpha=0.5, epochs=41, members=2, patience=41)
    whole = fit(load_dataset(photos), "small", recipe, tmp_path / "whole", seed=1)
    command = [sys.executable, "-m", "training", "fit", str(photos), "--recipe", "small"]
    command += ["--out", str(tmp_path / "killed"), "--seed", "1", "--accept", "duplicate-leak"]
    for key in ("resolution", "epochs", "batch", "learning_rate", "alpha", "members", "patience"):
        command += ["--set", f"{key}={getattr(recipe, key)}"]
    state = tmp_path / "killed" / "state" / "state.npz"
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            _wait_for_second_member(state, process)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "model.keras").exists()
    resumed = fit(load_dataset(photos), "small", recipe, tmp_path / "killed", seed=1)
    for a, b in zip(whole.model().get_weights(), resumed.model().get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def _wait_for_second_member(state: Path, process) -> None:
    from training.fitting.state import load_state

    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        found = load_state(state.parent)
        if found is not None and found.member == 1 and found.epoch >= 1:
            return
        time.sleep(0.01)
    pytest.fail(f"not reached: {process.stderr.read().decode()[-2000:]}")


def test_another_seed_gives_another_model(photos, tmp_path):
    """Seeds decide: two of them differ."""
    models = [
        fit(load_dataset(photos), "small", small_recipe(epochs=1), tmp_path / str(seed), seed)
        for seed in (1, 2)
    ]
    first, second = (run.model().get_weights()[0] for run in models)
    assert not np.array_equal(first, second)


def test_a_finished_run_is_never_overwritten(finished, photos):
    """The same command on a finished run is refused and leaves its files alone."""
    before = (finished.path / "model.keras").read_bytes()
    with pytest.raises(TrainingError, match="holds a finished run"):
        fit(load_dataset(photos), "small", small_recipe(), finished.path, seed=3)
    assert (finished.path / "model.keras").read_bytes() == before


def test_a_run_of_another_version_is_named_as_one(finished, tmp_path):
    """What was written before a run had candidates is told apart from a damaged file."""
    older = msgspec.json.decode((finished.path / "run.json").read_bytes())
    older["schema"] = 1
    older["result"] = {"best_epoch": 3, "epochs": 4, "val_accuracy": 0.9}
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(older))
    with pytest.raises(TrainingError, match=r"another version of this program \(schema 1, .* 2"):
        load_run(tmp_path)


def test_an_unfinished_run_of_other_settings_is_refused(finished, photos, tmp_path):
    """Going on with another recipe would mix two experiments."""
    out = tmp_path / "begun"
    out.mkdir()
    info = msgspec.structs.replace(finished.info, result=None)
    (out / "run.json").write_bytes(msgspec.json.encode(info))
    with pytest.raises(TrainingError, match="was begun with another recipe"):
        fit(load_dataset(photos), "small", small_recipe(epochs=9), out, seed=3)


@pytest.mark.parametrize("change", [{"split": "test"}, {"group": "another"}])
def test_an_unfinished_run_of_other_splits_is_refused(finished, photos, tmp_path, change):
    """Going on would train and judge by the old ones, whatever the table says by now."""
    out = tmp_path / "begun"
    out.mkdir()
    dataset = load_dataset(photos)
    info = msgspec.structs.replace(finished.info, result=None)
    (out / "run.json").write_bytes(msgspec.json.encode(info))
    write_csv(dataset, out / "split.csv")
    first, *others = dataset.examples
    changed = dataset.with_examples([replace(first, **change), *others])
    said = (
        r"was begun with other names, splits or groups of photos \(ant/00\.png,ant,train,ant0, now"
    )
    with pytest.raises(TrainingError, match=said):
        fit(changed, "small", finished.info.recipe, out, seed=3)


def test_broken_photos_are_named(photos, tmp_path):
    """A truncated file stops the run before training, by name."""
    broken = tmp_path / "broken"
    for label in COLOURS:
        (broken / label).mkdir(parents=True)
        for file in (photos / label).iterdir():
            (broken / label / file.name).write_bytes(file.read_bytes())
    (broken / "split.csv").write_bytes((photos / "split.csv").read_bytes())
    (broken / "bee" / "01.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(TrainingError, match=r"1 photos cannot be decoded: .*bee/01\.png"):
        fit(load_dataset(broken), "small", small_recipe(), tmp_path / "out")
    assert not (tmp_path / "out" / "model.keras").exists()


def test_evaluation_and_report_of_a_finished_run(finished):
    """Figures agree with the model's answers; the page is one file without links outside."""
    from training.report.evaluate import evaluate, save
    from training.report.page import write_report

    evaluation, answers = evaluate(finished)
    pixels, labels = finished.arrays("test")
    logits = finished.model()((pixels.astype(np.float32) - 127.5) / 127.5).numpy()
    np.testing.assert_allclose(answers.logits, logits, atol=1e-4)
    assert evaluation.accuracy == np.mean(logits.argmax(axis=1) == labels)
    assert evaluation.accuracy_interval.low < evaluation.accuracy <= 1
    assert sum(map(sum, evaluation.confusion)) == evaluation.n == 18
    save(finished, evaluation)
    page = write_report(finished, evaluation, answers).read_text()
    assert msgspec.json.decode((finished.path / "evaluation.json").read_bytes())["n"] == 18
    assert "Class by class" in page
    assert evaluation.cost is None, "32 pixels are no shipped recipe's"
    assert "The network of this run is none of those below" in page
    for name, *cells in cost_rows({name: load_recipe(name) for name in recipe_names()}):
        row = "".join(f'<td class="n">{cell}</td>' for cell in cells)
        assert f'<tr><td class="name">{name}</td>{row}</tr>' in page
    assert "By confidence\nalone: if answers below" in page
    assert "http" not in page.replace("http-equiv", "")


def test_foreign_photos_are_counted(finished, tmp_path):
    """--unknown: how many pictures of nothing known fall below the threshold."""
    from training.report.evaluate import evaluate

    for i, level in enumerate((0, 128, 255)):
        Image.new("RGB", (50, 50), (level,) * 3).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    evaluation, _ = evaluate(finished, unknown=tmp_path)
    assert evaluation.unknown.by == "max-probability"
    assert evaluation.unknown.foreign == 3
    assert 0 <= there(evaluation.unknown.caught_foreign) <= 1


def copied(finished, photos, tmp_path):
    """A copy of the pictures, and the finished run as if it had been made of them."""
    shutil.copytree(photos, tmp_path / "photos")
    shutil.copytree(finished.path, tmp_path / "run")
    run = load_run(tmp_path / "run")
    info = msgspec.structs.replace(run.info, data=str(tmp_path / "photos"))
    return Run(run.path, info)


def test_the_cache_holds_what_lies_there(finished, photos, tmp_path):
    """Two photos of one class that change places between the splits: names and contents in all are
    as before, and still no split is given the other's photo."""
    run = copied(finished, photos, tmp_path)
    first, other = (run.dataset.root / "ant" / name for name in ("00.png", "04.png"))
    before = {split: run.arrays(split)[0].copy() for split in ("train", "test")}
    first.rename(first.with_name("x"))
    other.rename(first)
    first.with_name("x").rename(other)
    assert np.array_equal(run.arrays("train")[0][0], before["test"][0])
    assert np.array_equal(run.arrays("test")[0][0], before["train"][0])


@pytest.mark.parametrize("when", ["after", "while"])
def test_photos_that_changed_are_never_judged_as_those_of_the_run(finished, photos, tmp_path, when):
    """A photo that is replaced after training, or while it is decoded, is no error of the model."""
    run = copied(finished, photos, tmp_path)
    changed = run.dataset.root / "bee" / ("04.png" if when == "after" else "00.png")

    def overwrite(_: int = 0) -> None:
        changed.write_bytes((run.dataset.root / "moth" / "04.png").read_bytes())

    if when == "after":
        overwrite()
    progress = None if when == "after" else overwrite
    with pytest.raises(TrainingError, match=r"photos have changed since .*run was begun"):
        run.pixels(run.dataset.split("test"), run.info.input, progress)
    shutil.copy2(photos / "bee" / changed.name, changed)
    assert len(run.pixels(run.dataset.split("test"), run.info.input)) == 18


@pytest.fixture(scope="module")
def beside_a_probe(photos, tmp_path_factory):
    """A run with start weights (whatever the network happens to hold), members and shares."""
    recipe = small_recipe(
        weights=__file__, head_views=1, epochs=3, members=2, blend="[0.5,1]", learning_rate=5e-3
    )
    out = tmp_path_factory.mktemp("runs") / "probed"
    return fit(load_dataset(photos), "small", recipe, out, seed=2)


def test_what_tells_most_of_the_validation_photos_is_kept(beside_a_probe):
    """Probe, head, members and shares are listed by log loss; the model is the first of them."""
    result = there(load_run(beside_a_probe.path).info.result)
    assert {c.name for c in result.candidates} == {
        "linear probe",
        "fitted head",
        "50% of first member",
        "50% of mean of 2 members",
        "first member",
        "mean of 2 members",
    }
    losses = [c.log_loss for c in result.candidates]
    assert losses == sorted(losses)
    pixels, labels = beside_a_probe.arrays("val")
    logits = beside_a_probe.model()((pixels.astype(np.float32) - 127.5) / 127.5).numpy()
    assert metrics.calibrated_log_loss(logits, labels) == pytest.approx(losses[0], abs=1e-4)


def test_the_report_stands_beside_the_linear_probe(beside_a_probe):
    """The probe answers the same test photos; the page says how far the model is ahead."""
    from training.report.evaluate import evaluate
    from training.report.page import write_report

    evaluation, answers = evaluate(beside_a_probe)
    pixels, labels = beside_a_probe.arrays("test")
    logits = beside_a_probe.probe()((pixels.astype(np.float32) - 127.5) / 127.5).numpy()
    right = np.mean(logits.argmax(axis=1) == labels)
    probe = there(evaluation.probe)
    assert probe.accuracy == right
    assert probe.ahead == pytest.approx(evaluation.accuracy - right)
    low, high = probe.ahead_interval
    assert low <= probe.ahead <= high
    page = write_report(beside_a_probe, evaluation, answers).read_text()
    assert "A linear probe, logistic regression" in page
    assert f"{beside_a_probe.info.result.kept.name} (kept)" in page


def test_what_it_began_with_is_written_down(beside_a_probe, photos, tmp_path):
    """Name and hash of the file, in run.json and on the page; another file is no way to go on."""
    from training.report.evaluate import evaluate
    from training.report.page import write_report

    [start] = load_run(beside_a_probe.path).info.starts
    digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    assert (start.name, start.sha256, start.licence) == (Path(__file__).name, digest, "")
    page = write_report(beside_a_probe, *evaluate(beside_a_probe)).read_text()
    assert f"Start weights {start.name},\nSHA-256 <code>{digest[:16]}" in page
    recipe = small_recipe(weights=str(tmp_path / "start.h5"), head_views=1)
    out = tmp_path / "begun"
    out.mkdir()
    info = msgspec.structs.replace(beside_a_probe.info, recipe=recipe, result=None)
    (out / "run.json").write_bytes(msgspec.json.encode(info))
    with pytest.raises(TrainingError, match=r"weights .*start\.h5: No such file"):
        fit(load_dataset(photos), "small", recipe, out, seed=2)
    (tmp_path / "start.h5").write_bytes(b"other weights")
    with pytest.raises(TrainingError, match="was begun with another start"):
        fit(load_dataset(photos), "small", recipe, out, seed=2)


def test_where_training_harms_the_probe_is_the_model(photos, tmp_path):
    """A rate that destroys what was there: the probe is kept, and it is said so."""
    recipe = small_recipe(weights=__file__, epochs=1, learning_rate=1.0)
    run = fit(load_dataset(photos), "small", recipe, tmp_path / "harmed", seed=2)
    result = there(run.info.result)
    assert result.kept is result.probe
    for a, b in zip(run.model().get_weights(), there(run.probe()).get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_few_photos_train_as_many_steps_as_many_photos():
    """A floor in steps adds epochs; without training there are none."""
    recipe = small_recipe(epochs=4, batch=10, steps=100)
    assert epochs_of(recipe, 90) == 12
    assert epochs_of(recipe, 2000) == 4
    assert epochs_of(recipe, 3) == 100
    assert epochs_of(small_recipe(epochs=0, head_views=1, steps=100), 90) == 0


def test_members_are_drawn_as_members(beside_a_probe):
    """One line for each, over its own epochs, not one saw-tooth over all."""
    from training.report.plots import history

    drawing = str(history(beside_a_probe.path / "history.csv", 0.5))
    assert "epoch of each member" in drawing
    assert "linear probe, val" in drawing


def rows(*losses, member=1.0):
    """History of one member."""
    return [{"member": member, "val_loss": loss} for loss in losses]


@pytest.mark.parametrize(
    ("history", "found"),
    [
        (rows(1.0, 0.8, 0.7, 0.6), (0.7, 0.6)),
        (rows(1.0, 0.8, 0.7, 0.695), None),
        (rows(1.0, 0.5, 0.7, 0.6), None),
        (rows(1.0, 0.6) + rows(1.0, 0.99, member=2.0), None),
        (rows(1.0), None),
        (rows(0.5, 0.4, member=0.0), None),
        ([], None),
    ],
    ids=["falls", "flat", "rose", "last member counts", "one epoch", "no member", "nothing"],
)
def test_a_loss_that_still_falls_is_seen(history, found):
    """The end is the lowest, and clearly below the epochs before."""
    assert still_falling(history) == found
