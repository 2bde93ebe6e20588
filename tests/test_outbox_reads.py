"""A disk that fails to read the outbox, for a moment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def bad_reads(tmp_path_factory):
    """The library that makes reads fail."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc ABSENT: reads cannot be made to fail")
    library = tmp_path_factory.mktemp("reads") / "bad_reads.so"
    command = ["gcc", "-shared", "-fPIC", "-o", library, HERE / "bad_reads.c", "-ldl"]
    subprocess.run(command, check=True)
    return library


@pytest.mark.parametrize(("when", "told"), [("start", []), ("open", ["OutboxError"])])
def test_a_disk_that_fails_to_read_for_a_moment_damages_nothing(tmp_path, bad_reads, when, told):
    """SQLite calls the file malformed; it is sound, and stays where it is."""
    path = tmp_path / "outbox.db"
    environment = {
        **os.environ,
        "LD_PRELOAD": str(bad_reads),
        "BAD_READS": str(tmp_path / "bad"),
    }
    words = [sys.executable, str(HERE / "bad_disk.py"), str(path), when]
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, told), done.stderr
    assert not list(tmp_path.glob("*.damaged-*"))
