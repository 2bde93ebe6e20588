"""``check``: look at all photos, say what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from edge.errors import DataError
from training.data.dataset import UNLABELLED, Case, Dataset, Finding
from training.data.findings import find_problems
from training.data.grouping import find_links, with_groups
from training.data.judgement import Judgement, judge
from training.data.leakage import Leakage, deep_features, measure, plain_features
from training.data.photos import Progress, look

SCHEMA = 1
ACCEPTABLE = frozenset(("labels-differ", "group-leak", "duplicate-leak", "damaged"))
"""Errors that make figures wrong, but leave training possible."""


@dataclass(frozen=True)
class Report:
    """What a check found."""

    dataset: Dataset
    """As read, with its given splits and groups."""
    grouped: Dataset
    """The same with near duplicates joined into groups."""
    judgement: Judgement
    """What ``fit`` would train on."""
    findings: tuple[Finding, ...]
    """What is wrong, what hinders training and what is not used; errors first."""
    leakage: Leakage | None = None
    thumbs: dict[int, str] = field(default_factory=dict, compare=False)
    """Thumbnails made so far, as data addresses, by the photo's place."""

    @property
    def errors(self) -> int:
        """Kinds of problem that make results wrong or training impossible."""
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def warnings(self) -> int:
        """Kinds of problem to look at."""
        return sum(finding.severity == "warning" for finding in self.findings)

    @property
    def groups(self) -> int:
        """Independent scenes."""
        return len({example.group for example in self.grouped.examples})

    @property
    def scenes(self) -> Counter[str]:
        """Independent scenes per label."""
        return Counter(label for label, _ in {(e.label, e.group) for e in self.grouped.examples})


def check(
    dataset: Dataset,
    *,
    min_side: int = 96,
    seed: int = 0,
    accept: Collection[str] = (),
    show_leakage: bool = False,
    weights: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Look at every photo and report.

    Args:
        dataset: As read, absent files included.
        min_side: Pixels below which a photo counts as small.
        seed: Of the splits that training would make.
        accept: Kinds of ``ACCEPTABLE`` that are warnings, not errors.
        show_leakage: Also measure what a random split would claim.
        weights: start weights for that measurement, a name or a file; without, plain
            descriptors are used.
        progress: Told how far the work is.

    Raises:
        DataError: A kind that cannot be accepted.
    """
    if unknown := sorted(set(accept) - ACCEPTABLE):
        known = ", ".join(sorted(ACCEPTABLE))
        raise DataError(f"--accept {unknown[0]}: what can be accepted is {known}")
    photos = look(dataset, progress)
    links = find_links(photos, progress)
    grouped = with_groups(dataset, links)
    judgement = judge(dataset, grouped, seed)
    found = [*find_problems(dataset, photos, links, min_side), *judgement.findings]
    softened = [
        replace(f, severity="warning") if f.severity == "error" and f.kind in accept else f
        for f in found
    ]
    findings = sorted(softened, key=lambda f: ("error", "warning", "note").index(f.severity))
    leakage = None
    usable = {
        photo.example.file
        for photo in photos
        if photo.keypoints is not None and photo.example.label != UNLABELLED
    }
    if show_leakage and len(dataset.classes) > 1 and usable:
        kept = dataset.with_examples(e for e in dataset.examples if e.file in usable)
        ours = grouped.with_examples(e for e in grouped.examples if e.file in usable)
        if weights is not None:
            features = deep_features(kept, weights, progress)
            probe = f"logistic regression on features of a frozen network ({Path(weights).name})"
        else:
            features = plain_features([p for p in photos if p.example.file in usable])
            probe = "logistic regression on colours and local patterns"
        leakage = measure(kept, ours, features, probe)
    return Report(dataset, grouped, judgement, tuple(findings), leakage)


def as_json(report: Report) -> dict[str, Any]:
    """The report as plain values; every case and file is there, nothing is cut off."""
    dataset = report.dataset

    def case(item: Case) -> dict[str, Any]:
        return {"text": item.text, "files": [dataset.examples[i].file for i in item.photos]}

    return {
        "schema": SCHEMA,
        "data": str(dataset.root),
        "source": dataset.source,
        "photos": len(dataset),
        "groups": report.groups,
        "classes": {
            label: {"photos": count, "groups": report.scenes[label]}
            for label, count in dataset.counts().items()
        },
        "errors": report.errors,
        "warnings": report.warnings,
        "findings": [
            asdict(finding) | {"cases": [case(item) for item in finding.cases]}
            for finding in report.findings
        ],
        "splits": report.judgement.rule,
        "leakage": asdict(report.leakage) if report.leakage else None,
    }
