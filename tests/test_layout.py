"""The shape of the tree: who imports whom, what an import costs, what the lock files say."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from arrows import arrows, circles, kinds, modules
from arrows import named as named_modules
from rooms import ROOMS, upward_arrows

import edge

EDGE = Path(edge.__file__).parent
TREE = Path(__file__).parent.parent
IN_TREE = (TREE / "training").is_dir()
ALLOWED = {
    "edge": {"edge"},
    "training": {"edge", "training"},
    "quantize": {"edge", "training", "quantize"},
    "demo": {"edge", "training", "quantize", "soak", "demo"},
    "benchmarks": {"edge", "training", "quantize", "soak", "benchmarks"},
    "soak": {"edge", "soak"},
}
OURS = {*ALLOWED, "tests"}
LENT = (
    "edge.errors.", "edge.text.", "edge.messages.", "edge.config.", "edge.model.",
    "edge.system.files.",
)  # fmt: skip
"""What `training` and `quantize` may import of `edge`."""
BORROWED = {
    "quantize.timing.timer -> edge.system.board": "times are named after the board, as bench does",
    "training.inbox.collect -> edge.mqtt.connection_errors": "it meets the cameras' broker",
    "training.inbox.collect -> edge.mqtt.tls": "it meets the cameras' broker",
    "training.inbox.collect -> edge.system.counters": "it comes back as patiently as cameras do",
}
"""What is taken besides, and why that is well so."""
NAMED_UPWARD = {
    "quantize.sweep.jobs -> quantize.commands.trial": "a process of its own runs it",
    "training.architectures -> training.models.efficientnet_lite": "training.models imports it",
    "training.architectures -> training.models.mobilenet_v2": "training.models imports it",
    "training.architectures -> training.models.small": "training.models imports it",
}
"""Modules further up that a string names, and who looks for them."""
WHOLE = {
    "edge.config": "its sections are one value",
    "training.metrics": "they are figures of one report",
}
"""Folders that load their files, and why that is well so."""


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


def named(found: set[tuple[str, str]]) -> set[str]:
    """Arrows as they are written above."""
    return {f"{source} -> {target}" for source, target in found}


def borrowed(found: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """What the desktop imports of `edge` beyond what is lent to it."""
    return {
        (source, target)
        for source, target in found
        if source.split(".")[0] in {"training", "quantize"}
        and target.split(".")[0] == "edge"
        and target != "edge"
        and not f"{target}.".startswith(LENT)
    }


def every_arrow() -> set[tuple[str, str]]:
    """All imports of `edge`, `training` and `quantize` among themselves."""
    return arrows(modules(EDGE.parent, ROOMS))


@pytest.mark.skipif(not IN_TREE, reason="only the wheel is here")
def test_rooms_import_only_those_below_them():
    """No room imports one above or beside it, by any kind of import."""
    assert named(upward_arrows(every_arrow())) == set()


@pytest.mark.skipif(not IN_TREE, reason="only the wheel is here")
def test_no_string_names_a_module_further_up():
    """What is imported by its name in a string lies below, too, but for what is listed."""
    found = named_modules(modules(EDGE.parent, ROOMS))
    assert len(found) > 15
    assert named(upward_arrows(found)) == NAMED_UPWARD.keys()


@pytest.mark.skipif(not IN_TREE, reason="only the wheel is here")
def test_the_desktop_imports_only_what_is_lent():
    """`training` and `quantize` use the contract of models, but for what is listed."""
    assert named(borrowed(every_arrow())) == BORROWED.keys()


@pytest.mark.skipif(not IN_TREE, reason="only the wheel is here")
def test_no_two_files_import_each_other():
    """There is no circle, by any kind of import."""
    assert circles(every_arrow()) == []


@pytest.mark.skipif(not IN_TREE, reason="only the wheel is here")
def test_nobody_imports_what_a_file_keeps_to_itself():
    """A name with an underscore is not imported, by tests neither."""
    taken = {
        f"{path.name}: {node.module}.{alias.name}"
        for package in (*ALLOWED, "tests")
        for path in (TREE / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.endswith("__")
    }
    assert taken == set()


@pytest.mark.parametrize("package", ROOMS)
def test_every_module_is_in_a_room(package):
    """No file lies beside the rooms, and no room is missing in the list."""
    rooms = {name for one in ROOMS[package] for name in ([one] if isinstance(one, str) else one)}
    for name in modules(EDGE.parent, [package]):
        _, _, rest = name.partition(".")
        assert rest.split(".")[0] in rooms | {"", "__main__"}, name


@pytest.mark.parametrize("packages", [("edge",), ("quantize", "training")])
def test_no_two_classes_of_the_device_or_of_the_desktop_have_one_name(packages):
    """In the log, in an error or in a search a name means one thing."""
    found = Counter(
        node.name
        for path in modules(EDGE.parent, packages).values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, times in found.items() if times > 1] == []


def test_a_folder_loads_none_of_its_files():
    """Importing a folder costs no file of it, but for what is listed."""
    files = modules(EDGE.parent, ROOMS if IN_TREE else ["edge"])
    folders = {name for name, path in files.items() if path.name == "__init__.py"}
    loaded = {arrow for arrow, kind in kinds(files).items() if kind == "load"}
    inside = {arrow for arrow in loaded if arrow[0] in folders and arrow[1].startswith(arrow[0])}
    listed = {one for one in WHOLE if one in files}
    assert {one for one, _ in inside} == listed, inside


def test_the_device_program_knows_no_desktop_library():
    """No file of `edge` names TensorFlow, Keras, OpenCV, scikit-learn, matplotlib or Jinja."""
    desktop = {"tensorflow", "tf_keras", "keras", "tensorflow_model_optimization"}
    desktop |= {"sklearn", "cv2", "scipy", "matplotlib", "jinja2", "rich", "typer"}
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
def test_importing_the_desktop_commands_loads_nothing_heavy():
    """`training` and `quantize` load their libraries where they are used."""
    code = """
import sys
import training.commands.cli, training.data.check, training.data.report, training.report.page
import quantize.commands.cli
loaded = {name.split(".")[0] for name in sys.modules}
heavy = {"tensorflow", "tf_keras", "cv2", "scipy", "sklearn", "matplotlib", "jinja2"}
assert not heavy & loaded, heavy & loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.skipif(not IN_TREE, reason="only the wheel is here")
def test_lock_files_hold_hashes_and_no_addresses():
    """Every pinned package carries hashes; no index, link or path stands in a lock file."""
    files = sorted((TREE / "requirements").glob("*.txt"))
    assert {file.stem for file in files} == {
        "device",
        "desktop",
        "cluster",
        "lite",
        "test",
        "lint",
        "docs",
    }
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
        assert "edge/py.typed" in archive.namelist()
        metadata = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        requires = archive.read(metadata).decode().lower()
    assert tops == {"edge", "wheatear"}
    assert "tensorflow" not in requires.replace("tflite", "")
