"""Read a table of labels, as spreadsheets and people write them; write the one kind of our own."""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edge.errors import DataError
from training.data.dataset import SPLITS, UNLABELLED, Dataset, Example
from training.files import write_shared

COLUMNS = ("file", "label", "split", "group")
NAMES = {
    "file": "file filename path filepath image imagename imagepath imagefile imageid img picture "
    "photo",
    "label": "label labels class classname category species pest tag",
    "split": "split subset set partition",
    "group": "group groups groupid",
}
"""Other words for our columns; blanks, hyphens and underscores between them do not matter."""
SEPARATORS = ",;\t|"
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
UNLABELLED_WORDS = frozenset(("unlabelled", "unlabeled", "not labelled", "not labeled"))
_BYTE_ORDER_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(frozen=True)
class Header:
    """The first line of a table: where our columns are."""

    separator: str
    columns: Mapping[str, int]
    """Place of ``file``, ``label`` and, where they are there, ``split`` and ``group``."""
    renamed: tuple[str, ...]
    """Columns that have another name here, as ``class is label``."""
    unused: tuple[str, ...]
    """Names of the other columns."""


@dataclass(frozen=True)
class Table:
    """What a table of labels says."""

    header: Header
    rows: tuple[Example, ...]
    """Files as they are written there."""
    lines: tuple[int, ...]
    """The line of each row, from 1."""


def read_csv(path: Path | str) -> tuple[Example, ...]:
    """Rows of a table of labels; see :func:`read_table`."""
    return read_table(path).rows


def read_table(path: Path | str) -> Table:
    """Rows of ``file,label[,split][,group]``, in any order, with other columns between them.

    UTF-8 or UTF-16, with or without a byte order mark; separated by commas, semicolons, tabs or
    bars; columns may have the other names of :data:`NAMES`, in any case of letters.

    Raises:
        DataError: Unreadable, a column is missing or there twice, or a row is wrong; names the
            line.
    """
    path = Path(path)
    text = _text(path)
    header = _header(path, text)
    seen: dict[str, tuple[int, str]] = {}
    examples, lines = [], []
    for line, cells in _rows(path, text, header):
        example = _example(cells, header, f"{path}, line {line}")
        if example.file in seen:
            before, label = seen[example.file]
            differs = f" as {label!r}, here {example.label!r}" if label != example.label else ""
            raise DataError(
                f"{path}, line {line}: {example.file} is already on line {before}{differs}; "
                "keep one of the two rows"
            )
        seen[example.file] = line, example.label
        examples.append(example)
        lines.append(line)
    if not examples:
        raise DataError(f"{path}: holds no rows; list at least one file and its label")
    return Table(header, tuple(examples), tuple(lines))


