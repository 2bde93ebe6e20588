"""Labels from folders: a folder per class, with or without train, val and test around or inside."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from edge.errors import DataError
from edge.model.image.picture_files import UNREADABLE, Listing, is_hidden
from training.data.dataset import UNLABELLED, Dataset, Example, Finding
from training.data.layouts import foreign_layout, labels_in_names
from training.data.tables import SPLIT_WORDS, clean_label
from training.data.words import plural, some

NO_CLASSES = frozenset(
    (
        *("images", "image", "imgs", "img", "jpegimages", "pictures", "photos", "dataset", "data"),
        *("labels", "annotations", "annots", "masks", "imagesets", "segmentationclass"),
        "obj_train_data",
    )
)
"""Folders that hold the photos of all classes, in the layouts of other programs."""
NOT_LABELLED = frozenset(
    ("unlabelled", "unlabeled", "predict", "predictions", "prediction", "inference", "unsorted")
)
"""Folders of photos that nobody has labelled."""


def from_folders(root: Path, listing: Listing) -> Dataset:
    """Read the labels of the pictures in a folder from the folders that they lie in.

    Raises:
        DataError: No class can be told; the message says what the folder looks like instead.
    """
    by_split = _has_split_folders(root, listing.pictures)
    depth = 2 if by_split else 1
    examples, stray, beside = [], [], defaultdict(list)
    for file in listing.pictures:
        parts = PurePosixPath(file).parts
        if by_split and len(parts) > 1 and parts[0].lower() not in SPLIT_WORDS:
            beside[parts[0]].append(file)
        elif len(parts) <= depth:
            stray.append(file)
        else:
            split = SPLIT_WORDS[parts[0].lower()] if by_split else None
            examples.append(Example(file, _label(parts[depth - 1]), split))
    if not examples:
        raise DataError(_nothing(root, listing, stray))
    inner = not by_split and _all_in_split_folders(examples)
    if inner:
        examples = [Example(e.file, e.label, SPLIT_WORDS[_parts(e)[1].lower()]) for e in examples]
    _refuse_foreign(root, listing, examples, by_split)
    how = "a folder per class"
    if by_split or inner:
        how = "train/val/test folders" + (" in" if inner else " with") + " a folder per class"
    notes = (
        *_vanished(listing, examples, depth),
        *_empty(root, listing, examples, by_split),
        *_merged(examples, depth),
        *_unused(stray, "outside any class folder"),
        *(
            note
            for name, files in sorted(beside.items())
            for note in _unused(files, f"in {name}/, beside train, val and test")
        ),
    )
    return Dataset(root, tuple(examples), f"{how} in {root}", notes)


def _parts(example: Example) -> tuple[str, ...]:
    return PurePosixPath(example.file).parts


def _label(folder: str) -> str:
    label = clean_label(folder) or folder
    return UNLABELLED if label.lower() in NOT_LABELLED else label


def _has_split_folders(root: Path, pictures: Iterable[str]) -> bool:
    """Whether the folders at the top are train, val and test, with class folders in them.

    Raises:
        DataError: They could as well be classes.
    """
    deep: Counter[str] = Counter()
    flat: Counter[str] = Counter()
    for file in pictures:
        parts = PurePosixPath(file).parts
        if len(parts) > 1:
            (deep if len(parts) > 2 else flat)[parts[0]] += 1
    tops = sorted({*deep, *flat})
    words = [top for top in tops if top.lower() in SPLIT_WORDS]
    holding = [top for top in words if deep[top]]
    others = [top for top in tops if top not in words]
    if any(SPLIT_WORDS[top.lower()] == "train" for top in holding):
        return True
    if words and others and (len(others) > 1 or holding):
        raise DataError(
            f"{root}: {', '.join(words)} beside {', '.join(others[:5])}: part of a split, or a "
            "class? Rename it if it is a class; else put train, val and test at the top, with a "
            "folder per class in each"
        )
    if words and not holding:
        files = sum(flat[top] for top in words)
        raise DataError(
            f"{root}: {files} photos lie directly in {', '.join(words)}; put them into a folder "
            "per class in there, or list them in labels.csv with the columns file,label,split"
            + _hint(foreign_layout(root))
        )
    return bool(words)


def _all_in_split_folders(examples: Iterable[Example]) -> bool:
    """Whether every class folder is divided into train, val and test inside."""
    return all(len(p := _parts(e)) > 2 and p[1].lower() in SPLIT_WORDS for e in examples)


def _refuse_foreign(
    root: Path, listing: Listing, examples: Iterable[Example], by_split: bool
) -> None:
    """Layouts in which the folders are no classes."""
    examples = tuple(examples)
    labels = {e.label for e in examples}
    if {label.lower() for label in labels} <= NO_CLASSES and foreign_layout(root):
        raise DataError(f"{root}: {foreign_layout(root)}")
    if len(labels) > 1 or by_split:
        if {label.lower() for label in labels} <= NO_CLASSES:
            raise DataError(
                f"{root}: {', '.join(sorted(labels))} are not names of classes; rename the folders "
                "if they are, else put photos into one folder per class, or list them in labels.csv"
            )
        return
    # One folder that holds everything: is it a class, or one level too much?
    if len({_parts(e)[0] for e in examples}) == 1 and not listing.unreadable:
        inside = sorted({_parts(e)[1] for e in examples if len(_parts(e)) > 2})
        folder, some = root / _parts(examples[0])[0], ", ".join(inside[:5])
        if inside and all(len(_parts(e)) > 2 for e in examples):
            raise DataError(
                f"{root}: all photos lie in {folder.name}/, in the folders {some}: if these are "
                f"the classes or the splits, give {folder}; if all is one class, it needs a second "
                "one beside it"
            )


def _nothing(root: Path, listing: Listing, stray: list[str]) -> str:
    words = foreign_layout(root) or labels_in_names(stray)
    if not words and stray and not folders_in(root):
        words = (
            f"{len(stray)} photos lie directly in it: if all are of one class, give the folder "
            f"above, {root.resolve().parent}; else"
        )
    found = "".join(f"; {note}" for note in listing.notes())
    return (
        f"{root}: no labelled photos found ({len(stray)} photos outside class folders{found}); "
        f"{words + ' ' if words else ''}put photos into one folder per class, or list them in "
        "labels.csv with the columns file,label"
    )


def folders_in(root: Path) -> list[str]:
    """Names of the visible folders in a folder, sorted; none where it cannot be listed."""
    try:
        return sorted(n for n in os.listdir(root) if (root / n).is_dir() and not is_hidden(n))
    except OSError:
        return []


def _hint(words: str) -> str:
    return f". {words[:1].upper()}{words[1:]}" if words else ""


def _unused(files: list[str], where: str) -> Iterator[Finding]:
    if files:
        yield Finding(
            "warning",
            "not-used",
            f"{plural(len(files), 'photo')} {where}, not used: {some(files)}",
            "Put them into the folder of their class, or move them elsewhere.",
        )


def _vanished(listing: Listing, examples: Iterable[Example], depth: int) -> Iterator[Finding]:
    """Classes all of whose photos are in a format that cannot be read here."""
    labels = {e.label for e in examples}
    lost: Counter[str] = Counter()
    kinds = set()
    for file in listing.unreadable:
        parts = PurePosixPath(file).parts
        if len(parts) > depth and (label := _label(parts[depth - 1])) not in labels:
            lost[label] += 1
            kinds.add(UNREADABLE[PurePosixPath(file).suffix.lower()])
    if lost:
        told = ", ".join(f"{label} ({count})" for label, count in sorted(lost.items()))
        yield Finding(
            "error",
            "vanished-class",
            f"all photos of a class are {' or '.join(sorted(kinds))}, which cannot be read: {told}",
            "Save them as JPEG (a phone can be set to take JPEG), or remove the folder.",
        )


def _empty(
    root: Path, listing: Listing, examples: Iterable[Example], by_split: bool
) -> Iterator[Finding]:
    """Class folders and split folders that hold nothing."""
    used = {"/".join(_parts(e)[: 2 if by_split else 1]) for e in examples}
    lost = {"/".join(PurePosixPath(f).parts[: 2 if by_split else 1]) for f in listing.unreadable}
    tops = folders_in(root)
    if not by_split:
        empty = [name for name in tops if name not in used | lost]
    else:
        splits = [top for top in tops if top.lower() in SPLIT_WORDS]
        pairs = [(top, name) for top in splits for name in folders_in(root / top)]
        empty = [f"{a}/{b}" for a, b in pairs if f"{a}/{b}" not in used | lost]
        full = {name.split("/")[0] for name in used}
        empty += [top for top in splits if top not in full and not folders_in(root / top)]
        empty += [top for top in tops if top not in splits and not _holds(top, listing)]
    if empty:
        yield Finding(
            "warning",
            "empty-class",
            f"folders without a photo: {some(sorted(empty))}",
            "Add photos, or remove the folders.",
        )


def _holds(top: str, listing: Listing) -> bool:
    return any(file.startswith(f"{top}/") for file in listing.pictures)


def _merged(examples: Iterable[Example], depth: int) -> Iterator[Finding]:
    """Folders whose names look the same and count as one class."""
    folders = defaultdict(set)
    for e in examples:
        folders[e.label].add(_parts(e)[depth - 1])
    for label, names in sorted(folders.items()):
        if len(names) > 1 and label != UNLABELLED:
            yield Finding(
                "warning",
                "same-name",
                f"folders {' and '.join(map(repr, sorted(names)))} are taken as one class, {label}",
                "Their names differ only in blanks around them or in how letters are composed.",
            )
