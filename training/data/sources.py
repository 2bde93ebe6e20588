"""Read labelled photos: a folder per class, or a CSV beside the images."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path, PurePosixPath

from edge.errors import DataError
from edge.picture_files import is_hidden, list_pictures
from training.data.dataset import SPLITS, Dataset, Example

CSV_NAMES = ("split.csv", "labels.csv")
COLUMNS = ("file", "label", "split", "group")
UNLABELLED = "unlabelled"
"""The label of photos that nobody has labelled yet. Never a class."""
EMPTY_FOLDERS = "folders without a photo"
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def load_dataset(
    path: Path | str,
    split_csv: Path | str | None = None,
    *,
    ignore_csv: bool = False,
    missing_ok: bool = False,
    unlabelled_ok: bool = False,
) -> Dataset:
    """Find labelled photos below a folder, or named by a CSV.

    A folder's ``split.csv`` or ``labels.csv`` is used when its header has ``file`` and ``label``;
    otherwise each sub-folder is a class, or ``train``/``val``/``test`` folders hold the classes.

    Args:
        path: The folder, or a CSV whose file names are relative to the CSV's own folder.
        split_csv: Labels and splits for the folder, from a CSV that lies elsewhere.
        ignore_csv: Look at the folders only.
        missing_ok: Keep rows whose file is absent, for a check that will report them.
        unlabelled_ok: Keep rows with the label ``unlabelled``; otherwise they are left out.

    Raises:
        DataError: Nothing usable there, or the CSV is wrong; the message names the place and cure.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise DataError(f"{path}: no such folder or CSV file")
    if split_csv is not None and not path.is_dir():
        raise DataError(f"{path}: a separate split CSV needs the folder of photos, not a file")
    if path.is_dir():
        table = Path(split_csv).expanduser() if split_csv is not None else None
        if table is None and not ignore_csv:
            table = _csv_inside(path)
        root = path
    else:
        table, root = path, path.parent
    if table is None:
        return _from_folders(root)
    dataset = _from_csv(root, table, missing_ok)
    return dataset if unlabelled_ok else _labelled(dataset)


def read_csv(path: Path | str) -> tuple[Example, ...]:
    """Rows of ``file,label[,split][,group]`` (UTF-8, a BOM is fine); other columns are ignored.

    Raises:
        DataError: Unreadable, a column is missing, or a row is wrong; names the line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such CSV file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error}); save it as UTF-8") from (
            error
        )
    reader = csv.DictReader(io.StringIO(text, newline=""))
    header = [(name or "").strip().lower() for name in reader.fieldnames or []]
    absent = [name for name in COLUMNS[:2] if name not in header]
    if absent:
        raise DataError(
            f"{path}: column {' and '.join(absent)} missing; the first line must name "
            f"file,label[,split][,group] separated by commas, it is {','.join(header)!r}"
        )
    reader.fieldnames = header
    seen: dict[str, int] = {}
    examples = []
    for row in reader:
        line = reader.line_num
        example = _row(row, f"{path}, line {line}")
        if example.file in seen:
            raise DataError(
                f"{path}, line {line}: {example.file} is already on line {seen[example.file]}; "
                "keep one of the two rows"
            )
        seen[example.file] = line
        examples.append(example)
    if not examples:
        raise DataError(f"{path}: holds no rows; list at least one file and its label")
    return tuple(examples)


def write_csv(dataset: Dataset, path: Path | str) -> None:
    """Write ``file,label,split,group`` ordered by file name; the file appears whole.

    Raises:
        OSError: The folder cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for e in dataset.examples:
            writer.writerow((e.file, e.label, e.split or "", e.group or ""))
    os.replace(partial, path)


