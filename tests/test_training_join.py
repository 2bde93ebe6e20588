"""Runs whose networks become one: the mean of their answers, as one model like any other."""

import shutil

import msgspec
import numpy as np
import pytest
from discs import paint, small_recipe
from there import there

from edge.errors import TrainingError
from edge.model.bundle.manifest import StartWeights, starts_of
from quantize.keras.channels import find_channels
from training.commands.fit import evaluate
from training.commands.fit import join as join_command
from training.data.sources import load_dataset
from training.fitting.fit import fit
from training.fitting.join import join
from training.metrics import fit_temperature, log_softmax
from training.recipes import load_recipe
from training.runs import UsedRun, load_run, save_info
from training.tf import keras, tf

pytestmark = pytest.mark.usefixtures("shallow")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """90 pictures of discs on noise; every seventh has a label that is not its colour's."""
    folder = paint(tmp_path_factory.mktemp("photos"), 30, lambda i: i)
    lines = (folder / "split.csv").read_text().splitlines()
    for i in range(1, len(lines), 7):
        file, label, *rest = lines[i].split(",")
        lines[i] = ",".join([file, "bee" if label == "ant" else "ant", *rest])
    (folder / "split.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def alone(photos, tmp_path_factory):
    """Two finished runs of networks that take pictures of other sizes, with linear probes."""
    folder, dataset = tmp_path_factory.mktemp("runs"), load_dataset(photos)
    start = f"weights={__file__}"
    recipes = [
        load_recipe("small", [*changes, "model=shallow", "batch=6", "head_views=1", start])
        for changes in (
            ["resolution=32", "epochs=12", "learning_rate=5e-3"],
            ["resolution=40", "epochs=12", "learning_rate=3e-3"],
        )
    ]
    return [
        fit(dataset, f"net-{i}", recipe, folder / str(i), seed=i)
        for i, recipe in enumerate(recipes)
    ]


@pytest.fixture(scope="module")
def whole(alone, tmp_path_factory):
    """The run that is both."""
    return join([run.path for run in alone], tmp_path_factory.mktemp("joined") / "run")


def scaled(pixels):
    """Pixels as a network takes them."""
    return pixels.astype(np.float32) / np.float32(127.5) - 1


def test_those_who_taught_the_parts_are_named_once(alone, tmp_path):
    """They shaped the whole too."""
    teachers = [UsedRun(path=name, recipe_name=name, sha256="0" * 64) for name in ("a", "b")]
    parts = []
    for number, run in enumerate(alone):
        part = shutil.copytree(run.path, tmp_path / str(number))
        taught = tuple(teachers[: number + 1])
        save_info(part, msgspec.structs.replace(run.info, teachers=taught))
        parts.append(part)
    assert join(parts, tmp_path / "run").info.teachers == tuple(teachers)


def test_the_answer_is_the_mean_of_both(whole, alone):
    """Log-probabilities, each at the temperature at which a network is as sure as it may be."""
    large, _ = whole.arrays("test")
    assert large.shape[1] == 40, "pictures of the largest size"
    wanted = []
    for run in alone:
        side = run.info.input.width
        seen = tf.image.resize(scaled(large), (side, side)).numpy()
        pixels, truth = run.arrays("val")
        temperature = fit_temperature(run.model()(scaled(pixels)).numpy(), truth)
        wanted.append(log_softmax(run.model()(seen).numpy(), temperature))
    said = log_softmax(whole.model()(scaled(large)).numpy())
    mean = np.mean(wanted, axis=0)
    np.testing.assert_allclose(said, log_softmax(mean), atol=2e-4)


def test_the_run_says_what_it_is_of(whole, alone):
    """Networks, start weights, what each is worth alone; nothing was trained."""
    info = load_run(whole.path).info
    assert [one.path for one in info.joined] == [str(run.path) for run in alone]
    assert info.recipe_name == "net-0 + net-1"
    assert info.starts == starts_of(alone[0].info.start), "the same file, once"
    result = there(info.result)
    names = [one.name for one in result.candidates]
    assert names == ["mean of 2 networks", "net-0", "net-1", "linear probe"]
    assert result.kept.log_loss == min(one.log_loss for one in result.candidates)
    for run, one in zip(alone, result.candidates[1:], strict=False):
        assert one.log_loss == pytest.approx(there(run.info.result).kept.log_loss, abs=1e-6)


def test_it_is_judged_and_reported_as_any_other(whole):
    """`evaluate` answers with it, beside both linear probes joined."""
    evaluate(whole.path, None, None)
    page = (whole.path / "report.html").read_text()
    assert "Joined of" in page
    assert "mean of 2 networks (kept)" in page
    assert "ahead of the linear probe" in page or "linear probe" in page


def test_channels_that_stand_side_by_side_are_left_alone(whole):
    """Those inside each network may be cut or scaled as before."""
    model = whole.model()
    found = find_channels(model)
    last = found.roles["logits"]
    assert last.reads == -1
    inside = [group for group in found.groups if group.writers]
    assert inside
    prefixes = {name[:5] for group in inside for name in (*group.writers, *group.readers)}
    assert prefixes == {"net1_", "net2_"}
    for group in inside:
        names = (*group.writers, *group.carriers, *group.readers)
        assert len({name[:5] for name in names}) == 1, "no group spans both networks"


def test_a_network_that_adds_nothing_is_not_joined(alone, tmp_path):
    """The same one twice takes twice the time; nothing is left of the try."""
    with pytest.raises(TrainingError, match="hardly more of the validation photos than net-0"):
        join([alone[0].path, alone[0].path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_joined_is_named(alone, whole, photos, tmp_path):
    """One run, other splits, another crop, a joined one, an unfinished one, a folder in use."""
    paths = [run.path for run in alone]
    out = tmp_path / "out"
    with pytest.raises(TrainingError, match="two runs or more"):
        join(paths[:1], out)
    with pytest.raises(TrainingError, match="is joined already"):
        join([paths[0], whole.path], out)
    with pytest.raises(TrainingError, match="holds a run"):
        join(paths, whole.path)
    begun = tmp_path / "begun"
    begun.mkdir()
    save_info(begun, msgspec.structs.replace(alone[0].info, result=None))
    before = (begun / "run.json").read_bytes()
    with pytest.raises(TrainingError, match="holds a run"):
        join(paths, begun)
    assert (begun / "run.json").read_bytes() == before
    dataset = load_dataset(photos)
    moved = dataset.with_examples(
        e if i else type(e)(e.file, e.label, "test", e.group)
        for i, e in enumerate(dataset.examples)
    )
    other = fit(moved, "small", small_recipe(epochs=1), tmp_path / "other")
    with pytest.raises(TrainingError, match="other photos, labels or splits"):
        join([paths[0], other.path], out)
    padded = fit(dataset, "small", small_recipe(epochs=1, crop="pad"), tmp_path / "padded")
    with pytest.raises(TrainingError, match="square by pad"):
        join([paths[0], padded.path], out)
    (padded.path / "model.keras").unlink()
    with pytest.raises(TrainingError, match="not finished"):
        join([paths[0], padded.path], out)
    assert not out.exists()


def test_the_command_says_what_each_is_worth(alone, tmp_path, capsys):
    """Both alone, both together, and what to do next."""
    join_command([run.path for run in alone], tmp_path / "run")
    said = capsys.readouterr().out
    assert said.count("validation accuracy") == 4
    assert f"next: python -m training evaluate {tmp_path / 'run'}" in said


def test_a_manifest_names_all_start_weights():
    """One as before, several of joined networks, none from scratch."""
    one = StartWeights(name="a", sha256="0" * 64)
    assert starts_of(None) == ()
    assert starts_of(one) == (one,)
    assert starts_of((one, one)) == (one, one)


def test_the_network_is_flat(whole):
    """Tools that work layer by layer find no model inside the model."""
    assert not [layer for layer in whole.model().layers if isinstance(layer, keras.Model)]
