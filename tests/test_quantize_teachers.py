"""Finished runs that teach a smaller, pruned or clustered network beside the run's own model."""

import shutil
from typing import Any

import msgspec
import numpy as np
import pytest
from quantizing import Recorder, Stopped, asked, inspected, quantized
from there import there

from edge.errors import QuantizeError, TrainingError
from edge.model.bundle.bundle import read_bundle
from quantize.pipeline import Pipeline
from quantize.workbench import Workbench
from training.fitting.teachers import taught_by
from training.metrics import fit_temperature, log_softmax
from training.runs import load_run, save_info

SHARE = 0.8


@pytest.fixture(scope="module")
def trained(discs_run, tmp_path_factory):
    """A finished run, in which what quantization leaves is shared."""
    path = shutil.copytree(discs_run, tmp_path_factory.mktemp("runs") / "discs")
    info = load_run(path).info
    recipe = msgspec.structs.replace(info.recipe, teacher_share=SHARE)
    save_info(path, msgspec.structs.replace(info, recipe=recipe))
    return path


@pytest.fixture(scope="module")
def turned(discs_run, tmp_path_factory):
    """The same network, but each class is called by the next one's name."""
    path = shutil.copytree(discs_run, tmp_path_factory.mktemp("runs") / "turned")
    model = load_run(path).model()
    layer = model.get_layer("logits")
    layer.set_weights([np.roll(one, 1, axis=-1) for one in layer.get_weights()])
    model.save(path / "model.keras")
    return path


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    """Fewer rounds and trainings: each of them builds its graph."""
    monkeypatch.setattr("quantize.compress.channels.shrink.ROUNDS", 2)
    monkeypatch.setattr("quantize.compress.structured.MEMBERS", 2)
    monkeypatch.setattr("quantize.compress.structured.TRIAL_STEPS", 12)
    monkeypatch.setattr("quantize.compress.structured.TRIAL_ROUNDS", 1)


def bench_of(path, teachers, watcher=None, **changes):
    """A run that is quantized, with teachers."""
    run = load_run(path)
    taught = taught_by(teachers, run.dataset, run.info.recipe)
    options = asked(**({"pruning": 0.0} | changes))
    return Workbench(run, options, watcher or Recorder(), taught=taught)


def spread(run, model):
    """Of a model's logits on the test photos, at its own size."""
    spec = msgspec.structs.replace(run.info.input, width=model.input_shape[1])
    spec = msgspec.structs.replace(spec, height=spec.width)
    pixels = run.pixels(run.dataset.split("test"), spec)
    return model(pixels / np.float32(127.5) - 1).numpy().std()


@pytest.mark.parametrize(
    "how",
    [
        {"resolution": 24},
        {"budget": "macs=0.6", "resolution": 32},
        {"budget": "macs=0.5"},
        {"pruning": 0.5},
        {"clusters": 16},
    ],
    ids=lambda how: "+".join(how),
)
def test_what_teachers_say_is_learned_wherever_a_network_is_made_anew(trained, turned, how):
    """A teacher that is never right may be sure of nothing: only the run's own share is left."""
    bench = bench_of(trained, [turned], **how)
    bench.prepare()
    source = Pipeline(bench).source
    left = spread(bench.run, source) / spread(bench.run, bench.float_keras)
    assert 1 - SHARE - 0.1 < left < 1 - SHARE + 0.15
    told = there(bench.watcher).phases
    asking = [i for i, name in enumerate(told) if name == "asking the teachers"]
    assert asking, "it takes time, so it is told"
    assert asking[0] < len(told) - 1


def test_answers_are_of_the_very_pictures_that_are_shown(trained, turned):
    """From any step on: after an interruption too."""
    bench = bench_of(trained, [turned])
    schedule = bench.schedule(2, 1, 1, 1e-3)
    teacher = load_run(turned)
    pixels, truth = teacher.arrays("val")
    model = teacher.model()
    temperature = fit_temperature(model(pixels / np.float32(127.5) - 1).numpy(), truth)
    for first in (0, 5):
        lessons = list(bench.lessons(schedule, 4, first))
        assert len(lessons) == schedule.steps - first
        for images, answers in lessons:
            wanted = log_softmax(model(images).numpy(), temperature)
            np.testing.assert_allclose(answers, wanted, atol=1e-3)


