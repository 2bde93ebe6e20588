"""What is wrong with labelled photos: one function per kind of problem."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from training.data.dataset import SPLITS, UNLABELLED, Case, Dataset, Finding
from training.data.grouping import Link, given_groups, join, with_groups
from training.data.names import odd_names
from training.data.photos import Photo
from training.data.words import plural, some

FEW_PHOTOS = 20
FEW_GROUPS = 5
REASONS = 8
"""Different reasons why files cannot be read that are named in the terminal."""
UNEVEN = 5.0
"""Largest class over smallest, from which classes count as uneven."""


def find_problems(
    dataset: Dataset, photos: Sequence[Photo], links: Sequence[Link], min_side: int = 96
) -> list[Finding]:
    """What is wrong with the photos and labels; ``judgement`` has what hinders training."""
    sets = join(len(dataset), links)
    return [
        *_unreadable(photos),
        *_damaged(photos),
        *_odd(photos),
        *_labels_differ(dataset, links),
        *_leaks(dataset, links),
        *_unlabelled(dataset),
        *_classes(dataset, links),
        *odd_names(dataset),
        *_small(photos, min_side),
        *_exact(photos),
        *_near(photos, sets),
        *dataset.notes,
    ]


def _found(
    severity: str, kind: str, title: str, advice: str, cases: Sequence[Case]
) -> Iterator[Finding]:
    if cases:
        yield Finding(severity, kind, title, advice, tuple(cases))


def _members(sets: Sequence[int]) -> list[list[int]]:
    """Sets of two and more photos, largest first."""
    members = defaultdict(list)
    for index, root in enumerate(sets):
        members[root].append(index)
    return sorted((m for m in members.values() if len(m) > 1), key=lambda m: (-len(m), m))


def _unreadable(photos: Sequence[Photo]) -> Iterator[Finding]:
    cases = [Case((i,), photo.problem) for i, photo in enumerate(photos) if photo.problem]
    return _found(
        "error",
        "unreadable",
        f"{plural(len(cases), 'file')} cannot be read: {_reasons(photos)}",
        "Copy them again from the camera, or remove them and their rows.",
        cases,
    )


def _damaged(photos: Sequence[Photo]) -> Iterator[Finding]:
    cases = [Case((i,), photo.damage) for i, photo in enumerate(photos) if photo.damage]
    return _found(
        "error",
        "damaged",
        f"{plural(len(cases), 'photo is', 'photos are')} damaged inside",
        "Copy them again from the camera, or remove them and their rows; look at the card.",
        cases,
    )


def _odd(photos: Sequence[Photo]) -> Iterator[Finding]:
    cases = [Case((i,), "; ".join(p.oddities)) for i, p in enumerate(photos) if p.oddities]
    return _found(
        "warning",
        "odd-colours",
        f"{plural(len(cases), 'photo')} whose colours or brightness may be wrong, or beside "
        "others in the same file",
        "Look at them; save those that look wrong again, as sRGB with 8 bits, each as a file.",
        cases,
    )


def _reasons(photos: Sequence[Photo]) -> str:
    """Why files cannot be read, each reason with its number and an example, the commonest first."""
    examples = defaultdict(list)
    for photo in photos:
        if photo.problem:
            examples[photo.problem].append(photo.example.file)
    most = sorted(examples.items(), key=lambda item: -len(item[1]))
    told = [f"{len(files)} x {why} ({files[0]})" for why, files in most[:REASONS]]
    return "; ".join(told) + (
        f"; and {len(most) - REASONS} other reasons" if len(most) > REASONS else ""
    )


def _labels_differ(dataset: Dataset, links: Sequence[Link]) -> Iterator[Finding]:
    """One picture under two labels; a scene in which a pest came or went is none."""
    examples = dataset.examples

    def one_plant(link: Link) -> bool:
        group = examples[link.first].group
        return group is not None and group == examples[link.second].group

    # Photos that the user calls one plant or camera may differ in a pest of a few pixels only.
    same = [
        link
        for link in links
        if link.kind == "exact" or (link.kind == "copy" and not one_plant(link))
    ]
    cases = []
    for group in _members(join(len(dataset), same)):
        group = [i for i in group if examples[i].label != UNLABELLED]
        labels = Counter(examples[i].label for i in group)
        if len(labels) > 1:
            # Every photo of the rarer labels, and a few of the commonest to compare with.
            common = labels.most_common(1)[0][0]
            rare = [i for i in group if examples[i].label != common]
            rest = [i for i in group if examples[i].label == common]
            said = ", ".join(f"{label} ({count})" for label, count in labels.most_common())
            cases.append(Case((*rare, *rest), f"the same picture is labelled {said}"))
    return _found(
        "error",
        "labels-differ",
        f"{plural(len(cases), 'picture')} under two or more labels",
        "Decide which label is right; a model cannot learn both, and its test is wrong. "
        "--accept labels-differ goes on with both.",
        cases,
    )


def _leaks(dataset: Dataset, links: Sequence[Link]) -> Iterator[Finding]:
    """Near duplicates, or one given group, on both sides of the given splits."""
    if not any(example.split for example in dataset.examples):
        return
    duplicates = "set of near duplicates", "sets of near duplicates"
    for kind, sets, what in (
        (
            "group-leak",
            join(len(dataset), (), given_groups(dataset)),
            ("given group", "given groups"),
        ),
        ("duplicate-leak", join(len(dataset), links), duplicates),
    ):
        cases, touched = [], 0
        for group in _members(sets):
            splits = Counter(s for i in group if (s := dataset.examples[i].split))
            if len(splits) > 1:
                home = max(SPLITS, key=lambda name: splits[name])
                touched += sum(count for name, count in splits.items() if name != home)
                # The few that are on the wrong side first.
                order = sorted(group, key=lambda i: (splits[dataset.examples[i].split or ""], i))
                told = ", ".join(f"{splits[n]} in {n}" for n in SPLITS if splits[n])
                cases.append(Case(tuple(order), told))
        straddle = "straddles" if len(cases) == 1 else "straddle"
        yield from _found(
            "error",
            kind,
            f"{plural(len(cases), *what)} {straddle} the splits",
            f"At least {plural(touched, 'photo')} must move; figures measured on these splits "
            "are too good. python -m training split --anew makes splits without leaks; "
            f"--accept {kind} goes on with these.",
            cases,
        )


def _unlabelled(dataset: Dataset) -> Iterator[Finding]:
    count = dataset.counts().get(UNLABELLED, 0)
    if count:
        yield Finding(
            "warning",
            "unlabelled",
            f"{plural(count, 'photo')} without a label yet",
            f"Put labels in place of {UNLABELLED!r}. Until then training leaves them out.",
        )


def _classes(dataset: Dataset, links: Sequence[Link]) -> Iterator[Finding]:
    counts = dataset.counts()
    counts.pop(UNLABELLED, None)
    if not counts:
        return
    low, high = min(counts, key=lambda k: counts[k]), max(counts, key=lambda k: counts[k])
    if counts[high] > UNEVEN * counts[low]:
        yield Finding(
            "warning",
            "uneven",
            f"classes are uneven: {high} has {counts[high]} photos, {low} has {counts[low]}",
            "Collect more of the rare ones; training weighs classes, but cannot invent variety.",
        )
    few = [f"{label} ({count})" for label, count in counts.items() if count < FEW_PHOTOS]
    if few:
        yield Finding(
            "warning",
            "few-photos",
            f"fewer than {FEW_PHOTOS} photos: {some(few, 12)}",
            "Scores of these classes will be little more than luck.",
        )
    grouped = with_groups(dataset, links)
    scenes = Counter(label for label, _ in {(e.label, e.group) for e in grouped.examples})
    lone = [f"{x} ({scenes[x]})" for x in counts if scenes[x] < FEW_GROUPS <= counts[x]]
    if lone:
        yield Finding(
            "warning",
            "few-scenes",
            f"fewer than {FEW_GROUPS} independent scenes: {some(lone, 12)}",
            "Many photos of few plants teach the plant, not the pest. Photograph other plants.",
        )


def _small(photos: Sequence[Photo], min_side: int) -> Iterator[Finding]:
    cases = [
        Case((i,), f"{photo.width} x {photo.height} pixels")
        for i, photo in enumerate(photos)
        if not photo.problem and min(photo.width, photo.height) < min_side
    ]
    return _found(
        "warning",
        "small",
        f"{plural(len(cases), 'photo')} with a side below {min_side} pixels",
        "They are blown up for the model and blur what it should learn.",
        cases,
    )


def _exact(photos: Sequence[Photo]) -> Iterator[Finding]:
    same = defaultdict(list)
    for index, photo in enumerate(photos):
        if photo.sha256:
            same[photo.sha256].append(index)
    cases = [Case(tuple(i), f"{len(i)} files, same bytes") for i in same.values() if len(i) > 1]
    extra = sum(len(case.photos) - 1 for case in cases)
    return _found(
        "warning",
        "exact-duplicates",
        f"{plural(extra, 'file is a copy', 'files are copies')} of another, byte for byte",
        "Keep one of each.",
        cases,
    )


def _near(photos: Sequence[Photo], sets: Sequence[int]) -> Iterator[Finding]:
    cases = [
        Case(tuple(group), f"{len(group)} photos of one picture or scene")
        for group in _members(sets)
        if len({photos[i].sha256 for i in group}) > 1
    ]
    touched = sum(len(case.photos) for case in cases)
    return _found(
        "warning",
        "near-duplicates",
        f"{touched} of {len(photos)} photos form {plural(len(cases), 'set')} of copies or of "
        "one scene",
        "Splits made here keep each set on one side. Copies add less than their number says.",
        cases,
    )
