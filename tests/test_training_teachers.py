"""Finished runs that teach another: what they say is learned, kept, and never a leak."""

import shutil

import numpy as np
import pytest
from discs import paint, small_recipe
from there import there

from edge.errors import TrainingError
from training.commands.asked import FitOptions, PhotoOptions
from training.commands.crossval import crossval
from training.data.sources import load_dataset
from training.fitting.fit import fit
from training.fitting.state import save_state
from training.fitting.teachers import Committee, taught_by
from training.fitting.train import Views
from training.input.dataset import train_dataset
from training.metrics import fit_temperature, softmax
from training.recipes import load_recipe
from training.runs import load_run
from training.tf import tf

pytestmark = pytest.mark.usefixtures("shallow")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """90 pictures of discs on noise, three classes by colour, with splits and groups."""
    return paint(tmp_path_factory.mktemp("photos"), 30, lambda i: i)


@pytest.fixture(scope="module")
def teacher(photos, tmp_path_factory):
    """A finished run, with a resolution of its own."""
    out = tmp_path_factory.mktemp("runs") / "teacher"
    return fit(load_dataset(photos), "small", small_recipe(epochs=20, resolution=40), out, seed=3)


@pytest.fixture(scope="module")
def taught(photos, teacher, tmp_path_factory):
    """A run that only learned from the teacher, not from labels."""
    out = tmp_path_factory.mktemp("runs") / "student"
    recipe = small_recipe(epochs=20, teacher_share=1)
    return fit(load_dataset(photos), "small", recipe, out, teachers=[teacher.path])


def test_a_student_says_what_its_teacher_says(taught, teacher):
    """On photos that neither was trained on, without a label ever having been looked at."""
    pixels, _ = taught.arrays("test")
    wide, _ = teacher.arrays("test")
    said = taught.model()(pixels / np.float32(127.5) - 1).numpy().argmax(1)
    wanted = teacher.model()(wide / np.float32(127.5) - 1).numpy().argmax(1)
    assert (said == wanted).mean() > 0.8
    assert taught.info.teachers[0].path == str(teacher.path)
    assert load_run(taught.path).info.teachers == taught.info.teachers


def test_wrong_teachers_teach_wrong_answers(photos, teacher, tmp_path):
    """Answers come from the teacher's own model, picture by picture."""
    turned = tmp_path / "turned"
    shutil.copytree(teacher.path, turned)
    model = teacher.model()
    layer = model.get_layer("logits")
    layer.set_weights([np.roll(one, 1, axis=-1) for one in layer.get_weights()])
    model.save(turned / "model.keras")
    recipe = small_recipe(epochs=20, teacher_share=1)
    run = fit(load_dataset(photos), "small", recipe, tmp_path / "run", teachers=[turned])
    assert there(run.info.result).kept.accuracy < 0.5


def test_each_teacher_sees_the_students_pictures_at_its_own_size(taught, teacher):
    """The same piece of the same photo, turned alike; the mean of their surest true answers."""
    order = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8], np.int32)
    committee = Committee(taught.info.teachers, taught)
    given: list[int] = []
    answers = committee.answers(Views(order, 6, 11), given.append)
    assert sum(given) == len(order) * len(committee)
    part = teacher.dataset.split("train")
    pixels = teacher.pixels(part, teacher.info.recipe.source)
    batches = train_dataset(
        pixels,
        np.zeros((len(part), 3), np.float32),
        order,
        batch=6,
        side=40,
        augment=taught.info.recipe.augment,
        seed=11,
    )
    logits = np.concatenate([teacher.model()(x).numpy() for x, _ in batches])
    seen, truth = teacher.arrays("val")
    judged = teacher.model()(seen / np.float32(127.5) - 1).numpy()
    wanted = softmax(logits, fit_temperature(judged, truth))
    np.testing.assert_allclose(np.exp(answers), wanted, atol=1e-4)
    again: list[int] = []
    kept = committee.answers(Views(order, 6, 11), again.append)
    np.testing.assert_array_equal(kept, answers)
    assert again == [len(order)], "answers on disk are not asked for again"
    [kept_at] = (taught.path / "cache").glob(f"{committee._key(Views(order, 6, 11))}*")  # noqa: SLF001
    kept_at.write_bytes(kept_at.read_bytes()[:-4])
    np.testing.assert_array_equal(committee.answers(Views(order, 6, 11), again.append), answers)
    assert len(again) > 1, "half an answer is none"
    other = committee.answers(Views(order[::-1].copy(), 6, 11), given.append)
    assert not np.array_equal(other, answers)


def test_two_teachers_count_alike(photos, teacher, tmp_path):
    """The mean of what both say, each as sure as it may be."""
    second = fit(load_dataset(photos), "small", small_recipe(epochs=3), tmp_path / "second", seed=9)
    dataset, recipe = load_dataset(photos), small_recipe()
    order = np.arange(12, dtype=np.int32)
    said = []
    for paths in ([teacher.path], [second.path], [teacher.path, second.path]):
        committee = Committee(taught_by(paths, dataset, recipe), second)
        said.append(committee.answers(Views(order, 6, 0), lambda _: None))
    np.testing.assert_allclose(said[2], (said[0] + said[1]) / 2, rtol=1e-5)


