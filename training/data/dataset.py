"""The values everything else passes around: one labelled photo, and a collection of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

SPLITS = ("train", "val", "test")
UNLABELLED = "unlabelled"
"""The label of photos that nobody has labelled yet. Never a class."""


@dataclass(frozen=True)
class Case:
    """Photos that belong together in one problem."""

    photos: tuple[int, ...]
    """Places in the data set."""
    text: str


@dataclass(frozen=True)
class Finding:
    """One kind of problem, with the photos in question."""

    severity: str
    """``error``: results would be wrong or training fails; ``warning``: look at it; ``note``."""
    kind: str
    title: str
    advice: str = ""
    cases: tuple[Case, ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled photo."""

    file: str
    """Path below the data set's root, with forward slashes."""
    label: str
    split: str | None = None
    """``train``, ``val``, ``test``, or None while undecided."""
    group: str | None = None
    """What must stay on one side of a split: plant, site, day, camera or near duplicates."""


@dataclass(frozen=True)
class Dataset:
    """Labelled photos below one folder, ordered by file name."""

    root: Path
    examples: tuple[Example, ...]
    source: str = "examples"
    """How labels and splits were found, in words."""
    notes: tuple[Finding, ...] = ()
    """What was noticed while reading: files not used, empty class folders; without cases."""

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.examples, key=lambda example: example.file))
        object.__setattr__(self, "examples", ordered)

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def labels(self) -> tuple[str, ...]:
        """Label ids, sorted: the order of the model's outputs."""
        return tuple(sorted({example.label for example in self.examples}))

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels without the one that stands for none."""
        return tuple(label for label in self.labels if label != UNLABELLED)

    @property
    def groups(self) -> tuple[str, ...]:
        """The group of each example; one without is a group of its own, by its file."""
        return tuple(example.group or example.file for example in self.examples)

    @property
    def has_splits(self) -> bool:
        """Whether every example has its split."""
        return bool(self.examples) and all(example.split for example in self.examples)

    def path(self, example: Example) -> Path:
        """Where the photo lies."""
        return self.root / example.file

    def split(self, name: str) -> Dataset:
        """Only the examples of one split.

        Raises:
            ValueError: ``name`` is not one of ``SPLITS``.
        """
        if name not in SPLITS:
            raise ValueError(f"unknown split {name!r}: one of {', '.join(SPLITS)}")
        return self.with_examples(e for e in self.examples if e.split == name)

    def with_examples(self, examples: Iterable[Example]) -> Dataset:
        """The same root with other examples."""
        return replace(self, examples=tuple(examples))

    def labelled(self) -> Dataset:
        """Without the photos that nobody has labelled yet."""
        return self.with_examples(e for e in self.examples if e.label != UNLABELLED)

    def counts(self) -> dict[str, int]:
        """Examples per label, by label id."""
        counted = Counter(example.label for example in self.examples)
        return {label: counted[label] for label in self.labels}

    def fingerprint(self) -> str:
        """SHA-256 (hex) over the sorted content hashes and labels; names and order do not matter.

        Raises:
            OSError: A photo cannot be read.
        """
        lines = []
        for example in self.examples:
            with self.path(example).open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            lines.append(f"{content} {example.label}\n")
        return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