def _row(row: dict[str | None, str | list[str] | None], where: str) -> Example:
    if None in row:
        raise DataError(f"{where}: more fields than the header; quote names that hold commas")
    cell = {str(key): str(value or "").strip() for key, value in row.items()}
    file, label = cell["file"], cell["label"]
    if not file or not label:
        raise DataError(f"{where}: file and label must not be empty")
    if file.startswith("/") or ".." in PurePosixPath(file).parts:
        raise DataError(f"{where}: {file!r} must be a path inside the folder of photos")
    word = cell.get("split", "").lower()
    if word and word not in SPLIT_WORDS:
        raise DataError(f"{where}: unknown split {word!r}: one of {', '.join(SPLITS)} or empty")
    return Example(
        str(PurePosixPath(file)), label, SPLIT_WORDS.get(word), cell.get("group") or None
    )


def _csv_inside(folder: Path) -> Path | None:
    for name in CSV_NAMES:
        candidate = folder / name
        if candidate.is_file():
            with candidate.open(encoding="utf-8-sig", errors="replace") as file:
                header = [word.strip().lower() for word in file.readline().split(",")]
            if {"file", "label"} <= set(header):
                return candidate
    return None


def _from_csv(root: Path, table: Path, missing_ok: bool) -> Dataset:
    examples = read_csv(table)
    missing = [example.file for example in examples if not (root / example.file).is_file()]
    if missing and not missing_ok:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise DataError(
            f"{table}: {len(missing)} of {len(examples)} files are not below {root}: "
            f"{', '.join(missing[:3])}{more}; correct the paths or remove the rows"
        )
    listed = {example.file for example in examples}
    unlisted = sum(1 for file in list_pictures(root).pictures if file not in listed)
    notes = (f"{_photos(unlisted)} not listed in {table.name}, not used",) if unlisted else ()
    return Dataset(root, examples, f"labels from {table}", notes)


def _labelled(dataset: Dataset) -> Dataset:
    """Without the photos that nobody has labelled yet."""
    kept = tuple(example for example in dataset.examples if example.label != UNLABELLED)
    without = len(dataset) - len(kept)
    if not kept:
        raise DataError(
            f"{dataset.root}: none of the {_photos(without)} has a label yet; put them into the "
            f"label column in place of {UNLABELLED!r}"
        )
    notes = (f"{_photos(without)} not labelled yet, not used",) if without else ()
    return Dataset(dataset.root, kept, dataset.source, (*dataset.notes, *notes))


def _from_folders(root: Path) -> Dataset:
    tops = [entry.name for entry in root.iterdir() if entry.is_dir() and not is_hidden(entry.name)]
    by_split = bool(tops) and all(name.lower() in SPLIT_WORDS for name in tops)
    depth = 2 if by_split else 1
    listing = list_pictures(root)
    examples, stray = [], 0
    for file in listing.pictures:
        parts = PurePosixPath(file).parts
        if len(parts) <= depth:
            stray += 1
        else:
            split = SPLIT_WORDS[parts[0].lower()] if by_split else None
            examples.append(Example(file, parts[depth - 1], split))
    if not examples:
        raise DataError(
            f"{root}: no labelled photos found ({stray} photos outside class folders"
            f"{''.join(f'; {note}' for note in listing.notes())}); put photos into one folder per "
            "class, or list them in labels.csv with the columns file,label"
        )
    notes = []
    folders = set(tops)
    if by_split:
        folders = {d.name for top in tops for d in (root / top).iterdir() if d.is_dir()}
    labels = {example.label for example in examples}
    empty = sorted(name for name in folders - labels if not is_hidden(name))
    if empty:
        notes.append(f"{EMPTY_FOLDERS}: {', '.join(empty)}")
    if stray:
        notes.append(f"{_photos(stray)} outside any class folder, not used")
    notes += listing.notes()
    how = "train/val/test folders with a folder per class" if by_split else "a folder per class"
    return Dataset(root, tuple(examples), f"{how} in {root}", tuple(notes))


def _photos(count: int) -> str:
    return f"{count} photo{'' if count == 1 else 's'}"
