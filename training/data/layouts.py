"""Recognise how other programs lay photos and labels out, to say what to do with them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from training.data.tables import looks_like_labels

_ENOUGH = 4000
"""Files looked at; one marker is enough."""
_SUFFIXES = frozenset((".json", ".yaml", ".yml", ".txt", ".xml", ".csv", ".tsv", ".labels"))
_START = 65536
"""Bytes of a file looked at."""


def foreign_layout(root: Path) -> str:
    """What the folder looks like and what to do, in words; empty where nothing is recognised."""
    for number, path in enumerate(_files(root)):
        if number >= _ENOUGH:
            break
        for name, fits in _MARKS:
            if fits(path):
                return (
                    f"this looks like {name}, boxes or several labels ({path.relative_to(root)}), "
                    "which is not read: Wheatear takes whole photos with one label each. Export it "
                    "again for classification with a folder per class, or write labels.csv."
                )
        if path.suffix.lower() in (".csv", ".tsv") and looks_like_labels(path):
            return (
                f"{path.relative_to(root)} looks like a table of labels: if it is, give "
                f"--split-csv {path}, or name it labels.csv;"
            )
    return ""


def labels_in_names(files: Iterable[str]) -> str:
    """What the files' names begin with, where that looks like classes; else nothing."""
    starts = (re.match(r"([^\W\d_].*?)[\s_.-]*\(?\d+\)?$", PurePosixPath(f).stem) for f in files)
    counts = Counter(m[1].strip(" _-.") for m in starts if m)
    classes = {name: n for name, n in counts.items() if n > 1}
    if len(classes) < 2:
        return ""
    told = ", ".join(f"{name} ({n})" for name, n in sorted(classes.items())[:5])
    return f"the names of the files begin with {told}: if these are classes,"


def _files(root: Path) -> Iterator[Path]:
    """Files that no picture is, those at the top first."""
    for pattern in ("*", "*/*", "*/*/*"):
        for path in sorted(root.glob(pattern)):
            if path.suffix.lower() in _SUFFIXES:
                yield path


def _start(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_START).decode("utf-8", "replace")
    except OSError:
        return ""


def _coco(path: Path) -> bool:
    if path.suffix.lower() != ".json":
        return False
    named = path.name.endswith(".coco.json") or path.name.startswith("instances_")
    text = _start(path)
    return named or all(f'"{key}"' in text for key in ("images", "annotations"))


def _voc(path: Path) -> bool:
    return path.suffix.lower() == ".xml" and "<annotation" in _start(path)


def _yolo(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in (".yaml", ".yml"):
        return re.search(r"^(names|nc)\s*:", _start(path), re.M) is not None
    lines = _start(path).splitlines() if suffix == ".txt" else []
    return bool(lines) and re.fullmatch(r"\d+( [\d.eE+-]+){4,}\s*", lines[0]) is not None


def _roboflow(path: Path) -> bool:
    return path.name in ("_annotations.csv", "_annotations.txt", "_classes.csv", "_darknet.labels")


_MARKS: tuple[tuple[str, Callable[[Path], bool]], ...] = (
    ("a Roboflow export", _roboflow),
    ("COCO data", _coco),
    ("YOLO data", _yolo),
    ("Pascal VOC data", _voc),
)
