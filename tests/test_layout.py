"""The shape of the tree: who imports whom, what an import costs, what the lock files say."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import edge

EDGE = Path(edge.__file__).parent
TREE = Path(__file__).parent.parent
IN_TREE = (TREE / "training").is_dir()
ALLOWED = {
    "edge": {"edge"},
    "training": {"edge", "training"},
    "quantize": {"edge", "training", "quantize"},
    "demo": {"edge", "training", "quantize", "demo"},
    "benchmarks": {"edge", "training", "quantize", "soak", "benchmarks"},
    "soak": {"edge", "soak"},
}
OURS = {*ALLOWED, "tests"}


def imported(path: Path) -> set[str]:
    """Top-level names that a Python file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", ALLOWED)
def test_dependencies_point_one_way(package):
    """`training -> edge <- quantize`, `quantize -> training`, `edge -> nothing desktop`."""
    folder = EDGE if package == "edge" else TREE / package
    if not folder.is_dir():
        pytest.skip("only the wheel is here")
    for path in folder.rglob("*.py"):
        assert imported(path) & OURS <= ALLOWED[package], path


def test_the_device_program_knows_no_desktop_library():
    """No file of `edge` names TensorFlow, Keras, scikit-learn or matplotlib."""
    desktop = {"tensorflow", "tf_keras", "keras", "tensorflow_model_optimization"}
    desktop |= {"sklearn", "skimage", "scipy", "matplotlib", "rich", "typer"}
    for path in EDGE.rglob("*.py"):
        assert not imported(path) & desktop, path


def test_importing_edge_loads_nothing_heavy():
    """`import edge` costs no third-party import; `import edge.commands.cli` no hardware or network
    one.
    """
    code = """
import sys
before = set(sys.modules)
import edge
third = {name.split(".")[0] for name in set(sys.modules) - before}
assert not third & {"numpy", "PIL", "msgspec", "paho"}, third
import edge.commands.cli
loaded = {name.split(".")[0] for name in sys.modules}
heavy = {"tensorflow", "ai_edge_litert", "tflite_runtime", "picamera2", "cryptography", "paho"}
assert not heavy & loaded, heavy & loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.skipif(not IN_TREE, reason="only the wheel is here")
def test_lock_files_hold_hashes_and_no_addresses():
    """Every pinned package carries hashes; no index, link or path stands in a lock file."""
    files = sorted((TREE / "requirements").glob("*.txt"))
    assert {file.stem for file in files} == {"device", "desktop", "cluster", "test", "lint"}
    for file in files:
        for entry in file.read_text().replace("\\\n", " ").splitlines():
            assert "==" in entry, (file.name, entry[:80])
            assert "--hash=sha256:" in entry, (file.name, entry[:80])
            assert "://" not in entry, (file.name, entry[:80])


@pytest.mark.skipif(not importlib.util.find_spec("hatchling"), reason="the build backend is absent")
@pytest.mark.skipif(not IN_TREE, reason="only the wheel is here")
def test_the_wheel_holds_edge_only(tmp_path):
    """The built wheel contains `edge` alone and its metadata asks for no desktop package."""
    import zipfile

    options = "--quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index"
    command = [sys.executable, "-m", "pip", "wheel", *options.split(), "--wheel-dir", str(tmp_path)]
    subprocess.run([*command, str(TREE)], check=True, timeout=120)
    (wheel,) = tmp_path.glob("wheatear-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0].split("-")[0] for name in archive.namelist()}
        metadata = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        requires = archive.read(metadata).decode().lower()
    assert tops == {"edge", "wheatear"}
    assert "tensorflow" not in requires.replace("tflite", "")
