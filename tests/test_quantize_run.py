"""Run -> bundle on a small net: pruned, trained with rounding, judged, packed, looked into."""

import shutil

import flatbuffers
import msgspec
import numpy as np
import pytest
import tiny
from ai_edge_litert import schema_py_generated as schema
from discs import COLOURS
from quantizing import Recorder, Stopped, asked, fresh_copy, inspected, quantized
from there import there

from edge.errors import ParityError, QuantizeError
from edge.model.bundle.bundle import read_bundle
from edge.model.bundle.manifest import StartWeights, UnknownMetrics
from edge.model.bundle.signing import generate, load_public_key
from edge.model.classifier import Classifier
from edge.model.image.preprocessing import decode, fit, load, quantise
from edge.model.picture_statistics import brightness_bin, confidence_bin, look, sharpness_bin
from edge.model.tflite import facts
from quantize.bundle import package
from quantize.bundle.unknown import Rule
from quantize.options import Options
from quantize.pipeline import Pipeline
from quantize.tflite.graph import check_all_int8, layers
from quantize.workbench import Watcher, Workbench
from training.runs import load_run, save_info
from training.tflite import read_graph
from training.unknown.choose import CLASSES
from training.unknown.fit import Confidence, Fitted
from training.unknown.judge import MADE

START = StartWeights(name="moths", source="a shelf @ 7", licence="CC0-1.0", sha256="5e" * 32)


@pytest.fixture(scope="module")
def trained(discs_run, tmp_path_factory):
    """A finished float run that says where it began; what quantization leaves in it is shared."""
    path = shutil.copytree(discs_run, tmp_path_factory.mktemp("runs") / "discs")
    save_info(path, msgspec.structs.replace(load_run(path).info, start=START))
    return path


@pytest.fixture(scope="module")
def photos(trained):
    """120 pictures of coloured discs on noise, that the run was trained on."""
    return load_run(trained).dataset.root


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """A folder of 20 pictures without discs: stripes of any colours."""
    folder, rng = tmp_path_factory.mktemp("foreign") / "stripes", np.random.default_rng(3)
    folder.mkdir()
    for i in range(20):
        rows = np.repeat(rng.integers(0, 256, (8, 1, 3), dtype=np.uint8), 5, axis=0)
        (folder / f"{i:02d}.png").write_bytes(tiny.png(np.repeat(rows, 48, axis=1)))
    return folder


@pytest.fixture(scope="module")
def bundle(trained, strange, tmp_path_factory):
    """A pruned and trained int8 bundle of that run."""
    out = tmp_path_factory.mktemp("bundles") / "discs.wtr"
    quantized(trained, out, unknown=[strange])
    return out


def test_the_bundle_proves_itself_through_the_device_program(bundle, photos):
    """Read, verified and self-tested by `edge`, and right on held-out pictures."""
    with Classifier.from_bundle(bundle) as classifier:
        said = {
            label: [
                classifier.classify(decode(photos / label / f"{i:02d}.png")).alternatives[0].label
                for i in range(4, 40, 5)
            ]
            for label in COLOURS
        }
    right = sum(answer == label for label, answers in said.items() for answer in answers)
    assert right >= 23


def test_every_operator_works_on_int8_and_pixels_are_levels(bundle, photos):
    """The flatbuffer holds no other arithmetic, and a pixel p enters as p - 128 exactly."""
    found = read_bundle(bundle)
    check_all_int8(read_graph(found.model))
    spec = found.manifest.input
    pixels = load(photos / "ant" / "00.png", spec)
    assert np.array_equal(quantise(pixels, spec)[0], pixels.astype(np.int16) - 128)


def test_zeros_survive_quantization_aware_training(bundle):
    """Half of all weights are stored as exact zeros."""
    found = layers(read_graph(read_bundle(bundle).model))
    assert len(found) == 4
    assert sum(x.zeros for x in found) >= sum(x.size for x in found) // 2 - len(found)