def test_an_interrupted_student_ends_as_if_never_interrupted(taught, photos, teacher, tmp_path):
    """The teachers' answers go on where training does."""
    recipe, out = small_recipe(epochs=20, teacher_share=1), tmp_path / "run"
    done = []

    def stop(folder, state):
        save_state(folder, state)
        done.append(state.epoch)
        if len(done) == 5:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.fitting.train.save_state", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(load_dataset(photos), "small", recipe, out, teachers=[teacher.path])
    with pytest.raises(TrainingError, match="begun with other teachers"):
        fit(load_dataset(photos), "small", recipe, out)
    run = fit(load_dataset(photos), "small", recipe, out, teachers=[teacher.path])
    for mine, whole in zip(run.model().get_weights(), taught.model().get_weights(), strict=True):
        np.testing.assert_array_equal(mine, whole)


def test_the_share_is_that_of_the_teachers(photos, teacher, taught, tmp_path):
    """With none of it a student is as without teachers."""
    dataset = load_dataset(photos)
    alone = fit(dataset, "small", small_recipe(), tmp_path / "alone")
    deaf = fit(
        dataset,
        "small",
        small_recipe(teacher_share=0),
        tmp_path / "deaf",
        teachers=[teacher.path],
    )
    for one, other in zip(alone.model().weights, deaf.model().weights, strict=True):
        tf.debugging.assert_equal(one, other)
    assert any(
        not np.array_equal(a, b)
        for a, b in zip(alone.model().get_weights(), taught.model().get_weights(), strict=True)
    )


def test_a_teacher_that_saw_the_students_test_photos_is_refused(photos, teacher, tmp_path):
    """Other splits, other photos, no run, an unfinished one: what, and how to mend it."""
    dataset, recipe = load_dataset(photos), small_recipe()
    moved = [
        e if i else type(e)(e.file, e.label, "test", e.group)
        for i, e in enumerate(dataset.examples)
    ]
    with pytest.raises(TrainingError, match="trained on other photos, labels or splits"):
        taught_by([teacher.path], dataset.with_examples(moved), recipe)
    with pytest.raises(TrainingError, match="no run here"):
        taught_by([tmp_path], dataset, recipe)
    for name, cure in (("history.csv", "no run here"), ("probe.keras", "has no linear probe")):
        with pytest.raises(TrainingError, match=cure):
            taught_by([teacher.path / name], dataset, recipe)
    half = tmp_path / "half"
    shutil.copytree(teacher.path, half)
    (half / "model.keras").unlink()
    with pytest.raises(TrainingError, match="not finished"):
        taught_by([half], dataset, recipe)
    for name in ("mixup", "cutmix"):
        mixing = load_recipe("small", ["resolution=32", f"augment.{name}=0.5"])
        with pytest.raises(TrainingError, match="mixes pictures"):
            taught_by([teacher.path], dataset, mixing)
    with pytest.raises(TrainingError, match="by stretch, the student by pad"):
        taught_by([teacher.path], dataset, small_recipe(crop="pad"))


def test_a_teacher_that_changed_meanwhile_is_refused(teacher, taught, tmp_path):
    """Its answers would lie on disk under the name of the former one's."""
    changed = tmp_path / "changed"
    shutil.copytree(teacher.path, changed)
    known = taught_by([changed], teacher.dataset, taught.info.recipe)
    model = teacher.model()
    model.set_weights([one * 2 for one in model.get_weights()])
    model.save(changed / "model.keras")
    views = Views(np.arange(6, dtype=np.int32), 6, 77)
    with pytest.raises(TrainingError, match="has changed since the student was begun"):
        Committee(known, taught).answers(views, lambda _: None)


def test_folds_are_taught_by_the_same_folds(photos, tmp_path):
    """The teacher of a fold saw nothing of what that fold is judged by."""
    settings = ["model=shallow", "resolution=32", "epochs=2", "batch=6", "learning_rate=5e-3"]
    given = PhotoOptions(data=photos, accept=["duplicate-leak"])

    def asked(name, teacher):
        return FitOptions(out=tmp_path / name, recipe="small", change=settings, teacher=teacher)

    crossval(given, asked("plain", None), 3)
    crossval(given, asked("taught", [tmp_path / "plain"]), 3)
    for number in (1, 2, 3):
        info = load_run(tmp_path / "taught" / f"fold-{number}").info
        assert info.teachers[0].path == str(tmp_path / "plain" / f"fold-{number}")
    crossval(given, asked("taught", [tmp_path / "plain"]), 3)
    with pytest.raises(TrainingError, match="another recipe, seed, start or teacher"):
        crossval(given, asked("taught", None), 3)
