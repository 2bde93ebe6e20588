"""Which photos share enough local features, in a consistent position, to show the same thing.

Two steps. A visual vocabulary (J. Sivic and A. Zisserman, "Video Google", ICCV 2003) proposes pairs
of photos whose descriptors agree, among n photos without comparing all n * n. Then the matched
keypoints must agree on one turn, scale and shift (each match votes, as in Lowe 2004), refined to an
affine map, and the pixels under that map are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from training.data.keypoints import Keypoints, mirrored
from training.data.photos import Progress

NEAR = 0.92
"""Cosine of two descriptors from which they count as the same spot."""
BURST = 40
"""Matches kept per descriptor: the nearest ones. Beyond, it is a pattern that many photos share."""
CANDIDATE = 4
"""Matches from which a pair of photos is looked at."""


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
    pairs = _descriptor_matches(keypoints, owner)
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


def _descriptor_matches(keypoints: Sequence[Keypoints], owner: np.ndarray) -> np.ndarray:
    """int64 (m, 3): descriptor of the earlier photo, of the later one, 1 where mirrored."""
    plain = np.concatenate([k.descriptors for k in keypoints]).astype(np.float32)
    words = _vocabulary(plain, np.random.default_rng(0))
    home = _nearest_words(plain, words, 1)[:, 0]
    by_word = np.argsort(home, kind="stable")
    start = np.searchsorted(home[by_word], np.arange(len(words) + 1))
    found = []
    for flip, query in enumerate((plain, mirrored(plain))):
        asked = _nearest_words(query, words, min(2, len(words)))
        flat = asked.ravel()
        by_asked = np.argsort(flat, kind="stable")
        begin = np.searchsorted(flat[by_asked], np.arange(len(words) + 1))
        by_asked //= asked.shape[1]
        for word in range(len(words)):
            stored = by_word[start[word] : start[word + 1]]
            asking = by_asked[begin[word] : begin[word + 1]]
            for part in range(0, len(asking), 4096):
                rows = asking[part : part + 4096]
                found.append(_near(rows, stored, query, plain, owner, flip))
    return np.concatenate(found) if found else np.zeros((0, 3), np.int64)


def _near(
    asking: np.ndarray,
    stored: np.ndarray,
    query: np.ndarray,
    plain: np.ndarray,
    owner: np.ndarray,
    flip: int,
) -> np.ndarray:
    """Pairs of one word nearer than NEAR, each pair of photos once, bursts thinned out."""
    if not len(asking) or not len(stored):
        return np.zeros((0, 3), np.int64)
    cosine = query[asking] @ plain[stored].T
    close = cosine > NEAR
    crowded = np.flatnonzero(close.sum(1) > BURST)
    if len(crowded):
        limit = -np.partition(-cosine[crowded], BURST, axis=1)[:, BURST]
        close[crowded] &= cosine[crowded] > limit[:, None]
    a, b = np.nonzero(close)
    a, b = asking[a], stored[b]
    # Unmirrored pairs are found from both sides, mirrored ones too: keep the ordered half.
    keep = owner[a] < owner[b]
    a, b = a[keep], b[keep]
    return np.stack([a, b, np.full(len(a), flip)], 1)


def _vocabulary(descriptors: np.ndarray, rng: np.random.Generator, rounds: int = 5) -> np.ndarray:
    """k-means centres, about one per 200 descriptors."""
    count = int(np.clip(len(descriptors) // 200, 1, 8192))
    sample = descriptors
    if len(sample) > count * 30:
        sample = sample[rng.choice(len(sample), count * 30, replace=False)]
    words = sample[rng.choice(len(sample), count, replace=False)]
    for _ in range(rounds):
        nearest = _nearest_words(sample, words, 1)[:, 0]
        order = np.argsort(nearest, kind="stable")
        used, first = np.unique(nearest[order], return_index=True)
        words = words.copy()
        sizes = np.diff(np.append(first, len(order)))
        words[used] = np.add.reduceat(sample[order], first, axis=0) / sizes[:, None]
    return words


def _nearest_words(descriptors: np.ndarray, words: np.ndarray, count: int) -> np.ndarray:
    """int (n, count): indices of the nearest words."""
    nearest = np.empty((len(descriptors), count), np.int32)
    half_square = (words**2).sum(1) / 2
    step = max(1, 16_000_000 // max(1, len(words)))
    for begin in range(0, len(descriptors), step):
        distance = half_square - descriptors[begin : begin + step] @ words.T
        if count == 1:
            nearest[begin : begin + step] = distance.argmin(1)[:, None]
        elif count >= len(words):
            nearest[begin : begin + step] = np.arange(len(words))[:count]
        else:
            nearest[begin : begin + step] = np.argpartition(distance, count, 1)[:, :count]
    return nearest


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
    rows = rows[:300]
    a, b = frames[rows[:, 0]].astype(np.float64), frames[rows[:, 1]].astype(np.float64)
    if flip:
        a[:, 0], a[:, 3] = -a[:, 0], np.pi - a[:, 3]
    agree = _votes(a, b)
    chosen = agree[np.argmax(agree.sum(1))]
    if chosen.sum() < CANDIDATE:
        return None
    affine = None
    for tolerance in (0.06, 0.04):
        affine = _fit_affine(a[chosen, :2], b[chosen, :2])
        if affine is None:
            return None
        error = np.hypot(*(a[:, :2] @ affine[:2] + affine[2] - b[:, :2]).T)
        chosen = (error < tolerance) & agree.any(0)
        if chosen.sum() < CANDIDATE:
            return None
    inliers = min(_places(a[chosen]), _places(b[chosen]))
    if inliers < CANDIDATE or affine is None:
        return None
    likeness, overlap, change = _compare(thumbs[first], thumbs[second], affine, flip)
    return Match(first, second, flip, inliers, total, likeness, overlap, change)


def _votes(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """bool (m, m): whether match j fits the turn, scale and shift that match i proposes."""
    scale = np.log(b[:, 2] / a[:, 2])
    turn = b[:, 3] - a[:, 3]
    cos, sin = np.cos(turn) * np.exp(scale), np.sin(turn) * np.exp(scale)
    dx, dy = a[:, 0] - a[:, :1], a[:, 1] - a[:, 1:2]
    ex, ey = b[:, 0] - b[:, :1], b[:, 1] - b[:, 1:2]
    miss = np.hypot(
        cos[:, None] * dx - sin[:, None] * dy - ex, sin[:, None] * dx + cos[:, None] * dy - ey
    )
    between = np.abs((turn - turn[:, None] + np.pi) % (2 * np.pi) - np.pi)
    # A tolerance that grows with the distance leaves room for shear and perspective.
    fits = miss < 0.025 + 0.25 * np.hypot(ex, ey)
    return np.asarray(fits & (np.abs(scale - scale[:, None]) < 0.5) & (between < 0.5))


def _fit_affine(a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """Least-squares (3, 2) map from a to b; None where the points leave it open or it collapses."""
    if len(a) < 3:
        return None
    spread = np.linalg.svd(a - a.mean(0), compute_uv=False) / np.sqrt(len(a))
    if spread[-1] < 0.008:
        return None
    matrix = np.column_stack([a, np.ones(len(a))])
    affine = np.linalg.lstsq(matrix, b, rcond=None)[0]
    stretch = np.linalg.svd(affine[:2], compute_uv=False)
    if stretch[-1] < 0.25 or stretch[0] > 4 or stretch[0] > 2 * stretch[-1]:
        return None
    return affine if np.linalg.det(affine[:2]) > 0 else None


def _places(points: np.ndarray, grid: float = 0.03) -> int:
    """Distinct places; the same corner seen at two scales or angles is one."""
    return len(np.unique((points[:, :2] / grid).round().astype(int), axis=0))


def _compare(
    first: np.ndarray, second: np.ndarray, affine: np.ndarray, flip: bool
) -> tuple[float, float, float]:
    """Likeness, overlap and change (see ``Match``) of the pixels where both photos show something.

    ``affine`` maps the first photo's coordinates (mirrored when ``flip``) to the second's, both in
    units of the longest side.
    """
    height, width = second.shape[:2]
    side = max(height, width)
    y, x = np.mgrid[:height, :width]
    target = np.stack([x.ravel() + 0.5, y.ravel() + 0.5], 1) / side
    source = (target - affine[2]) @ np.linalg.inv(affine[:2])
    if flip:
        source[:, 0] *= -1
    place = np.floor(source * max(first.shape[:2])).astype(int)
    seen = ((place >= 0) & (place < (first.shape[1], first.shape[0]))).all(1)
    overlap = float(seen.mean())
    if overlap < 0.08:
        return 0.0, overlap, np.inf
    here = first[place[seen, 1], place[seen, 0]].astype(np.float64)
    there = second.reshape(-1, 3)[seen].astype(np.float64)
    here -= here.mean(0)
    there -= there.mean(0)
    own, other = np.sqrt((here**2).sum()) + 1e-9, np.sqrt((there**2).sum()) + 1e-9
    likeness = float((here * there).sum() / (own * other))
    if likeness < 0.8:
        return likeness, overlap, np.inf
    difference = np.zeros((height * width, 3))
    difference[seen] = (here / own - there / other) * np.sqrt(there.size)
    return likeness, overlap, _largest_patch(difference.reshape(height, width, 3), seen)


def _largest_patch(difference: np.ndarray, seen: np.ndarray, side: int = 7) -> float:
    """Largest mean of a square patch, any colour, away from the edge of what is seen."""
    from scipy.ndimage import uniform_filter

    inside = uniform_filter(seen.reshape(difference.shape[:2]).astype(np.float64), side) > 0.9
    if not inside.any():
        return float("inf")
    means = uniform_filter(difference, (side, side, 1))
    return float(np.abs(means[inside]).max())
