"""What the words of the tree point at is there: modules, classes, functions, files."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

TREE = Path(__file__).parent.parent
if not (TREE / "training").is_dir():
    pytest.skip("only the wheel is here", allow_module_level=True)
PACKAGES = ("edge", "quantize", "training", "demo", "benchmarks", "soak")
FOLDERS = (*PACKAGES, "tests", "docs", "firmware-config", "requirements")
SOURCES = [path for package in PACKAGES for path in sorted((TREE / package).rglob("*.py"))]
PAGES = [*TREE.glob("*.md"), TREE / "Makefile", *(TREE / "docs").rglob("*.md")]
SETTINGS = [*(TREE / "firmware-config").iterdir(), *(TREE / "tests" / "mutants").glob("*.toml")]
ROLE = re.compile(r":(?:mod|class|func|meth|attr|data):`~?([\w.]+)`")
DOTTED = re.compile(rf"`((?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+)`")
FILE = re.compile(rf"(?<![\w/.-])(?:{'|'.join(FOLDERS)})/[\w./*-]*[\w*]")
ELSEWHERE = ("docs/edgetpu/", "benchmarks/reference/inference_")
"""How paths in the repositories of others begin, where they begin like ours."""
TO_BE_MADE = (
    "edge/cameras/noise.py", "edge/cameras/triggers/light.py",
    "edge/model/runtimes/mean.py", "training/models/thin.py",
)  # fmt: skip
"""Files that whoever follows an example of docs/architecture.md makes."""


def has(text: str, name: str) -> bool:
    """Whether Python text defines, assigns or imports a name, at any depth."""
    made = rf"^\s*(?:(?:async )?def|class) {name}\b|^\s*(?:self\.)?{name}\b(?::| =)"
    taken = rf"^\s*(?:from .* )?import .*\b{name}\b"
    return re.search(f"{made}|{taken}", text, re.MULTILINE) is not None


def resolves(name: str, path: Path) -> bool:
    """Whether a name in a docstring of a file is found: in full, or as something of the file's own.

    A name from elsewhere need only begin with a library that is installed.
    """
    parts = name.split(".")
    if parts[0] not in PACKAGES:
        here = has(path.read_text("utf-8"), parts[-1])
        return here or importlib.util.find_spec(parts[0]) is not None
    for length in range(len(parts), 0, -1):
        module = TREE.joinpath(*parts[:length])
        for file in (module.with_suffix(".py"), module / "__init__.py"):
            if file.is_file():
                return all(has(file.read_text("utf-8"), part) for part in parts[length:])
    return False


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_docstring_points_at_is_there(package):
    """Each `:class:` and its like names something of its own file, or something in full."""
    for path in (path for path in SOURCES if path.is_relative_to(TREE / package)):
        for role in ROLE.finditer(path.read_text("utf-8")):
            assert resolves(role[1], path), f"{path.relative_to(TREE)}: {role[0]}"


@pytest.mark.parametrize("kind", [PAGES, SETTINGS, SOURCES], ids=["pages", "settings", "sources"])
def test_files_and_modules_that_are_named_are_there(kind):
    """A path below the tree's folders, or a dotted name of ours in backticks, is found."""
    for page in (page for page in kind if page.is_file()):
        text = page.read_text("utf-8")
        for name in DOTTED.findall(text):
            assert resolves(name, page), f"{page.relative_to(TREE)}: {name}"
        for name in FILE.findall(text):
            there = any(TREE.glob(name)) if "*" in name else (TREE / name).exists()
            assert there or name.startswith((*ELSEWHERE, *TO_BE_MADE)), (
                f"{page.relative_to(TREE)}: {name}"
            )
