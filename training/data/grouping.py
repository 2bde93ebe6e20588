"""Find photos that show the same thing, so that they stay on one side of a split.

Copies of one photo (turned, mirrored, cropped, scaled, re-encoded, brightened) and photos of one
scene share local features in a consistent position; see ``matching``. Photos without texture are
compared as small pictures in eight orientations. Links become groups by union-find: certain links
first, then weaker ones, which may join two groups only when a second weak link says the same. That
keeps one mistaken link from chaining two large groups into one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.data.dataset import Dataset
from training.data.matching import Match, find_matches
from training.data.photos import THUMB, Photo, Progress, look

SAME_THUMB = 0.985
"""Correlation of whole thumbnails from which two photos count as one picture."""
SAME_PICTURE = 0.6
"""Largest change between two photos that still count as one picture."""
SMOOTH = 6.0
"""Standard deviation, in pixel levels, below which a thumbnail is too empty to be compared."""


@dataclass(frozen=True, slots=True)
class Link:
    """Two photos, by their places in the data set, that show the same thing."""

    first: int
    second: int
    kind: str
    """``exact`` (same bytes), ``copy`` (one picture) or ``scene`` (something differs)."""
    certain: bool
    mirrored: bool = False
    score: float = 1.0


def group_near_duplicates(dataset: Dataset, progress: Progress | None = None) -> Dataset:
    """Set ``group`` of every example: near duplicates and the given groups, joined.

    Photos that cannot be read stay alone. The result depends on the photos only.

    Args:
        dataset: Photos; given groups are kept together.
        progress: Told how far the work is.
    """
    photos = look(dataset, progress)
    return with_groups(dataset, find_links(photos, progress))


def find_links(photos: Sequence[Photo], progress: Progress | None = None) -> list[Link]:
    """Every pair of photos found to show the same thing, in a fixed order."""
    links = _exact(photos)
    usable = [index for index, photo in enumerate(photos) if photo.keypoints is not None]
    keypoints = [k for index in usable if (k := photos[index].keypoints) is not None]
    thumbs = [t for index in usable if (t := photos[index].thumb) is not None]
    best: dict[tuple[int, int], Link] = {}
    for first, second, flip, score in _same_thumbs(thumbs):
        best[first, second] = Link(first, second, "copy", True, flip, score)
    for match in find_matches(keypoints, thumbs, progress):
        strength = _strength(match)
        pair = (match.first, match.second)
        if strength and (pair not in best or not best[pair].certain):
            kind = "copy" if match.likeness > 0.9 and match.change < SAME_PICTURE else "scene"
            best[pair] = Link(*pair, kind, strength == 2, match.mirrored, match.likeness)
    done = {(link.first, link.second) for link in links}
    for _, link in sorted(best.items()):
        moved = replace(link, first=usable[link.first], second=usable[link.second])
        if (moved.first, moved.second) not in done:
            links.append(moved)
    return links


def with_groups(dataset: Dataset, links: Iterable[Link]) -> Dataset:
    """Join links and given groups; names are the given group's where there is one, else g0001..."""
    sets = join(len(dataset), links, given_groups(dataset))
    names: dict[int, str] = {}
    taken = {example.group for example in dataset.examples}
    number = 0
    for index, root in enumerate(sets):
        given = dataset.examples[index].group
        if given and root not in names:
            names[root] = given
    for root in sets:
        if root not in names:
            while f"g{number:04d}" in taken:
                number += 1
            names[root] = f"g{number:04d}"
            number += 1
    return dataset.with_examples(
        replace(example, group=names[root])
        for example, root in zip(dataset.examples, sets, strict=True)
    )


def join(count: int, links: Iterable[Link], given: Iterable[tuple[int, int]] = ()) -> list[int]:
    """The set of each of ``count`` photos, named by its smallest member."""
    parent = list(range(count))

    def find(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    def merge(first: int, second: int) -> None:
        low, high = sorted((find(first), find(second)))
        parent[high] = low

    ordered = list(links)
    for first, second in given:
        merge(first, second)
    for link in ordered:
        if link.certain:
            merge(link.first, link.second)
    weak = [link for link in ordered if not link.certain]
    while True:
        sizes = Counter(find(item) for item in range(count))
        votes = Counter(tuple(sorted((find(link.first), find(link.second)))) for link in weak)
        agreed = [
            (a, b)
            for (a, b), number in sorted(votes.items())
            if a != b and (number > 1 or min(sizes[a], sizes[b]) == 1)
        ]
        if not agreed:
            return [find(item) for item in range(count)]
        for a, b in agreed:
            merge(a, b)


def given_groups(dataset: Dataset) -> list[tuple[int, int]]:
    """Each photo of a given group with the group's first."""
    first: dict[str, int] = {}
    pairs = []
    for index, example in enumerate(dataset.examples):
        if example.group:
            pairs.append((first.setdefault(example.group, index), index))
    return pairs


def _exact(photos: Sequence[Photo]) -> list[Link]:
    first: dict[str, int] = {}
    links = []
    for index, photo in enumerate(photos):
        if photo.sha256:
            original = first.setdefault(photo.sha256, index)
            if original != index:
                links.append(Link(original, index, "exact", True))
    return links


def _strength(match: Match) -> int:
    """2: certainly the same picture or scene; 1: probably; 0: no.

    Chosen by looking at the pairs on both sides of each line, on 2,210 photos of 17 pests.
    """
    inliers, likeness = match.inliers, match.likeness
    focused = inliers > 0.2 * match.matches
    if inliers >= 15 or (inliers >= 8 and likeness >= 0.8 and focused):
        return 2
    if inliers >= 5 and likeness >= 0.94:
        return 2
    if inliers >= 4 and likeness >= 0.92:
        return 1
    if inliers >= 6 and likeness >= 0.8 and focused:
        return 1
    return int(inliers >= 9 and likeness >= 0.5)


def _same_thumbs(thumbs: Sequence[np.ndarray]) -> Iterable[tuple[int, int, bool, float]]:
    """Pairs whose whole thumbnails agree in one of eight orientations: (i, j, mirrored, score)."""
    if not thumbs:
        return
    side = THUMB // 2
    squares = np.stack([_square(thumb, side) for thumb in thumbs])
    flat = squares.reshape(len(squares), -1)
    spread = flat.std(1)
    flat = (flat - flat.mean(1, keepdims=True)) / (spread[:, None] * np.sqrt(flat.shape[1]) + 1e-6)
    smooth = spread < SMOOTH
    base = flat.reshape(squares.shape)
    for flip in (False, True):
        for turns in range(4):
            turned = np.rot90(base[:, :, ::-1] if flip else base, turns, axes=(1, 2))
            turned = turned.reshape(len(base), -1)
            for begin in range(0, len(base), 2048):
                score = turned[begin : begin + 2048] @ flat.T
                score[smooth[begin : begin + 2048]] = 0
                score[:, smooth] = 0
                for a, b in zip(*np.nonzero(score > SAME_THUMB), strict=True):
                    if a + begin < b:
                        yield int(a) + begin, int(b), flip, float(score[a, b])


def _square(thumb: np.ndarray, side: int) -> np.ndarray:
    """Stretch to (side, side, 3), float32, by nearest neighbours of a box-filtered thumbnail."""
    height, width = thumb.shape[:2]
    rows = (np.arange(side) * height // side)[:, None]
    columns = np.arange(side) * width // side
    return np.asarray(thumb[rows, columns].astype(np.float32))
