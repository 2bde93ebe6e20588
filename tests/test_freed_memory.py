"""What TensorFlow frees in one step is there for the next, without the system clearing it anew."""

import ctypes
import subprocess
import sys

import pytest

import training

PAGE = 4096
STEP = 64 << 20
"""Bytes that are taken and freed again."""

CHILD = f"""
import resource, threading
{{}}

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def steps():
    for number in range(20):
        bytes([number]) * {STEP}

steps()  # what is taken once
before = faults()
thread = threading.Thread(target=steps)
thread.start(), thread.join()
steps()
print(faults() - before)
"""


def faults(first):
    """Pages mapped by forty steps, in two threads, after a first few."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD.format(first)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"),
    reason="SKIPPED: freed memory is kept with glibc only",
)
def test_what_a_step_frees_the_next_takes():
    """Whatever thread it runs in: as many pages as for one step at most, in place of forty."""
    assert faults("") > 20 * STEP / PAGE, "as it is without"
    assert faults(f"import {training.__name__}.tf") < 2 * STEP / PAGE
