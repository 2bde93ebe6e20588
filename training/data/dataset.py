"""The values everything else passes around: one labelled photo, and a collection of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

SPLITS = ("train", "val", "test")


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
    notes: tuple[str, ...] = ()
    """What was noticed while reading: ignored files, empty class folders."""

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