def test_none_of_it_where_nobody_else_teaches(trained):
    """Labels come with the pictures, as they did, and nobody is asked."""
    bench = bench_of(trained, [])
    _, answers = next(bench.lessons(bench.schedule(1, 1, 1, 1e-3), 4))
    assert set(np.unique(answers)) == {0.0, 1.0}
    assert bench.others is None
    bench.ask_teachers(bench.schedule(1, 1, 1, 1e-3), 4)
    assert there(bench.watcher).phases == []


def test_a_share_of_the_logits_is_the_teachers_at_the_runs_own_scale(trained, turned):
    """0.8 of what the other says and 0.2 of what the run's own says, each photo's mean kept."""
    from quantize.keras.finetune import Others, with_others
    from training.tf import tf

    own = np.array([[3.0, 1.0, -1.0], [9.0, 9.0, 0.0]], np.float32)
    other = log_softmax(np.array([[0.0, 2.0, 1.0], [5.0, 0.0, 1.0]], np.float32), 1.0)
    answers = tf.constant(other, tf.float32)
    mixed = with_others(tf.constant(own), answers, Others(SHARE, 2.0)).numpy()
    np.testing.assert_allclose(
        mixed,
        [
            [1 + 0.2 * 2 - 0.8 * 2, 1 + 0.8 * 2, 1 - 0.2 * 2],
            [6 + 0.2 * 3 + 0.8 * 6, 6 + 0.2 * 3 - 0.8 * 4, 6 - 0.2 * 6 - 0.8 * 2],
        ],
        atol=1e-5,
    )
    bench = bench_of(trained, [turned])
    pixels, truth = bench.run.arrays("val")
    logits = bench.float_keras(pixels / np.float32(127.5) - 1).numpy()
    others = there(bench.others)
    assert others.share == SHARE
    assert others.temperature == pytest.approx(fit_temperature(logits, truth), rel=1e-3)


def test_other_teachers_never_meet_an_old_result(trained, turned, discs_run):
    """What was made with one is not taken for another's, nor for nobody's; the same one's is."""
    made = []
    for teachers in ([turned], [discs_run], [], [turned]):
        watcher = Recorder()
        for how in ({"resolution": 24}, {"pruning": 0.3}, {"clusters": 9}):
            bench = bench_of(trained, teachers, watcher, pruning_epochs=1, **how)
            bench.prepare()
            assert Pipeline(bench).source
        made.append(len(watcher.phases))
    assert all(made[:3])
    assert made[3] == 0


def test_a_search_with_teachers_that_was_stopped_ends_as_one_that_was_not(
    trained, turned, tmp_path
):
    """In the last training of a smaller network: to the bit."""
    runs = [shutil.copytree(trained, tmp_path / name) for name in ("stopped", "whole")]
    for run in runs:
        shutil.rmtree(run / "quantize", ignore_errors=True)
    how = {"budget": "macs=0.6", "resolution": 32, "pruning_epochs": 4}
    stopped = bench_of(runs[0], [turned], Recorder("making the network", 15), **how)
    with pytest.raises(Stopped):
        assert Pipeline(stopped).source
    one, other = (Pipeline(bench_of(run, [turned], **how)).source for run in runs)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_bundle_names_those_who_taught(trained, turned, tmp_path):
    """By recipe and the model's hash; `inspect` tells it."""
    out = tmp_path / "discs.wtr"
    open_gate: dict[str, Any] = {"tolerance": 1.0, "min_agreement": 0.0}
    quantized(trained, out, teachers=[turned], method="ptq", pruning=0, resolution=24, **open_gate)
    [teacher] = there(read_bundle(out).manifest.provenance).teachers
    assert teacher.recipe == "shallow"
    assert f"a run of shallow, SHA-256 {teacher.sha256[:16]}…" in inspected(out)


def test_rounding_alone_is_not_taught(trained, turned, tmp_path):
    """Said before any work, with what to do."""
    with pytest.raises(QuantizeError, match="rounding alone is not taught; give --budget"):
        quantized(trained, tmp_path / "x.wtr", teachers=[turned], pruning=0)
    assert not (tmp_path / "x.wtr").exists()


def test_a_teacher_that_saw_the_judging_photos_is_refused(trained, turned, tmp_path):
    """Trained on other splits: it would carry what it saw over to its student."""
    other = shutil.copytree(turned, tmp_path / "other")
    split = (other / "split.csv").read_text().replace(",val,", ",train,")
    (other / "split.csv").write_text(split)
    with pytest.raises(TrainingError, match="must not have seen what its student is judged by"):
        quantized(trained, tmp_path / "x.wtr", teachers=[other], pruning=0, resolution=24)
    assert not (tmp_path / "x.wtr").exists()