def test_the_bundle_says_what_it_is_and_how_good(bundle, trained):
    """Labels in manifest and metadata, figures on test, provenance, goldens for each class."""
    found = read_bundle(bundle)
    m, run = found.manifest, load_run(trained)
    assert (
        tuple(label.id for label in m.labels) == run.info.labels == facts.read(found.model).labels
    )
    assert (there(m.metrics).split, there(m.metrics).n) == ("test", 24)
    assert there(m.metrics).int8.accuracy >= 0.9
    assert set(there(m.metrics).per_class) == set(COLOURS)
    assert (there(m.provenance).method, there(m.provenance).pruning) == ("qat", 0.5)
    assert there(m.provenance).data_fingerprint == run.info.data_fingerprint
    assert there(m.provenance).start == START
    assert "moths (a shelf @ 7, CC0-1.0), SHA-256 5e5e5e5e5e5e5e5e…" in inspected(bundle)
    assert len(m.goldens) == 3
    assert m.output.kind == "logits"


def test_the_unknown_rule_does_on_the_device_what_its_figures_say(bundle, trained, strange):
    """Files through the device program: as many stay and as many are caught as the bundle tells."""
    told = there(there(read_bundle(bundle).manifest.metrics).unknown)
    assert list(told.kinds) == ["stripes", MADE]
    test = load_run(trained).dataset.split("test")
    with Classifier.from_bundle(bundle) as classifier:
        of_test = [classifier.classify(decode(test.path(e))) for e in test.examples]
        reasons = [classifier.classify(decode(path)).reason for path in strange.iterdir()]
    right = [
        one.reason
        for one, e in zip(of_test, test.examples, strict=True)
        if one.alternatives[0].label == e.label
    ]
    assert told.kept == pytest.approx(1 - right.count("unknown") / len(right))
    stripes = told.kinds["stripes"]
    assert (stripes.n, round(stripes.caught * 20)) == (20, reasons.count("unknown"))
    assert stripes.caught > 0.9
    assert (told.chosen_by, list(told.ways)) == (CLASSES, ["likeness", "none", "confidence"])
    assert f"told by {told.chosen}" in inspected(bundle)
    assert "stripes" in inspected(bundle)


def test_where_confidence_tells_better_the_bundle_carries_no_rule(trained, tmp_path):
    """Neither file nor second output; the device goes by the probability, at that threshold."""
    bench = Workbench(load_run(fresh_copy(trained, tmp_path)), asked(method="ptq"), Recorder())
    pipeline = Pipeline(bench)
    outcome = pipeline.judge(pipeline.int8_model())
    rule = Rule(Fitted(None, b"", 0.54321, Confidence(1.0)), UnknownMetrics(kept=1.0))
    identity = package.Identity(
        name="discs",
        version="1.0.0",
        created=package.created(0),
        labels=bench.run.info.labels,
        provenance=package.provenance(bench.run, bench.options),
    )
    path = tmp_path / "discs.wtr"
    package.write(path, outcome, rule, identity, bench.run.dataset.root)
    found = read_bundle(path)
    decision = found.manifest.decision
    assert (decision.unknown, decision.unknown_threshold) == ("max-probability", 0.5432)
    assert (found.unknown_rule, found.manifest.unknown) == (None, None)
    with Classifier.from_bundle(path) as classifier:
        assert len(classifier.runtime.outputs) == 1


def test_the_reference_is_what_the_device_sees_of_the_validation_photos(bundle, trained):
    """Files through the device program fall into the very bins that the bundle counts."""
    told, run = there(read_bundle(bundle).manifest.reference), load_run(trained)
    val = run.dataset.split("val")
    with Classifier.from_bundle(bundle) as classifier:
        pixels = [load(val.path(example), classifier.input) for example in val.examples]
        found = [classifier.classify(one) for one in pixels]
    looks = [look(one) for one in pixels]
    assert (told.split, told.n) == ("val", len(val))
    for name, bins in {
        "labels": [classifier.labels.index(one.alternatives[0].label) for one in found],
        "confidence": [confidence_bin(one.confidence) for one in found],
        "brightness": [brightness_bin(one.brightness) for one in looks],
        "sharpness": [sharpness_bin(one.sharpness) for one in looks],
    }.items():
        counts = getattr(told, name)
        assert np.bincount(bins, minlength=len(counts)).tolist() == list(counts), name


