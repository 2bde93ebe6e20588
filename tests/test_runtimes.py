"""Interpreters and accelerators behind one table."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
import tiny

from edge.commands.cli import main
from edge.config import Model
from edge.config.explain import docstrings
from edge.errors import ConfigError, ModelError, RuntimeUnavailableError
from edge.model.runtimes import RUNTIMES, open_runtime
from edge.model.runtimes.fake import fake_model


def test_unknown_names_list_the_known_ones():
    """A typing mistake is answered with what there is."""
    with pytest.raises(ConfigError, match=r"'lite'.*litert, tflite_runtime, edgetpu, fake, auto"):
        open_runtime("lite", b"")


def test_threads_must_be_positive():
    """No threads is an error, not a default."""
    with pytest.raises(ConfigError, match="threads must be at least 1, not 0"):
        open_runtime("fake", fake_model(), threads=0)


class TestLiteRT:
    """The maintained interpreter."""

    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip("ai_edge_litert")

    def test_describes_its_tensors(self):
        """Shapes, types and quantisation come from the model."""
        runtime = open_runtime("litert", tiny.model())
        assert (runtime.input.shape, runtime.input.dtype) == ((1, 16, 16, 3), "int8")
        assert runtime.input.zero_point == -1
        assert runtime.outputs[0].shape == (1, 3)
        assert (runtime.name, runtime.delegate) == ("litert", "XNNPACK")
        assert runtime.version[0].isdigit()

    def test_outputs_are_copies(self):
        """A result stays what it was when the next picture is run."""
        runtime = open_runtime("litert", tiny.model())
        first = runtime.invoke(np.full((1, 16, 16, 3), 100, np.int8))
        kept = first.copy()
        runtime.invoke(np.full((1, 16, 16, 3), -100, np.int8))
        np.testing.assert_array_equal(first, kept)

    @pytest.mark.parametrize(
        "tensor", [np.zeros((1, 8, 8, 3), np.int8), np.zeros((1, 16, 16, 3), np.float32)]
    )
    def test_wrong_tensors_are_refused(self, tensor):
        """A tensor of another shape or type is a ModelError."""
        with pytest.raises(ModelError, match="cannot run this tensor"):
            open_runtime("litert", tiny.model()).invoke(tensor)

    @pytest.mark.parametrize("model", [b"", b"x" * 100, tiny.model()[:1000]])
    def test_broken_models_are_refused(self, model):
        """Bytes that are no whole model never reach inference."""
        with pytest.raises(ModelError):
            open_runtime("litert", model)

    def test_a_model_for_the_edge_tpu_is_refused(self):
        """The message says which runtime it needs."""
        with pytest.raises(ModelError, match=r"compiled for the Edge TPU.*use runtime 'edgetpu'"):
            open_runtime("litert", tiny.model("tiny_edgetpu"))

    def test_closing_twice_is_fine_and_final(self):
        """A closed runtime refuses work."""
        runtime = open_runtime("litert", tiny.model())
        runtime.close()
        runtime.close()
        with pytest.raises(ModelError, match="closed"):
            runtime.invoke(np.zeros((1, 16, 16, 3), np.int8))

    def test_auto_says_what_it_chose(self):
        """The runtime's name is the one that was found."""
        assert open_runtime("auto", tiny.model()).name == "litert"


def test_a_missing_interpreter_is_named(monkeypatch):
    """Without the package, the error tells what to install."""
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(RuntimeUnavailableError, match="pip install 'ai-edge-litert"):
        open_runtime("litert", tiny.model())


def test_tflite_runtime_is_used_where_installed():
    """The older package runs the model, or the error says how to get it."""
    if importlib.util.find_spec("tflite_runtime") is None:
        with pytest.raises(RuntimeUnavailableError, match="pip install tflite-runtime"):
            open_runtime("tflite_runtime", tiny.model())
    else:
        assert open_runtime("tflite_runtime", tiny.model()).name == "tflite_runtime"


def test_auto_without_any_interpreter_lists_them(monkeypatch):
    """Every package that was tried stands in the message."""
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", None)
    with pytest.raises(RuntimeUnavailableError, match=r"litert.*tflite_runtime"):
        open_runtime("auto", tiny.model())


def test_the_edge_tpu_library_is_asked_for_by_name():
    """Without Coral's library, the error names it and its package."""
    import ctypes

    try:
        ctypes.CDLL("libedgetpu.so.1")
    except OSError:
        message = r"libedgetpu\.so\.1.*apt-get install libedgetpu1-std"
        with pytest.raises(RuntimeUnavailableError, match=message):
            open_runtime("edgetpu", tiny.model("tiny_edgetpu"))
    else:
        pytest.skip("Coral's library is installed here")


def test_the_edge_tpu_takes_only_compiled_models():
    """A plain model is refused with the tool's name."""
    with pytest.raises(ModelError, match="edgetpu_compiler"):
        open_runtime("edgetpu", tiny.model())


class TestFake:
    """The scripted runtime."""

    PICTURE = np.full((1, 8, 8, 3), 200, np.uint8)

    def test_gives_its_script_in_turn(self):
        """Scripted scores come one after the other, then again from the start."""
        runtime = open_runtime("fake", fake_model(2, script=[(1, 0), (0, 1)]))
        rows = [runtime.invoke(self.PICTURE).tolist() for _ in range(3)]
        assert rows == [[1, 0], [0, 1], [1, 0]]

    def test_names_the_nearest_colour(self):
        """Without a script, the class whose colour is nearest wins."""
        model = fake_model(2, colours=[(0, 0, 0), (190, 190, 190)])
        assert open_runtime("fake", model).invoke(self.PICTURE).argmax() == 1

    def test_scores_a_real_model_by_hash(self):
        """With a TFLite model it keeps the shapes, and equal inputs score equally."""
        runtime = open_runtime("fake", tiny.model())
        picture = np.zeros((1, 16, 16, 3), np.int8)
        first, second = runtime.invoke(picture), runtime.invoke(picture)
        assert first.dtype == np.int8
        assert first.shape == (3,)
        np.testing.assert_array_equal(first, second)
        assert (runtime.invoke(picture + 1) != first).any()

    @pytest.mark.parametrize("model", [b"{}", b"{", b"neither"])
    def test_other_bytes_are_refused(self, model):
        """Bytes that are no model raise the same error as for real runtimes."""
        with pytest.raises(ModelError):
            open_runtime("fake", model)


@pytest.mark.parametrize("name", [*RUNTIMES, "auto"])
def test_the_setting_names_every_runtime(name, capsys):
    """In the reference of settings and in the help."""
    assert f"`{name}`" in docstrings(Model, "`")["runtime"]
    with pytest.raises(SystemExit):
        main(["bench", "--help"])
    assert (
        name in capsys.readouterr().out.rpartition("--runtime RUNTIME")[2].partition("--threads")[0]
    )


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_runtime_is_importable_without_its_libraries(name, monkeypatch):
    """Importing a backend's module loads nothing that may be missing."""
    from importlib import import_module

    for package in ("ai_edge_litert", "tflite_runtime"):
        monkeypatch.setitem(sys.modules, package, None)
    module, _, attribute = RUNTIMES[name].partition(":")
    monkeypatch.delitem(sys.modules, module, raising=False)
    assert hasattr(import_module(module), attribute)
