"""TFLite classifiers that are no bundle of ours."""

from __future__ import annotations

import pytest
import tiny

from edge.errors import ModelError
from edge.model.classifier import Classifier
from edge.model.image.preprocessing import InputSpec, decode
from edge.model.tflite.foreign import open_tflite
from quantize.tflite.metadata import add_metadata

pytest.importorskip("ai_edge_litert")
import floats

IMAGENET = "coral_models/imagenet_labels.txt"
PICTURES = {"dragonfly": "dragonfly", "sunflower": "daisy", "bird": "chickadee"}


@pytest.fixture
def tiny_model(tmp_path):
    """The tiny model as a file without labels."""
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tiny.model())
    return path


def top(classifier: Classifier, picture) -> str:
    """The first word of the label of a picture file."""
    return (classifier.classify(decode(picture)).label or "").split(",")[0]


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("model", ["mobilenet_v2_1.0_224_quant", "tf2_mobilenet_v2_1.0_224_ptq"])
def test_coral_classifiers_name_their_pictures(data, model, picture):
    """Quantised ImageNet models, with the labels they carry, are right and sure."""
    with open_tflite(data(f"coral_models/{model}.tflite")) as classifier:
        found = classifier.classify(decode(data(f"coral_models/{picture}.bmp")))
    assert (found.label or "").split(",")[0] == PICTURES[picture]
    assert found.confidence > 0.7


@pytest.mark.parametrize("picture", ["sunflower", "bird"])
def test_the_smallest_coral_classifier_names_easy_pictures(data, picture):
    """MobileNetV1 0.25 at 128 pixels; a label file takes precedence over its own labels."""
    model = data("coral_models/mobilenet_v1_0.25_128_quant.tflite")
    with open_tflite(model, data(IMAGENET)) as classifier:
        assert top(classifier, data(f"coral_models/{picture}.bmp")) == PICTURES[picture]


def test_a_float_classifier_needs_its_normalisation_told(data):
    """A float model without metadata is not guessed at; told -1..1, it is right."""
    model = data("backbone_weights/tflite_support/mobilenet_v1_0.25_224_1_default_1.tflite")
    with pytest.raises(ModelError, match=r"--mean 127\.5 --std 127\.5"):
        open_tflite(model, data(IMAGENET))
    with open_tflite(model, data(IMAGENET), mean=(127.5,), std=(127.5,)) as classifier:
        assert top(classifier, data("coral_models/bird.bmp")) == "chickadee"


@pytest.mark.parametrize(
    ("form", "options"), [("int8", {}), ("float", {"mean": (0,), "std": (255,)})]
)
def test_person_detectors_tell_people_from_flowers(data, form, options):
    """Visual Wake Words at 96 pixels: the int8 model's scale says 0..1, the float one is told."""
    model = data(f"backbone_weights/mlcommons_tiny/vww_96_{form}.tflite")
    with open_tflite(model, ("non-person", "person"), **options) as classifier:
        assert top(classifier, data("coral_models/grace_hopper.bmp")) == "person"
        assert top(classifier, data("coral_models/sunflower.bmp")) == "non-person"


def test_a_detector_is_refused(data):
    """Boxes, classes, scores and a count are no classification."""
    with pytest.raises(ModelError, match="not a classifier: it gives 4 outputs"):
        open_tflite(data("coral_models/tflite_support/ssd_mobilenet_v1.tflite"))


def test_an_embedder_is_refused(data):
    """Numbers without labels are no classification."""
    model = "mobilenet_v2_035_96_embedder_with_metadata.tflite"
    with pytest.raises(ModelError, match=r"1280 numbers and holds no labels.*embedder"):
        open_tflite(data(f"backbone_weights/tensorflow_examples/{model}"))


@pytest.mark.parametrize(
    "model",
    [
        "mobilenet_v1_0.25_128_quant_edgetpu.tflite",
        "edgetpu_repo/mobilenet_v2_1.0_224_quant_edgetpu.tflite",
    ],
)
def test_coral_models_for_the_edge_tpu_are_refused_on_cpus(data, model):
    """Compiled models say which runtime they need."""
    with pytest.raises(ModelError, match="compiled for the Edge TPU"):
        open_tflite(data(f"coral_models/{model}"), data(IMAGENET))


def test_an_int8_model_with_a_label_list(tiny_model):
    """Scale and zero point of the input say how pixels become levels."""
    with open_tflite(tiny_model, ("red", "green", "blue")) as classifier:
        assert classifier.output.kind == "logits"
        for label in tiny.COLOURS:
            assert classifier.classify(tiny.picture(label)).label == label
        assert classifier.model_info.name == "tiny"


def test_labels_are_asked_for(tiny_model):
    """Without any labels, the option is named."""
    with pytest.raises(ModelError, match=r"holds no labels.*--labels"):
        open_tflite(tiny_model)