def looks_like_labels(path: Path) -> bool:
    """Whether the first line of a file names a column of files and one of labels."""
    try:
        with path.open("rb") as file:
            start = file.read(4096)
        first = _first_line(_decode(start[: len(start) // 2 * 2], errors="ignore"))
    except (OSError, UnicodeError):
        return False
    return any({"file", "label"} <= _known(cells).keys() for cells in _cut(first).values())


def write_csv(dataset: Dataset, path: Path | str) -> None:
    """Write ``file,label,split,group`` ordered by file name; the file appears whole.

    Raises:
        DataError: The file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_shared(path, as_csv(dataset).encode())
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error


def as_csv(dataset: Dataset) -> str:
    """The text that :func:`write_csv` writes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((e.file, e.label, e.split or "", e.group or "") for e in dataset.examples)
    return text.getvalue()


def clean_label(text: str) -> str:
    """A label without blanks around it, its letters composed: what looks the same is the same.

    Macs store names decomposed (NFD), tables hold them composed (NFC).
    """
    label = unicodedata.normalize("NFC", text).strip()
    return UNLABELLED if label.lower() in UNLABELLED_WORDS else label


def _text(path: Path) -> str:
    try:
        return _decode(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such CSV file") from error
    except (OSError, UnicodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error}); save it as UTF-8") from (
            error
        )


def _decode(content: bytes, errors: str = "strict") -> str:
    encoding = _BYTE_ORDER_MARKS.get(content[:2], "utf-8-sig")
    # Without a mark, every other byte of Latin letters in UTF-16 is 0; no text in UTF-8 holds one.
    if encoding == "utf-8-sig" and len(content) > 3 and content[:4].count(0) == 2:
        encoding = "utf-16-be" if content[0] == 0 else "utf-16-le"
    text = content.decode(encoding, errors)
    if "\0" in text:
        raise UnicodeError("it holds bytes 0, as a spreadsheet's own format does")
    return text


def _first_line(text: str) -> str:
    """The line that names the columns; ``sep=;`` before it is Excel's."""
    lines = (line for line in text.splitlines() if line.strip())
    first = next(lines, "")
    return next(lines, "") if re.fullmatch(r'"?sep=.?"?', first.strip(), re.I) else first


def _cut(line: str) -> dict[str, list[str]]:
    """The cells of the first line, by the separator they are cut at."""
    return {sep: next(csv.reader([line], delimiter=sep), []) for sep in SEPARATORS}


def _known(cells: list[str]) -> dict[str, list[int]]:
    """Places of each of our columns, under whatever name; the very name goes before others."""
    bare = [re.sub(r"[\s_-]+", "", cell).lower() for cell in cells]
    found = {}
    for column, words in NAMES.items():
        exact = [i for i, name in enumerate(bare) if name == column]
        places = exact or [i for i, name in enumerate(bare) if name in words.split()]
        if places:
            found[column] = places
    return found


def _header(path: Path, text: str) -> Header:
    line = _first_line(text)
    found = {sep: (cells, _known(cells)) for sep, cells in _cut(line).items()}
    separator = max(SEPARATORS, key=lambda sep: (len(found[sep][1]), len(found[sep][0])))
    cells, known = found[separator]
    absent = [name for name in COLUMNS[:2] if name not in known]
    if absent:
        raise DataError(
            f"{path}: column {' and '.join(absent)} missing; the first line must name "
            f"file,label[,split][,group] separated by commas, it is {line[:200]!r}"
        )
    for name, places in known.items():
        if len(places) > 1:
            these = " and ".join(cells[i].strip() for i in places)
            raise DataError(f"{path}: columns {these} could each be {name}; call one {name}")
    columns = {name: places[0] for name, places in known.items()}
    named = {place: name for name, place in columns.items()}
    stripped = [cell.strip() for cell in cells]
    return Header(
        separator,
        columns,
        tuple(f"{stripped[i]} is {n}" for i, n in named.items() if stripped[i].lower() != n),
        tuple(cell for i, cell in enumerate(stripped) if i not in named and cell),
    )


def _rows(path: Path, text: str, header: Header) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and cells of the rows below the header; empty rows are passed over."""
    # Strict: an open quotation mark would otherwise swallow every row after it.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=header.separator, strict=True)
    width, told = 0, False
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not told:
                told, width = not re.match(r"sep=", cells[0], re.I), len(cells)
                continue
            if len(cells) > width:
                raise DataError(
                    f"{path}, line {reader.line_num}: more fields than the header; "
                    "quote names that hold commas"
                )
            yield reader.line_num, cells + [""] * (width - len(cells))
    except csv.Error as error:
        raise DataError(
            f'{path}, line {reader.line_num}: {error}; look for a quotation mark (") without '
            "its second one"
        ) from error


def _example(cells: list[str], header: Header, where: str) -> Example:
    cell = {name: cells[place].strip() for name, place in header.columns.items()}
    # A file's own name may begin or end with a blank; `rows` finds which is meant.
    file, label = cells[header.columns["file"]], clean_label(cell["label"])
    if not file.strip() or not label:
        raise DataError(f"{where}: file and label must not be empty")
    if ".." in PurePosixPath(file.replace("\\", "/")).parts:
        raise DataError(f"{where}: {file!r} must be a path inside the folder of photos")
    word = cell.get("split", "").lower()
    if word and word not in SPLIT_WORDS:
        raise DataError(f"{where}: unknown split {word!r}: one of {', '.join(SPLITS)} or empty")
    return Example(
        str(PurePosixPath(file)), label, SPLIT_WORDS.get(word), cell.get("group") or None
    )
