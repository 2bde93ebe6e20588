"""Label files of TFLite classifiers: which layout they have, and what was made of it.

One label a line; ``number label`` on every line; or a table with a header, read by its columns of
numbers (``id``, ``index`` ...) and names (``name``, ``label`` ...). What has another layout is an
error that names the line; what is odd about one that can be read is told.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from edge.errors import ModelError
from edge.text.encodings import read_text

_INDEXED = re.compile(r"(\d+)(?:\s*[:;,|\t]\s*|\s+)(\S.*)")
_SEPARATORS = (",", ";", "\t", "|")
_IDS = {"id", "index", "idx", "number", "no", "nr", "class_id", "class id", "class_index"}
_NAMES = {"name", "label", "class", "class_name", "class name", "display_name", "labels", "names"}
_MOST = 100_000
"""No classifier has a class with a larger number."""
_ALIKE = "classes with the same name cannot be told apart"
_BACKGROUND = {"background", "__background__", "_background_", "bg", "none", "???", "unlabelled"}


class Labels(NamedTuple):
    """Names by class, and what is to be told of them."""

    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_labels(file: Path, classes: int) -> Labels:
    """Read a label file for a model of so many scores; their number is not compared here.

    Raises:
        ModelError: it cannot be read, or its layout is not known; names the file.
    """
    try:
        return parse_labels(read_text(file), classes)
    except OSError as error:
        raise ModelError(f"label file {file}: {error.strerror or error}") from error
    except ValueError as error:  # ModelError is one
        raise ModelError(f"label file {file}: {error}") from error


def parse_labels(text: str, classes: int = 0) -> Labels:
    """Read labels. `classes`, where known, tells numbers from 1 from numbers from 0.

    Raises:
        ModelError: no layout that is known, or a number or a name stands there twice.
    """
    lines = [line.strip() for line in text.lstrip("\ufeff").rstrip().splitlines()]
    if not any(lines):
        raise ModelError("the label file is empty")
    if "" in lines:
        raise ModelError(f"the label file has a blank line {lines.index('') + 1}")
    table = _table(lines)
    if table is not None:
        return _by_number(table, classes, f"a table, read by its columns {lines[0]!r}")
    found = [_INDEXED.fullmatch(line) for line in lines]
    numbered = [(int(one[1]), one[2], i + 1) for i, one in enumerate(found) if one]
    if len(numbered) == len(lines):
        return _by_number(numbered, classes)
    _refuse_mixture(lines, numbered)
    _refuse_numbers_behind(lines)
    return Labels(tuple(lines), (*_doubled(lines, classes), *_alike(lines)))


def odd_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Notes on names that occur twice or look the same."""
    doubles = _doubles(list(names))
    return (*((f"{_ALIKE}: {doubles}",) if doubles else ()), *_alike(names))


def is_background(name: str) -> bool:
    """Whether a label has one of the usual names for "none of the other classes"."""
    return name.strip().lower() in _BACKGROUND


def _table(lines: list[str]) -> list[tuple[int, str, int]] | None:
    """Return number, name and line of each row below a header; None without a header.

    Raises:
        ModelError: the header lacks a column, or a row a number.
    """
    for separator in _SEPARATORS:
        rows = list(csv.reader(lines, delimiter=separator, skipinitialspace=True))
        header = [cell.strip().lower() for cell in rows[0]]
        if len(header) > 1 and set(header) & (_IDS | _NAMES):
            break
    else:
        if lines[0].lower() in _IDS | _NAMES and len(lines) > 1:
            raise ModelError(f"line 1, {lines[0]!r}, looks like a header; remove it")
        return None
    number = next((i for i, cell in enumerate(header) if cell in _IDS), None)
    name = next((i for i, cell in enumerate(header) if cell in _NAMES), None)
    if number is None or name is None:
        raise ModelError(
            f"it is a table with the header {lines[0]!r}; name one column id, which counts from 0 "
            "as the scores do, and one column name"
        )
    table = []
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(header) or not row[number].strip().isdecimal() or not row[name].strip():
            raise ModelError(
                f"line {line}, {lines[line - 1] if line <= len(lines) else ''!r}, does not fit the "
                f"header {lines[0]!r}; quote names that hold {separator!r}"
            )
        table.append((int(row[number]), row[name].strip(), line))
    if not table:
        raise ModelError(f"it holds nothing but the header {lines[0]!r}")
    return table