@pytest.mark.parametrize(
    ("labels", "hint"),
    [
        (("green", "blue"), "3 scores, but there are 2 labels; if the model's desc.* = add"),
        (("background", "red"), "3 scores, but there are 2 labels; find the labels that"),
        (("background", "r", "g", "b"), "4 labels; the first is 'background': .* = drop"),
        (("id,name", "red", "green", "blue"), "4 labels; find the labels that belong to it$"),
        (("red",), "3 scores, but there are 1 labels; find the labels"),
    ],
)
def test_a_background_class_is_never_assumed(tiny_model, labels, hint):
    """Labels that do not fit are refused; an option is advised where its cause is there."""
    with pytest.raises(ModelError, match=hint):
        open_tflite(tiny_model, labels)


def test_a_background_class_can_be_added_or_dropped(tiny_model):
    """Told so, the labels move by one."""
    added = open_tflite(tiny_model, ("green", "blue"), background="add")
    dropped = open_tflite(tiny_model, ("x", "red", "green", "blue"), background="drop")
    assert added.labels == ("background", "green", "blue")
    assert dropped.labels == ("red", "green", "blue")


def test_mean_and_std_go_together(tiny_model):
    """One without the other is refused."""
    with pytest.raises(ModelError, match="together"):
        open_tflite(tiny_model, ("a", "b", "c"), mean=(0.0,))


def test_a_missing_model_is_named(tmp_path):
    """The message holds the path."""
    with pytest.raises(ModelError, match=r"none\.tflite: No such file"):
        open_tflite(tmp_path / "none.tflite")


def described(tmp_path, model: bytes, labels, mean: float, std: float):
    """The path of a model with metadata."""
    path = tmp_path / "described.tflite"
    spec = InputSpec(width=1, height=1, mean=(mean,), std=(std,))
    path.write_bytes(add_metadata(model, labels, spec, "described", "1"))
    return path


@pytest.mark.parametrize("signature", [(-1, -1, -1, 3), (1, -1, 1, 3), (1, 1, 1, -1)])
def test_a_model_without_a_fixed_size_is_refused(tmp_path, signature):
    """Its shape says 1 x 1 pixels, and every picture would be made that small."""
    path = tmp_path / "open.tflite"
    path.write_bytes(floats.model([[1, 0, 0], [0, 1, 0]], [0, 0], signature=signature))
    with pytest.raises(ModelError, match="leaves sizes open; convert it with the height and width"):
        open_tflite(path, ("a", "b"), mean=(0,), std=(255,))


def test_a_batch_that_is_left_open_is_one_picture(tmp_path):
    """As TensorFlow's converter writes most models."""
    path = tmp_path / "open.tflite"
    path.write_bytes(floats.model([[1, 0, 0], [0, 1, 0]], [0, 0], signature=(-1, 1, 1, 3)))
    with open_tflite(path, ("a", "b"), mean=(0,), std=(255,)) as classifier:
        assert classifier.input.width == 1


def test_metadata_that_contradict_the_quantisation_are_refused(tmp_path):
    """The tiny model takes -1..1 by its scale; by these metadata it would be 0..1."""
    labels = ("red", "green", "blue")
    path = described(tmp_path, tiny.model(), labels, 0, 255)
    with pytest.raises(
        ModelError, match=r"contradicts itself about its input.*std 255\) 0 and 1; give --mean"
    ):
        open_tflite(path)
    with open_tflite(path, mean=(127.5,), std=(127.5,)) as classifier:
        assert classifier.classify(tiny.picture("red")).label == "red"


@pytest.mark.parametrize(("mean", "std"), [(127.5, 127.5), (128, 128), (127, 128)])
def test_metadata_may_round_otherwise_than_the_quantisation(tmp_path, mean, std):
    """A level or two are no contradiction."""
    path = described(tmp_path, tiny.model(), ("red", "green", "blue"), mean, std)
    with open_tflite(path) as classifier:
        assert classifier.classify(tiny.picture("blue")).label == "blue"


def test_labels_other_than_the_models_own_are_told(tmp_path, caplog):
    """They are used, as asked for; who mixed two files up finds out."""
    path = described(tmp_path, tiny.model(), ("red", "green", "blue"), 127.5, 127.5)
    with open_tflite(path, ("Red", "blue", "green")):
        assert "score 1 is 'blue', in the model 'green'; score 2 is" in caplog.text
        assert "score 0" not in caplog.text


@pytest.mark.parametrize("embedded", [True, False])
def test_labels_that_look_the_same_are_told_wherever_they_come_from(tmp_path, caplog, embedded):
    """Also those that a model holds, and those that a program gives."""
    labels = ("aphid", "Aphid ", "aphid")
    path = described(tmp_path, tiny.model(), labels, 127.5, 127.5)
    with open_tflite(path, None if embedded else labels):
        assert "with the same name cannot be told apart: 'aphid' (1, 3" in caplog.text


def test_classes_that_may_be_there_together_are_told(tmp_path, caplog):
    """Sigmoids of several classes do not exclude each other; one score is yes or no."""
    for scores, labels, told in (([1, 2], ("a", "b"), True), ([1], ("a", "b"), False)):
        caplog.clear()
        path = tmp_path / "sigmoids.tflite"
        path.write_bytes(floats.model([[0, 0, 0]] * len(scores), scores, "logistic"))
        with open_tflite(path, labels, mean=(0,), std=(255,)):
            assert ("only the surest class of a picture" in caplog.text) is told
