"""What `quantize` refuses before any work, in words; and the keys that it makes."""

import subprocess
import sys

import pytest
from quantizing import fresh_copy, quantized

from edge.errors import QuantizeError
from quantize.options import Options


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("pruning", 1.5, "--pruning 1.5: give 0 to 0.95"),
        ("method", "magic", "--method magic: give qat or ptq"),
        ("io", "int4", "--io int4: give int8 or uint8"),
        ("budget", "macs=2", "--budget macs=2: give a share above 0 and below 1"),
        ("tolerance", 5.0, "--tolerance 5.0: give 0 to 1"),
    ],
)
def test_options_out_of_range_are_refused_before_any_work(
    discs_run, tmp_path, option, value, message
):
    """The message names the option, the value and what is possible."""
    with pytest.raises(QuantizeError) as refused:
        quantized(discs_run, tmp_path / "x.wtr", **{option: value})
    assert str(refused.value) == message


def test_options_default_to_what_is_documented():
    """Unpruned quantization-aware training with int8 in and out."""
    assert (Options().method, Options().zeros, Options().io) == ("qat", 0.0, "int8")


def command(*arguments):
    """Run the real command line."""
    return subprocess.run(
        [sys.executable, "-m", "quantize", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_keys_are_private_and_never_overwritten(tmp_path):
    """The private key is the owner's alone; a second call changes nothing."""
    assert command("keygen", "--out", tmp_path / "keys").returncode == 0
    private = tmp_path / "keys" / "wheatear.pem"
    assert private.stat().st_mode & 0o777 == 0o600
    before = private.read_bytes()
    again = command("keygen", "--out", tmp_path / "keys")
    assert again.returncode == 2
    assert "never overwritten" in again.stderr
    assert private.read_bytes() == before


def test_a_folder_that_is_no_run_is_a_clear_error(tmp_path):
    """One line on stderr, exit status 2, no traceback; said before TensorFlow is loaded."""
    code = """
import sys
from quantize.commands.cli import main
try:
    main()
finally:
    assert not {"tensorflow", "tf_keras"} & set(sys.modules), "it was loaded"
"""
    words = ["run", str(tmp_path), "--out", str(tmp_path / "x.wtr")]
    failed = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert failed.returncode == 2
    assert failed.stderr.strip().startswith("error: ")
    assert "no run here" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_too_few_photos_to_judge_by_are_told_before_any_work(discs_run, tmp_path):
    """A run that was divided from 45 photos or so ends at once, not after the training."""
    copy = fresh_copy(discs_run, tmp_path)
    rows = (copy / "split.csv").read_text().splitlines(keepends=True)
    held = [row for row in rows if ",val" in row][:9] + [row for row in rows if ",test" in row][:9]
    kept = [row for row in rows if ",val" not in row and ",test" not in row] + held
    (copy / "split.csv").write_text("".join(kept))
    with pytest.raises(QuantizeError, match=r"too few photos .* 9 val, 9 test; at least 20"):
        quantized(copy, tmp_path / "x.wtr")
    assert not (copy / "quantize").exists()


def test_an_unfinished_run_is_refused(discs_run, tmp_path):
    """Without a model there is nothing to quantize, and the message says how to go on."""
    copy = fresh_copy(discs_run, tmp_path)
    (copy / "model.keras").unlink()
    with pytest.raises(ValueError, match="not finished"):
        quantized(copy, tmp_path / "x.wtr")