def test_one_golden_picture_is_stored_as_it_was_taken(bundle):
    """48 x 40 for a model of 32 x 32: a device that resizes otherwise does not pass."""
    found = read_bundle(bundle)
    shapes = {name: decode(data).shape for name, data in found.goldens.items()}
    assert sorted(shapes.values()) == [(32, 32, 3), (32, 32, 3), (40, 48, 3)]
    (name,) = [name for name, shape in shapes.items() if shape == (40, 48, 3)]
    only = next(golden for golden in found.manifest.goldens if golden.file == name)
    with Classifier.from_bundle(found) as classifier:
        scores = classifier.raw(decode(found.goldens[name]))
        other = classifier.raw(fit(decode(found.goldens[name])[:32, :32], found.manifest.input))
    assert np.array_equal(scores, only.scores)
    assert np.abs(other.astype(int) - scores).max() > only.tolerance


def test_source_date_epoch_sets_the_date(trained, bundle, tmp_path, monkeypatch):
    """Reproducible builds give their own time; nothing else changes."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    quantized(trained, tmp_path / "discs.wtr")
    dated = read_bundle(tmp_path / "discs.wtr")
    assert dated.manifest.created == "1970-01-02T00:00:00Z"
    assert dated.model == read_bundle(bundle).model


def test_an_interrupted_command_goes_on_and_gives_the_same_bytes(
    bundle, trained, strange, tmp_path
):
    """All anew from the float model, killed in training, repeated: pruning is not done again.

    The bundle is, byte for byte, that of a command that was never stopped.
    """
    copy, options = fresh_copy(trained, tmp_path), asked()
    first, again = Recorder("quantization-aware"), Recorder()
    with pytest.raises(Stopped):
        Pipeline(Workbench(load_run(copy), options, first)).int8_model()
    assert any(name.startswith("pruning") for name in first.phases)
    Pipeline(Workbench(load_run(copy), options, again)).int8_model()
    assert [name for name in again.phases if "prun" in name] == []
    assert any(line.startswith("pruned model taken from") for line in again.lines)
    quantized(copy, tmp_path / "discs.wtr", unknown=[strange])
    assert (tmp_path / "discs.wtr").read_bytes() == bundle.read_bytes()


def sabotage(model):
    """The model with the rows of its last weights in another order: classes are mixed up."""
    tree = schema.ModelT.InitFromPackedBuf(model, 0)
    weights = read_graph(model).operators[-1].inputs[1]
    buffer = tree.buffers[tree.subgraphs[0].tensors[weights].buffer]
    buffer.data = np.roll(np.asarray(buffer.data, np.uint8).reshape(3, -1), 1, axis=0).reshape(-1)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_a_worse_model_is_refused_and_no_bundle_written(bundle, trained, tmp_path):
    """The gate names the loss; the report is there, the bundle is not."""
    assert bundle.exists()
    copy = shutil.copytree(trained, tmp_path / "run")
    stored = next((copy / "quantize" / "qat").glob("int8-*.tflite"))
    stored.write_bytes(sabotage(stored.read_bytes()))
    with pytest.raises(ParityError, match=r"points lost, at least .* beyond chance"):
        quantized(copy, tmp_path / "bad.wtr")
    assert not (tmp_path / "bad.wtr").exists()
    written = msgspec.json.decode((tmp_path / "bad.parity.json").read_bytes())
    assert written["passed"] is False
    assert written["report"]["splits"]["both"]["agreement"] < 0.5
    page = (tmp_path / "bad.parity.html").read_text()
    assert "not as good as the float one" in page
    assert page.count("<figure>") == 24


def test_post_training_quantization_passes_the_same_gate(trained, tmp_path):
    """No training, uint8 in and out: a bundle whose input levels are the pixels themselves."""
    printed = quantized(trained, tmp_path / "discs.wtr", method="ptq", pruning=0.0, io="uint8")
    found = read_bundle(tmp_path / "discs.wtr")
    assert "written:" in printed
    assert found.manifest.input.dtype == found.manifest.output.dtype == "uint8"
    assert there(found.manifest.provenance).method == "ptq"
    check_all_int8(read_graph(found.model))
    with Classifier.from_bundle(found) as classifier:
        assert classifier.labels == tuple(COLOURS)


def test_a_signed_bundle_is_trusted_by_its_key_and_shown_as_such(bundle, trained, tmp_path):
    """keygen, --key and inspect fit together; another key is refused."""
    assert bundle.exists()
    made = generate(tmp_path / "k.pem", tmp_path / "k.pub.pem")
    quantized(trained, tmp_path / "discs.wtr", key=tmp_path / "k.pem")
    key = load_public_key(tmp_path / "k.pub.pem")
    assert read_bundle(tmp_path / "discs.wtr", (key,)).signed_by == made.fingerprint
    shown = inspected(tmp_path / "discs.wtr", tmp_path / "k.pub.pem")
    assert f"verified, key {made.fingerprint}" in shown
    for expected in ("moth", "CONV_2D", "pruning 50%", "temperature", "32 × 32 rgb"):
        assert expected in shown


def test_photos_that_make_training_diverge_are_an_error(trained):
    """A loss that is no number is an error with the cure; no weights of it are kept."""
    from quantize.keras.finetune import Distillation, Schedule
    from training.tf import tf

    model = load_run(trained).model()
    broken = (tf.fill((2, 32, 32, 3), float("nan")), tf.constant([0, 1]))
    schedule = Schedule(epochs=1, steps_per_epoch=2, learning_rate=1e-3)
    with pytest.raises(QuantizeError, match=r"diverged: the loss became nan at step 1 of 2"):
        Distillation(model, model).run(iter([broken] * 2), schedule, lambda *_: None)


@pytest.mark.parametrize(("enough", "said"), [(1.0, "too little to train for"), (0.0, "training")])
def test_training_with_rounding_follows_only_where_too_much_is_missed(
    trained, tmp_path, monkeypatch, enough, said
):
    """Else the fitted model is taken as it is; what is nearer after training is kept."""
    from quantize.int8 import phase as rounding

    class Ear(Watcher):
        def __init__(self):
            self.said, self.phases = [], []

        def phase(self, name, _steps):
            self.phases.append(name)

        def advance(self, _steps, note=""):
            pass

        def say(self, text):
            self.said.append(text)

    ear = Ear()
    monkeypatch.setattr(rounding, "ENOUGH", enough)
    run = load_run(fresh_copy(trained, tmp_path / "run"))
    assert Pipeline(Workbench(run, Options(batch=12), ear)).int8_model()
    assert any(said in text for text in ear.said)
    assert ("quantization-aware training" in ear.phases) == (enough == 0)


def test_layers_that_cannot_be_quantized_are_named_with_the_cure():
    """Each wrong layer has its own line; nothing is trained before."""
    from quantize.int8.qat import check_layers
    from training.tf import keras

    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(2.0, name="rescale")(inputs)
    x = keras.layers.Conv2D(4, 3, activation="swish", name="wide")(x)
    x = keras.layers.Lambda(lambda v: v * 2, name="odd")(x)
    with pytest.raises(QuantizeError) as refused:
        check_layers(keras.Model(inputs, x))
    lines = str(refused.value).splitlines()
    assert "  rescale (Rescaling): scaling belongs to the input rules, not into the model" in lines
    assert "  wide (Conv2D with activation swish): use ReLU or ReLU6" in lines
    assert any(line.startswith("  odd (Lambda):") for line in lines)
