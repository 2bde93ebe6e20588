"""What C++ libraries write to stderr is held back, and shown where something went wrong."""

import os
import subprocess
import sys

import pytest
from quantizing import fresh_copy
from tiny import MODELS

from training.quiet import quiet


def python(*words):
    """What Python does with such words."""
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True)


def test_a_quantization_says_nothing_on_stderr(discs_run, tmp_path):
    """Conversions, comparison and golden pictures: what TFLite and MLIR write there is no news."""
    run = fresh_copy(discs_run, tmp_path)
    words = ["-m", "quantize", "run", run, "--out", tmp_path / "discs.wtr", "--method", "ptq"]
    done = python(*words)
    assert done.stderr == ""
    assert "written: " in done.stdout
    assert "inference_type" not in done.stdout


def test_timing_says_nothing_on_stderr():
    """XNNPACK tells once a process that it is there."""
    code = """
from quantize.timing.timer import Local
import sys
print(len(Local().milliseconds([open(sys.argv[1], "rb").read()], 2)[0]))
"""
    done = python("-c", code, MODELS / "tiny_int8.tflite")
    assert (done.stdout, done.stderr) == ("2\n", "")


def test_what_was_held_back_is_shown_where_an_error_ends_the_block(capfd):
    """Before the error, and all of it; afterwards stderr is what it was."""

    def fail():
        with quiet():
            os.write(2, b"why it failed\n")
            raise ValueError("it failed")

    with pytest.raises(ValueError, match="it failed"):
        fail()
    with quiet():
        os.write(2, b"chatter\n")
    os.write(2, b"after it\n")
    assert capfd.readouterr().err == "why it failed\nafter it\n"


def test_where_the_process_itself_ends_the_place_is_shown():
    """C++ that aborts leaves no exception, but the line of Python that it was called from."""
    code = "import os\nfrom training.quiet import quiet\nwith quiet():\n    os.abort()\n"
    ended = python("-c", code)
    assert ended.returncode == -6
    assert "Aborted" in ended.stderr
    assert 'File "<string>", line 4' in ended.stderr