def _by_number(rows: list[tuple[int, str, int]], classes: int, layout: str = "") -> Labels:
    by_number: dict[int, str] = {}
    for number, name, line in rows:
        if number in by_number:
            raise ModelError(f"the label file gives the number {number} twice, on line {line} too")
        by_number[number] = name
    first, last = min(by_number), max(by_number)
    if last > _MOST:
        raise ModelError(f"the label file gives the number {last}, beyond {_MOST}")
    notes = [layout] if layout else []
    if first == 1 and last == classes == len(rows):
        by_number = {number - 1: name for number, name in by_number.items()}
        last -= 1
        notes.append("its numbers begin at 1, as many as there are scores: 1 is the first score")
    gaps = [number for number in range(last + 1) if number not in by_number]
    if gaps:
        some = ", ".join(map(str, gaps[:3])) + (" ..." if len(gaps) > 3 else "")
        notes.append(f"without a name: {some}; called 'class {gaps[0]}' and so on")
    names = [by_number.get(number, f"class {number}") for number in range(last + 1)]
    return Labels(tuple(names), (*notes, *odd_names(tuple(names))))


def _refuse_mixture(lines: list[str], numbered: list[tuple[int, str, int]]) -> None:
    """Refuse numbers that count lines, where not every line has one.

    Raises:
        ModelError: they do.
    """
    counting = [number for number, _, line in numbered if number in (line - 2, line - 1, line)]
    if 2 * len(counting) < len(lines):
        return
    with_number = {line for _, _, line in numbered}
    line = next(i for i in range(1, len(lines) + 1) if i not in with_number)
    raise ModelError(
        f"line {line}, {lines[line - 1]!r}, has no number and most others do; number all lines "
        "from 0, or none"
    )


def _refuse_numbers_behind(lines: list[str]) -> None:
    """Refuse ``label,number`` on every line, whose number would be taken for a part of the name.

    Raises:
        ModelError: that is the layout.
    """
    for separator in _SEPARATORS:
        last = [line.rpartition(separator)[2].strip() for line in lines]
        if len(lines) > 1 and all(separator in line for line in lines):
            numbers = sorted(int(one) for one in last if one.isdecimal())
            if len(numbers) == len(lines) and numbers[-1] - numbers[0] == len(lines) - 1:
                raise ModelError(
                    f"each line ends in a number, as line 1, {lines[0]!r}, does; put the number "
                    "first, or add the header name,id"
                )


def _doubled(lines: list[str], classes: int) -> tuple[str, ...]:
    """A note on lines that occur twice, apart, in a list with as many lines as scores.

    The usual list of ImageNet has a crane that is a bird and one that lifts.

    Raises:
        ModelError: any others do.
    """
    doubles = _doubles(lines)
    beside = any(one == other for one, other in pairwise(lines))
    few = 100 * (len(lines) - len(set(lines))) <= len(lines)
    if doubles and (beside or not few or len(lines) != classes):
        raise ModelError(
            f"labels occur twice: {doubles}; one line too many shifts all that follow. Give each "
            "class a name of its own, or number the lines from 0"
        )
    return (f"{_ALIKE}: {doubles}",) if doubles else ()


def _doubles(names: list[str]) -> str:
    at = defaultdict(list)
    for line, name in enumerate(names, 1):
        at[name].append(str(line))
    found = [f"{name!r} ({', '.join(lines)})" for name, lines in at.items() if len(lines) > 1]
    return ", ".join(found[:3])


def _alike(names: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Notes on names that differ only in case, blanks or the form of their letters."""
    forms = defaultdict(set)
    for name in names:
        plain = unicodedata.normalize("NFKC", name).casefold()
        forms[re.sub(r"[\s_-]+", " ", plain).strip()].add(name)
    found = [" and ".join(map(repr, sorted(same))) for same in forms.values() if len(same) > 1]
    return (f"differ in case, blanks or accents' form only: {'; '.join(found[:3])}",) * bool(found)
