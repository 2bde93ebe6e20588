"""Whether a model can be made of labelled photos: one judgement for ``check`` and ``fit``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from edge.errors import DataError
from training.data.dataset import SPLITS, UNLABELLED, Dataset, Finding
from training.data.names import is_broken
from training.data.splits import assign_splits, unrepresented
from training.data.words import some

VALIDATION_OF_TRAINING = (0.75, 0.25, 0.0)
"""How training photos are divided where no validation photos are given: 60 to 20 in a hundred."""
LONGEST_LABEL = 200
"""Characters; a bundle takes no longer names."""
_NEEDED = ("train", "val")


@dataclass(frozen=True)
class Judgement:
    """What training would use, and what stands against it."""

    dataset: Dataset
    """The labelled photos, every one with its split unless they could not be divided."""
    rule: str
    """How the splits came about, in words."""
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Why no model can be made of the photos."""
        return tuple(f for f in self.findings if f.severity == "error")


def judge(dataset: Dataset, grouped: Dataset, seed: int = 0) -> Judgement:
    """Divide as ``fit`` does, and say what training cannot do with the result.

    Args:
        dataset: As read, with its given splits and groups.
        grouped: The same with near duplicates joined into groups.
        seed: Of the division.
    """
    labelled = dataset.labelled()
    try:
        divided, rule = _divide(labelled, grouped.labelled(), seed)
    except DataError as error:
        finding = Finding("error", "too-few-scenes", str(error), "Photograph other plants.")
        return Judgement(labelled, "", (*_classes(labelled), finding))
    found = (*_classes(labelled), *obstacles(divided))
    unique = {f.kind: f for f in found}
    if rule != _given(labelled) and labelled.has_splits:
        words = f"no validation photos are given: {rule}"
        unique["no-validation"] = Finding("warning", "no-validation", words)
    return Judgement(divided, rule, tuple(unique.values()))


def refuse(findings: Iterable[Finding], where: str) -> None:
    """Raise what stands against training, if anything does.

    Raises:
        DataError: An error is among the findings; all of them are named, each with its cure.
    """
    errors = [f for f in findings if f.severity == "error"]
    if errors:
        told = "".join(f"\n- {f.title}. {f.advice}" for f in errors)
        raise DataError(f"{where} cannot be trained on (see python -m training check):{told}")


def obstacles(divided: Dataset) -> tuple[Finding, ...]:
    """What training and judging cannot do with photos that have their splits."""
    return (*_classes(divided), *_splits(divided))


def _given(dataset: Dataset) -> str:
    return f"as given ({dataset.source})"


def _divide(dataset: Dataset, grouped: Dataset, seed: int) -> tuple[Dataset, str]:
    """The photos with splits, and how they came about.

    Raises:
        DataError: Too few independent scenes to divide.
    """
    if not dataset.examples:
        return dataset, ""
    if not dataset.has_splits:
        return assign_splits(grouped, seed=seed), f"grouped and stratified, seed {seed}"
    given = {e.split for e in dataset.examples}
    if "val" in given or "train" not in given:
        return dataset, _given(dataset)
    train = grouped.with_examples(
        replace(e, split=None) for e in grouped.examples if e.split == "train"
    )
    parts = assign_splits(train, VALIDATION_OF_TRAINING, seed)
    rest = [e for e in grouped.examples if e.split != "train"]
    cut = sum(e.split == "val" for e in parts.examples)
    return (
        grouped.with_examples([*parts.examples, *rest]),
        f"{cut} validation photos cut from train by groups, seed {seed}; else {_given(dataset)}",
    )


def _classes(dataset: Dataset) -> Iterator[Finding]:
    classes = dataset.classes
    if not classes:
        yield Finding(
            "error",
            "no-labels",
            "none of the photos has a label yet",
            f"Put labels in place of {UNLABELLED!r}, or photos into a folder per class.",
        )
    if len(classes) == 1:
        yield Finding(
            "error",
            "one-class",
            f"only one class: {classes[0]}",
            "A classifier needs at least two; photos of empty plants make a good second one.",
        )
    broken = [repr(label) for label in classes if is_broken(label)]
    if broken:
        yield Finding(
            "error",
            "broken-name",
            f"names of classes with line breaks or control characters: {some(broken)}",
            "Lists of labels have one a line: rename the folders, or correct the table.",
        )
    long = [label[:40] + "..." for label in classes if len(label) > LONGEST_LABEL]
    if long:
        words = f"names of classes longer than {LONGEST_LABEL} characters: {some(long)}"
        yield Finding("error", "long-name", words, "Give shorter names.")


def _splits(divided: Dataset) -> Iterator[Finding]:
    used = {e.split for e in divided.examples}
    empty = [name for name in _NEEDED if name not in used]
    if empty and divided.examples:
        yield Finding(
            "error",
            "empty-split",
            f"no photos in {' and '.join(empty)}",
            "Training needs photos to learn from and others to choose by: give splits with both, "
            "or none (python -m training split --anew makes new ones).",
        )
    gaps = [(label, split) for label, split in unrepresented(divided) if split not in empty]
    missing = [f"{label} in {split}" for label, split in gaps if split in _NEEDED]
    if missing:
        yield Finding(
            "error",
            "class-not-in-split",
            f"no photo of {', '.join(missing)}",
            "Each class needs photos of two plants or days at least, one to train and one to "
            "validate with: add some, or remove the class.",
        )
    untested = [label for label, split in gaps if split == "test"]
    if untested:
        yield Finding(
            "warning",
            "class-not-tested",
            f"no photo of {', '.join(untested)} in test",
            "The class is learned, but how well cannot be measured.",
        )
    if SPLITS[2] not in used and not empty:
        yield Finding(
            "warning",
            "no-test",
            "no test photos",
            "Evaluation then has only the validation photos, by which the model was chosen; its "
            "figures flatter.",
        )
