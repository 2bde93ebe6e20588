"""Which photos share enough local features, in a consistent position, to show the same thing.

Two steps. An index of all descriptors (randomised k-d trees) proposes pairs of photos whose
descriptors agree, among n photos without comparing all n * n. Then the matched keypoints must agree
on one affine map (RANSAC) that also turns and scales them as it should, and the pixels under that
map are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from training.data.keypoints import Keypoints, mirrored
from training.data.photos import Progress

NEAR = 0.92
"""Cosine of two descriptors from which they count as the same spot."""
NEAREST = 20
"""Matches looked for per descriptor. Beyond, it is a pattern that many photos share."""
TREES, CHECKS = 4, 32
"""Of the index: more find more, and take longer."""
CANDIDATE = 4
"""Matches from which a pair of photos is looked at."""
MATCHES = 300
"""Most matches of a pair that are looked at."""
TOLERANCE = 0.04
"""How far, in longest sides, a match may lie from where the map puts it."""
TURN, SCALE = 0.5, 0.5
"""How far, in radians and as a logarithm, a match may turn and scale otherwise than the rest."""
PATCH = 7
"""Side, in pixels of the thumbnails, of the patches that are looked at for change."""
FEW = 100
"""Descriptors up to which all are compared: from a few, trees do not find all that is asked for."""
_LINEAR, _KDTREE = 0, 1


@dataclass(frozen=True, slots=True)
class Match:
    """Two photos whose keypoints agree on one affine map."""

    first: int
    second: int
    mirrored: bool
    inliers: int
    """Distinct places that agree on the map."""
    matches: int
    """Matched keypoints before asking for agreement."""
    likeness: float
    """Correlation, -1..1, of the pixels under the map, over the part that both photos show."""
    overlap: float
    """Part of the second photo that the first one covers."""
    change: float
    """Largest local difference under the map, in standard deviations: small between copies of one
    picture (0.2 is usual), above 0.9 where something came or went in the same scene."""


def find_matches(
    keypoints: Sequence[Keypoints],
    thumbs: Sequence[np.ndarray],
    progress: Progress | None = None,
) -> Iterator[Match]:
    """Yield each pair of photos, mirrored or not, whose matched keypoints agree on one map.

    Args:
        keypoints: One per photo.
        thumbs: One per photo, uint8 (h, w, 3), all with the same longest side.
        progress: Told how many of the proposed pairs were looked at.
    """
    owner = np.repeat(np.arange(len(keypoints)), [len(k.frames) for k in keypoints])
    if not len(owner):
        return
    frames = np.concatenate([k.frames for k in keypoints])
    pairs = _descriptor_matches(np.concatenate([k.descriptors for k in keypoints]), owner)
    n = len(keypoints)
    key = (owner[pairs[:, 0]] * n + owner[pairs[:, 1]]) * 2 + pairs[:, 2]
    order = np.argsort(key, kind="stable")
    keys, start, count = np.unique(key[order], return_index=True, return_counts=True)
    candidates = np.flatnonzero(count >= CANDIDATE)
    for number, at in enumerate(candidates):
        rows = pairs[order[start[at] : start[at] + count[at]]]
        first, second = divmod(int(keys[at]) // 2, n)
        match = _verify(first, second, bool(keys[at] % 2), rows, frames, thumbs)
        if match:
            yield match
        if progress and number % 500 == 0:
            progress("comparing photos", number, len(candidates))


def _descriptor_matches(plain: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """int64 (m, 3): descriptor of the earlier photo, of the later one, 1 where mirrored."""
    import cv2

    cv2.setRNGSeed(0)  # the trees split at random
    algorithm = _LINEAR if len(plain) <= FEW else _KDTREE
    index = cv2.flann.Index(plain, {"algorithm": algorithm, "trees": TREES})
    count = min(NEAREST, len(plain))
    found = []
    for flip, query in enumerate((plain, np.ascontiguousarray(mirrored(plain)))):
        nearest, square = index.knnSearch(query, count, params={"checks": CHECKS})
        a, at = np.nonzero(square < 2 - 2 * NEAR)
        b = nearest[a, at]
        # Some are found from both sides, some from one: each counts once, the earlier photo first.
        a, b = np.where(owner[a] < owner[b], (a, b), (b, a))
        apart = owner[a] != owner[b]
        once = np.unique(np.stack([a[apart], b[apart]], 1), axis=0)
        found.append(np.column_stack([once, np.full(len(once), flip)]))
    return np.concatenate(found).astype(np.int64)


def _verify(
    first: int,
    second: int,
    flip: bool,
    rows: np.ndarray,
    frames: np.ndarray,
    thumbs: Sequence[np.ndarray],
) -> Match | None:
    """Look for one affine map that many of the matched keypoints agree on."""
    total = len(rows)
    rows = rows[:MATCHES]
    a, b = frames[rows[:, 0]].astype(np.float64), frames[rows[:, 1]].astype(np.float64)
    if flip:
        a[:, 0], a[:, 3] = -a[:, 0], np.pi - a[:, 3]
    turn, scale = b[:, 3] - a[:, 3], np.log(b[:, 2] / a[:, 2])
    alike = _alike(turn[:, None] - turn, scale[:, None] - scale)
    chosen = alike[np.argmax(alike.sum(1))]
    a, b, turn, scale = a[chosen], b[chosen], turn[chosen], scale[chosen]
    fitted = _fit_affine(a, b)
    if fitted is None:
        return None
    affine, agree = fitted
    matrix = affine[:, :2]
    own_turn = np.arctan2(matrix[1, 0] - matrix[0, 1], matrix[0, 0] + matrix[1, 1])
    agree &= _alike(turn - own_turn, scale - np.log(np.linalg.det(matrix)) / 2)
    if agree.sum() < CANDIDATE or _flatness(a[agree]) < 0.008:
        return None
    inliers = min(_places(a[agree]), _places(b[agree]))
    if inliers < CANDIDATE:
        return None
    likeness, overlap, change = _compare(thumbs[first], thumbs[second], affine, flip)
    return Match(first, second, flip, inliers, total, likeness, overlap, change)


def _alike(turn: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """bool: whether differences of angle (radians) and of log scale are small."""
    around = np.abs((turn + np.pi) % (2 * np.pi) - np.pi)
    return np.asarray((around < TURN) & (np.abs(scale) < SCALE))


def _fit_affine(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """A (2, 3) map from a to b, and which rows fit it; None where there is none or it collapses."""
    import cv2

    if len(a) < CANDIDATE:
        return None
    affine, fits = cv2.estimateAffine2D(
        a[:, :2].copy(),
        b[:, :2].copy(),
        method=cv2.RANSAC,
        ransacReprojThreshold=TOLERANCE,
        maxIters=500,
        confidence=0.999,
    )
    if affine is None:
        return None
    stretch = np.linalg.svd(affine[:, :2], compute_uv=False)
    if stretch[-1] < 0.25 or stretch[0] > 4 or stretch[0] > 2 * stretch[-1]:
        return None
    return (affine, fits.ravel() > 0) if np.linalg.det(affine[:, :2]) > 0 else None


def _flatness(points: np.ndarray) -> float:
    """Spread, in longest sides, across the line that the points lie along: 0 leaves a map open."""
    places = points[:, :2] - points[:, :2].mean(0)
    return float(np.linalg.svd(places, compute_uv=False)[-1] / np.sqrt(len(places)))


def _places(points: np.ndarray, grid: float = 0.03) -> int:
    """Distinct places; the same corner seen at two scales or angles is one."""
    return len(np.unique((points[:, :2] / grid).round().astype(int), axis=0))


def _compare(
    first: np.ndarray, second: np.ndarray, affine: np.ndarray, flip: bool
) -> tuple[float, float, float]:
    """Likeness, overlap and change (see ``Match``) of the pixels where both photos show something.

    ``affine`` (2, 3) maps the first photo's coordinates (mirrored when ``flip``) to the second's,
    both in units of the longest side.
    """
    import cv2

    size = second.shape[1::-1]
    pixels = affine.copy()
    if flip:
        pixels[:, 0] *= -1
    # From longest sides to pixels, counted from the middle of the first.
    pixels *= max(size) / max(first.shape[:2])
    pixels[:, 2] = affine[:, 2] * max(size) + pixels[:, :2].sum(1) / 2 - 0.5
    moved = cv2.warpAffine(first, pixels, size)
    inside = np.ones(first.shape[:2], np.float32)
    inside = cv2.warpAffine(inside, pixels, size, flags=cv2.INTER_NEAREST)
    seen = inside > 0
    overlap = float(seen.mean())
    if overlap < 0.08:
        return 0.0, overlap, np.inf
    here, there = moved[seen].astype(np.float64), second[seen].astype(np.float64)
    here -= here.mean(0)
    there -= there.mean(0)
    own, other = np.sqrt((here**2).sum()) + 1e-9, np.sqrt((there**2).sum()) + 1e-9
    likeness = float((here * there).sum() / (own * other))
    if likeness < 0.8:
        return likeness, overlap, np.inf
    # The largest mean of a square patch, any colour, away from the edge of what is seen.
    difference = np.zeros(second.shape)
    difference[seen] = (here / own - there / other) * np.sqrt(there.size)
    whole = cv2.blur(inside, (PATCH, PATCH)) > 0.9
    means = np.abs(cv2.blur(difference, (PATCH, PATCH))[whole])
    return likeness, overlap, float(means.max()) if len(means) else np.inf
