"""The Edge TPU: documented limits, the compiler's report, the compiled model in the bundle."""

import io
import stat
from pathlib import Path

import pytest
import tiny
import unknown_rules
from rich.console import Console

from edge.errors import QuantizeError
from edge.model.bundle.bundle import read_bundle, write_bundle
from edge.model.bundle.signing import generate, load_private_key, load_public_key
from quantize.commands.edgetpu import quantize_edgetpu
from quantize.tflite.edgetpu import parse_log, verdicts, weight_bytes

MODELS = Path(__file__).parent / "models"

#: In the form that version 16 writes.
LOG = """Edge TPU Compiler version 16.0.384591198
Input: model.tflite
Output: model_edgetpu.tflite
On-chip memory used for caching model parameters: 1.00MiB
Number of operations that will run on Edge TPU: 3
Number of operations that will run on CPU: 1

Operator                       Count      Status

CONV_2D                        2          Mapped to Edge TPU
MEAN                           1          Mapped to Edge TPU
SOFTMAX                        1          More than one subgraph is not supported
"""


@pytest.fixture
def bundle(tmp_path):
    """The tiny model's bundle."""
    return tiny.write(tmp_path / "tiny.wtr")


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """A program of the compiler's name that gives a model and writes such a report."""
    program = tmp_path / "bin" / "edgetpu_compiler"
    program.parent.mkdir()
    (program.parent / "report").write_text(LOG)
    program.write_text(
        "#!/bin/sh\n"
        f'test "$1" = --show_operations && test "$2" = --out_dir || exit 7\n'
        f'cp {MODELS / "tiny_edgetpu.tflite"} "$3/model_edgetpu.tflite"\n'
        f"cat {program.parent / 'report'}\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


def told(bundle: Path, out: Path, key: Path | None) -> str:
    """Run the command and give what was printed."""
    stream = io.StringIO()
    quantize_edgetpu(bundle, out, key, Console(file=stream, width=200))
    return stream.getvalue()


def test_a_known_model_maps_whole(data):
    """MobileNetV2 of Coral's own test data, which Google compiled without a rest on the CPU."""
    model = (data("coral_models") / "mobilenet_v2_1.0_224_quant.tflite").read_bytes()
    found = verdicts(model)
    assert len(found) > 60
    assert [v for v in found if not v.on_tpu] == []
    assert 3.4e6 < weight_bytes(model) < 3.7e6


def test_float_models_do_not_map(data):
    """Every operator on float values is named so; the rest stands behind it."""
    model = (data("backbone_weights") / "mlcommons_tiny" / "vww_96_float.tflite").read_bytes()
    found = verdicts(model)
    assert not any(v.on_tpu for v in found)
    assert found[0].reason == "float32 values: only 8-bit ones are supported"


@pytest.mark.usefixtures("compiler")
def test_the_compiled_model_is_added_and_everything_else_stays(bundle, tmp_path):
    """The new bundle holds both models, the same manifest and goldens."""
    before = read_bundle(bundle)
    assert before.edgetpu_model is None
    printed = told(bundle, tmp_path / "both.wtr", None)
    after = read_bundle(tmp_path / "both.wtr")
    assert after.edgetpu_model == (MODELS / "tiny_edgetpu.tflite").read_bytes()
    assert after.model == before.model
    assert after.goldens == before.goldens
    assert "compiler 16.0.384591198: 2 x CONV_2D: Mapped to Edge TPU" in printed
    assert "on the TPU 3 operators, on the CPU 1" in printed


@pytest.mark.usefixtures("compiler")
def test_the_unknown_rule_stays_with_the_model_it_is_for(tmp_path):
    """Both outputs are compiled; the rule's file is taken along."""
    ruled = unknown_rules.bundle(tmp_path / "a.wtr", unknown_rules.packed(unknown_rules.arrays()))
    told(ruled, tmp_path / "both.wtr", None)
    before, after = read_bundle(ruled), read_bundle(tmp_path / "both.wtr")
    assert after.members.pop("unknown.bin") == before.unknown_rule
    assert set(after.members) - set(before.members) == {"model_edgetpu.tflite"}


def test_without_the_compiler_it_is_said_how_to_get_it(bundle, monkeypatch, tmp_path):
    """The verdicts come all the same; the bundle stays as it was."""
    monkeypatch.setenv("PATH", str(tmp_path))
    content = bundle.read_bytes()
    with pytest.raises(QuantizeError, match="install the package edgetpu-compiler"):
        told(bundle, bundle, None)
    assert bundle.read_bytes() == content


def test_a_refusal_of_the_compiler_is_shown(bundle, compiler):
    """Its last words are in the message."""
    compiler.write_text("#!/bin/sh\necho 'Invalid model: model.tflite'; exit 1\n")
    with pytest.raises(QuantizeError, match="refused the model: Invalid model"):
        told(bundle, bundle, None)


@pytest.mark.usefixtures("compiler")
def test_a_signed_bundle_wants_the_key_again(tmp_path):
    """Without it the old signature would be void, and cameras would refuse the bundle."""
    made = generate(tmp_path / "k.pem", tmp_path / "k.pub.pem")
    signed = tmp_path / "signed.wtr"
    key = load_private_key(tmp_path / "k.pem")
    write_bundle(signed, tiny.manifest(), tiny.members(), key)
    with pytest.raises(QuantizeError, match="give --key"):
        told(signed, signed, None)
    told(signed, signed, tmp_path / "k.pem")
    trusted = (load_public_key(tmp_path / "k.pub.pem"),)
    assert read_bundle(signed, trusted).signed_by == made.fingerprint


def test_a_report_of_another_form_is_an_error():
    """No counts, no verdict."""
    with pytest.raises(QuantizeError, match="no counts of operations"):
        parse_log("Edge TPU Compiler version 99", b"")
