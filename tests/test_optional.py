"""Packages that only some devices have: whatever goes wrong while importing them is named."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from edge.commands import cli
from edge.errors import CameraError
from edge.system import optional_packages as optional
from edge.system.optional_packages import load

INSTALL = "apt install python3-example"


def example(folder, monkeypatch, code: str) -> None:
    """Let `import example` run this code."""
    folder.mkdir(exist_ok=True)
    (folder / "example.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "example", raising=False)


def refusal() -> str:
    """The message that the user sees."""
    with pytest.raises(CameraError) as refused:
        load("example", CameraError, "the camera", INSTALL)
    return str(refused.value)


def test_a_package_that_is_not_there_is_named_with_its_command():
    """Without the package there is one cure."""
    assert refusal() == f"the camera needs example; {INSTALL}"


def test_a_package_whose_own_requirement_is_missing_names_that(tmp_path, monkeypatch):
    """The package itself is not said to be absent."""
    example(tmp_path, monkeypatch, "import nothing_of_this_name")
    assert refusal() == (
        "the camera: example is there, but not nothing_of_this_name, which it needs; " + INSTALL
    )


@pytest.mark.parametrize(
    "code",
    [
        "raise ImportError('numpy.core.multiarray failed to import')",
        "raise ValueError('numpy.dtype size changed, may indicate binary incompatibility')",
        "raise AttributeError('_ARRAY_API not found')",
        "raise OSError('libcamera.so.0.3: cannot open shared object file')",
        "raise SystemError('initialization failed')",
        "def broken(:",
    ],
)
def test_any_failure_of_an_import_is_told_in_one_line(tmp_path, monkeypatch, code):
    """Importing runs the package's own code: it may raise anything."""
    example(tmp_path, monkeypatch, code)
    monkeypatch.setattr(optional, "SYSTEM_PACKAGES", str(tmp_path / "absent"))
    told = refusal()
    assert told.startswith("the camera: example cannot be imported (")
    assert told.endswith(f"); `{sys.executable} -c 'import example'` shows all of it")
    assert "\n" not in told


@pytest.mark.parametrize("system", ["1.24.2", np.__version__])
def test_a_numpy_before_the_systems_is_the_cure_only_where_it_is_so(tmp_path, monkeypatch, system):
    """The advice to go back to NumPy 1 is given where the system's is older, and never else."""
    example(tmp_path / "code", monkeypatch, "raise ValueError('numpy.dtype size changed')")
    packages = tmp_path / "system"
    (packages / f"numpy-{system}.dist-info").mkdir(parents=True)
    (packages / f"numpy-{system}.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: numpy\nVersion: {system}\n"
    )
    monkeypatch.setattr(optional, "SYSTEM_PACKAGES", str(packages))
    monkeypatch.setattr(np, "__version__", "2.4.6" if system == "1.24.2" else system)
    told = refusal()
    assert ("pip install 'numpy<2'" in told) == (system == "1.24.2")
    assert ("2.4.6 stands before the system's 1.24.2" in told) == (system == "1.24.2")


def test_a_command_whose_package_is_broken_says_so_without_a_traceback(monkeypatch, capsys):
    """Also what every device needs may be half installed."""
    monkeypatch.setitem(sys.modules, "edge.commands.classify_pictures", None)
    monkeypatch.setitem(sys.modules, "edge.commands.classify", None)
    assert cli.main(["classify", "a.jpg", "--bundle", "b.wtr"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("wheatear: a package that wheatear needs cannot be imported: ")
    assert f"{sys.executable} -m pip install --force-reinstall" in told
