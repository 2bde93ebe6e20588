"""Read labelled photos: a folder per class, or a table of labels beside the images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from edge.errors import DataError
from edge.model.image.picture_files import Listing, is_picture, is_unreadable, list_pictures
from training.data.dataset import UNLABELLED, Dataset, Example, Finding
from training.data.folders import from_folders
from training.data.rows import Names
from training.data.tables import Table, looks_like_labels, read_csv, read_table
from training.data.words import plural, some

TABLES = ("split.csv", "labels.csv", "split.tsv", "labels.tsv")
"""Tables of labels that are used when they lie in the folder of photos, the first of them."""
_ARCHIVES = frozenset((".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".7z", ".rar"))
SPREADSHEETS = frozenset((".xlsx", ".xls", ".ods", ".numbers"))


def load_dataset(
    path: Path | str,
    split_csv: Path | str | None = None,
    *,
    ignore_csv: bool = False,
    missing_ok: bool = False,
    unlabelled_ok: bool = False,
) -> Dataset:
    """Find labelled photos below a folder, or named by a table.

    A folder's ``split.csv`` or ``labels.csv`` is used; otherwise each sub-folder is a class, or
    ``train``/``val``/``test`` folders hold the classes. What is not used stands in ``notes``.

    Args:
        path: The folder, or a table whose file names are relative to the table's own folder.
        split_csv: Labels and splits for the folder, from a table that lies elsewhere.
        ignore_csv: Look at the folders only.
        missing_ok: Keep rows whose file is absent, for a check that will report them.
        unlabelled_ok: Keep photos with the label ``unlabelled``; otherwise they are left out.

    Raises:
        DataError: Nothing usable there, or the table is wrong; the message names the place and
            cure.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise DataError(f"{path}: no such folder or CSV file")
    if split_csv is not None and not path.is_dir():
        raise DataError(f"{path}: a separate split CSV needs the folder of photos, not a file")
    if path.is_file() and (is_picture(path) or is_unreadable(path)):
        raise DataError(f"{path}: one picture; give the folder that holds a folder per class")
    if path.is_file() and path.suffix.lower() in _ARCHIVES:
        raise DataError(f"{path}: an archive; unpack it, and give the folder")
    root = path if path.is_dir() else path.parent
    table = None if path.is_dir() else path
    if split_csv is not None:
        table = Path(split_csv).expanduser()
    listing = _listed(root)
    if table is None and not ignore_csv:
        table = _table_inside(root)
    dataset = (
        _from_table(root, table, listing, missing_ok) if table else from_folders(root, listing)
    )
    notes = (*dataset.notes, *_other_tables(root, table), *_left_out(root, listing, table))
    dataset = replace(dataset, notes=notes)
    return dataset if unlabelled_ok else _labelled(dataset)


def _listed(root: Path) -> Listing:
    try:
        listing = list_pictures(root)
    except OSError as error:
        raise DataError(f"{root}: cannot be listed ({error.strerror})") from error
    odd = [name for name in listing.pictures if not _printable(name)]
    if odd:
        shown = odd[0].encode("utf-8", "backslashreplace").decode()
        raise DataError(
            f"{root}: {len(odd)} of the files have a name that is not UTF-8, as {shown}; "
            "rename them or their folders"
        )
    return listing


def _printable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _table_inside(folder: Path) -> Path | None:
    """The table of labels in a folder; one that nobody can read is an error, never passed over."""
    names = {entry.name.lower(): entry for entry in sorted(folder.iterdir()) if entry.is_file()}
    for name in TABLES:
        if name in names:
            try:
                read_table(names[name])
            except DataError as error:
                raise DataError(f"{error} (--ignore-csv looks at the folders only)") from error
            return names[name]
    for stem in ("split", "labels"):
        for suffix in SPREADSHEETS:
            if stem + suffix in names:
                raise DataError(
                    f"{names[stem + suffix]}: a spreadsheet's own format is not read; save it as "
                    f"{stem}.csv (CSV, UTF-8), or use --ignore-csv"
                )
    return None


