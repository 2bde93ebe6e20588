"""What `make` is given comes to the commands as it is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).parent.parent
GIVEN = {
    *("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL"),
    *("DATA", "OUT", "RUN", "RECIPE", "WEIGHTS", "ACCEPT", "ARGS", "ONLY"),
}
ECHO = """#!{python}
import json, sys
with open({said!r}, "a") as said:
    said.write(json.dumps(sys.argv[1:]) + "\\n")
"""


@pytest.fixture
def make(tmp_path):
    """A function that runs `make` where the environment's programs only note their arguments."""
    said = tmp_path / "said"
    if not (TREE / "Makefile").is_file():
        pytest.skip("only the wheel is here")
    shutil.copy(TREE / "Makefile", tmp_path)
    for name in ("pyproject.toml", "requirements/desktop.txt", "requirements/test.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").write_text(ECHO.format(python=sys.executable, said=str(said)))
    (programs / "python").chmod(0o755)
    for name in ("desktop.ok", "test.ok"):
        (tmp_path / ".venv" / name).touch()

    def run(*words: str) -> tuple[subprocess.CompletedProcess[str], list[list[str]]]:
        said.unlink(missing_ok=True)
        # What an outer `make test DATA=...` was given is not given to this one.
        kept = {name: value for name, value in os.environ.items() if name not in GIVEN}
        done = subprocess.run(
            ["make", *words],
            cwd=tmp_path,
            env=kept,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        lines = said.read_text().splitlines() if said.exists() else []
        return done, [json.loads(line) for line in lines]

    return run


@pytest.mark.parametrize("folder", ["Meine Fotos ü", 'it\'s "mine"', "a  b;c&d", "50 $ (new)"])
def test_folders_may_be_called_anything(make, folder):
    """Blanks, quotes and letters of the shell in DATA, OUT, RUN and WEIGHTS stay in one piece."""
    name = folder.replace("$", "$$")  # make's own way to write a dollar
    done, said = make("train", f"DATA={name}", f"OUT={name}/r", f"WEIGHTS={name}.h5")
    assert done.returncode == 0, done.stderr
    assert said[0] == ["-m", "training", "check", folder]
    fit = ["-m", "training", "fit", folder, "--out", f"{folder}/r", "--weights", f"{folder}.h5"]
    assert said[1] == fit
    assert said[2] == ["-m", "training", "evaluate", f"{folder}/r"]
    _, said = make("quantize", f"RUN={name}", f"OUT={name}.wtr")
    assert said == [["-m", "quantize", "run", folder, "--out", f"{folder}.wtr"]]
    _, said = make("bench", f"DATA={name}")
    assert said == [["-m", "benchmarks", folder]]
    _, said = make("demo", f"OUT={name}")
    assert said == [["-m", "demo", "--out", folder]]
    _, said = make("test", f"DATA={name}")
    assert said[0][-1] == f"--data={folder}"


def test_what_is_left_out_has_its_default(make):
    """Runs go to runs/mine; several kinds of finding may be accepted, and options be added."""
    _, said = make("train", "DATA=photos", "ACCEPT=damaged group-leak", "ARGS=--epochs 1")
    accept = ["--accept", "damaged", "--accept", "group-leak"]
    assert said[0] == ["-m", "training", "check", "photos", *accept]
    fit = ["-m", "training", "fit", "photos", "--out", "runs/mine", *accept, "--epochs", "1"]
    assert said[1] == fit
    _, said = make("quantize", "OUT=pests-1.0.0.wtr")
    assert said == [["-m", "quantize", "run", "runs/mine", "--out", "pests-1.0.0.wtr"]]


@pytest.mark.parametrize("target", ["train", "quantize", "bench"])
def test_what_cannot_be_left_out_is_asked_for(make, target):
    """Without photos, or a name for the bundle, make says what to write and starts nothing."""
    done, said = make(target)
    assert done.returncode == 2
    assert f"make {target} " in done.stdout
    assert said == []