def _from_table(root: Path, path: Path, listing: Listing, missing_ok: bool) -> Dataset:
    table = read_table(path)
    names = Names(root, (*listing.pictures, *listing.unreadable))
    examples, otherwise = [], []
    lines: dict[str, int] = {}
    for row, line in zip(table.rows, table.lines, strict=True):
        file = names.find(row.file)
        examples.append(replace(row, file=file or row.file))
        if file is not None and file in lines:
            raise DataError(
                f"{path}, line {line}: {row.file} is {file}, which is already on line "
                f"{lines[file]}; keep one of the two rows"
            )
        if file is not None:
            lines[file] = line
            if file != row.file:
                otherwise.append(f"{row.file} is {file}")
    missing = [e.file for e in examples if e.file not in lines]
    if missing and not missing_ok:
        raise DataError(
            f"{path}: {len(missing)} of {len(examples)} files are not below {root}: "
            f"{some(missing)}; correct the paths or remove the rows"
        )
    unlisted = [file for file in listing.pictures if file not in lines]
    notes = [*_columns(table, path), *_disagreements(examples, path)]
    if otherwise:
        words = f"names of files written another way in {len(otherwise)} rows: {some(otherwise)}"
        notes.append(Finding("note", "source", f"{path.name}: {words}"))
    if unlisted:
        count = plural(len(unlisted), "photo")
        words = f"{count} not listed in {path.name}, not used: {some(unlisted)}"
        notes.append(
            Finding("warning", "not-used", words, "Add rows for them, or move them elsewhere.")
        )
    return Dataset(root, tuple(examples), f"labels from {path}", tuple(notes))


def _columns(table: Table, path: Path) -> list[Finding]:
    """What the columns were taken for, and which are not used."""
    notes = []
    if table.header.renamed:
        notes.append(f"{path.name}: column {', column '.join(table.header.renamed)}")
    if table.header.unused:
        notes.append(f"{path.name}: columns not used: {', '.join(table.header.unused)}")
    return [Finding("note", "source", note) for note in notes]


def _disagreements(examples: list[Example], path: Path) -> Iterator[Finding]:
    """Photos in a folder named after another class than the table gives them."""
    labels = {e.label for e in examples} - {UNLABELLED}
    differ = [
        f"{e.file} is {e.label}"
        for e in examples
        if e.label != UNLABELLED
        and (folders := labels & {*PurePosixPath(e.file).parts[:-1]})
        and e.label not in folders
    ]
    if differ:
        yield Finding(
            "warning",
            "folder-differs",
            f"{path.name} gives {plural(len(differ), 'photo')} another class than the folder's "
            f"name: {some(differ)}",
            "The table counts; --ignore-csv takes the folders.",
        )


def _other_tables(root: Path, used: Path | None) -> list[Finding]:
    """Tables of labels that lie there and are not used, and whether they contradict the one."""
    found = []
    for path in sorted(root.iterdir()):
        if not path.is_file() or (used is not None and path.samefile(used)):
            continue
        if path.suffix.lower() in SPREADSHEETS:
            found.append(_not_used(path, "a spreadsheet", "Save it as labels.csv to use it."))
        elif path.suffix.lower() in (".csv", ".tsv", ".txt") and looks_like_labels(path):
            what = "a table of labels"
            if used is not None and used.exists() and (count := _contradictions(used, path)):
                what += (
                    f", which differs from {used.name} in the labels of {plural(count, 'photo')}"
                )
            found.append(_not_used(path, what, f"To use it, --split-csv {path}."))
    return found


def _not_used(path: Path, what: str, advice: str) -> Finding:
    return Finding("warning", "table-not-used", f"{path.name}: {what}, not used", advice)


def _contradictions(used: Path, other: Path) -> int:
    try:
        labels = {e.file: e.label for e in read_csv(used)}
        return sum(labels.get(e.file, e.label) != e.label for e in read_csv(other))
    except DataError:
        return 0


def _left_out(root: Path, listing: Listing, table: Path | None) -> list[Finding]:
    """Files that are no pictures, hidden, or in a format that cannot be read."""
    tables = {path.name for path in root.iterdir() if path.name.lower() in TABLES}
    if table is not None and table.parent == root:
        tables.add(table.name)
    rest = Listing(
        pictures=listing.pictures,
        unreadable=listing.unreadable,
        closed=listing.closed,
        hidden=listing.hidden,
        others=tuple(name for name in listing.others if name not in tables),
    )
    lost = bool(listing.unreadable or listing.closed)
    notes = rest.notes()
    loud = bool(listing.unreadable) + bool(listing.closed)
    return [
        Finding("warning" if lost and i < loud else "note", "not-used" if i < loud else "source", n)
        for i, n in enumerate(notes)
    ]


def _labelled(dataset: Dataset) -> Dataset:
    """Without the photos that nobody has labelled yet."""
    kept = dataset.labelled()
    without = len(dataset) - len(kept)
    if not kept.examples:
        raise DataError(
            f"{dataset.root}: none of the {plural(without, 'photo')} has a label yet; put them "
            f"into the label column in place of {UNLABELLED!r}"
        )
    if not without:
        return dataset
    note = Finding(
        "warning", "unlabelled", f"{plural(without, 'photo')} not labelled yet, not used"
    )
    return replace(kept, notes=(*dataset.notes, note))
