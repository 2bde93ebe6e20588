"""Local features: what a photo still has after turning, mirroring, cropping and scaling.

Scale-space extrema with gradient-histogram descriptors after D. G. Lowe, "Distinctive Image
Features from Scale-Invariant Keypoints", IJCV 60(2), 2004; square-rooted as in R. Arandjelović and
A. Zisserman, "Three things everyone should know to improve object retrieval", CVPR 2012. All
keypoints of a photo are worked on at once, which makes it several times faster than one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

SIDE = 192
"""Longest side, in pixels, that photos are reduced to before looking for keypoints."""
OCTAVES = 4
SIGMA = 1.6
CELLS, BINS, PATCH = 4, 8, 16
LENGTH = CELLS * CELLS * BINS


@dataclass(frozen=True)
class Keypoints:
    """The local features of one photo."""

    frames: np.ndarray
    """float32 (n, 4): x and y in units of the longest side, scale likewise, angle in radians."""
    descriptors: np.ndarray
    """float32 (n, 128), each of length one."""


def find_keypoints(grey: np.ndarray, limit: int = 120) -> Keypoints:
    """Find up to ``limit`` keypoints, strongest first.

    Args:
        grey: float32 (H, W), any range; contrast is normalised here.
        limit: Keypoints to keep.
    """
    height, width = grey.shape
    grey = (grey - grey.mean()) / (grey.std() + 1e-3)
    found: list[np.ndarray] = []
    levels: list[np.ndarray] = []
    for octave, stack in enumerate(_scale_space(grey)):
        levels.append(stack)
        found.extend(np.array([octave, *row]) for row in _extrema(stack))
    if not found:
        return Keypoints(np.zeros((0, 4), np.float32), np.zeros((0, LENGTH), np.float32))
    table = np.array(found)  # octave, level, y, x, strength
    table = table[np.argsort(-table[:, 4], kind="stable")[:limit]]
    frames, descriptors = [], []
    for octave, stack in enumerate(levels):
        rows = table[table[:, 0] == octave]
        if not len(rows):
            continue
        at, angles = _orient(stack, rows[:, 1].astype(int), rows[:, 2:4])
        rows = rows[at]
        level = rows[:, 1].astype(int)
        descriptors.append(_describe(stack, level, rows[:, 2:4], angles))
        scale = SIGMA * 2 ** (level / 2) * 2**octave
        x, y = rows[:, 3] * 2**octave, rows[:, 2] * 2**octave
        frames.append(np.stack([x, y, scale, angles * max(height, width)], 1) / max(height, width))
    return Keypoints(
        np.concatenate(frames).astype(np.float32), np.concatenate(descriptors).astype(np.float32)
    )


def mirrored(descriptors: np.ndarray) -> np.ndarray:
    """Descriptors (n, 128) of the same keypoints in the mirrored photo."""
    grid = descriptors.reshape(-1, CELLS, CELLS, BINS)[:, ::-1]
    return np.roll(grid[..., ::-1], 1, axis=-1).reshape(-1, LENGTH)


def _scale_space(grey: np.ndarray) -> list[np.ndarray]:
    """Per octave float32 (5, h, w): blurred by SIGMA times 1, 2**.5, 2, 2**1.5, 4."""
    from scipy.ndimage import gaussian_filter

    base = gaussian_filter(grey.astype(np.float32), np.sqrt(SIGMA**2 - 0.5**2), truncate=3)
    octaves = []
    for _ in range(OCTAVES):
        stack = [base]
        for step in range(1, 5):
            extra = SIGMA * np.sqrt(2.0**step - 2.0 ** (step - 1))
            stack.append(gaussian_filter(stack[-1], extra, truncate=3))
        octaves.append(np.stack(stack))
        base = stack[2][::2, ::2]
        if min(base.shape) < 16:
            break
    return octaves


def _extrema(stack: np.ndarray) -> np.ndarray:
    """Rows of (level, y, x, strength) where the difference of Gaussians peaks in 3 x 3 x 3."""
    from scipy.ndimage import maximum_filter, minimum_filter

    dog = np.diff(stack, axis=0)
    peak = (dog == maximum_filter(dog, 3)) & (dog > 0.03)
    peak |= (dog == minimum_filter(dog, 3)) & (dog < -0.03)
    peak[[0, -1]] = False
    edge = 4
    peak[:, :edge] = peak[:, -edge:] = peak[:, :, :edge] = peak[:, :, -edge:] = False
    level, y, x = np.nonzero(peak)
    here = dog[level, y, x]
    dyy = dog[level, y + 1, x] + dog[level, y - 1, x] - 2 * here
    dxx = dog[level, y, x + 1] + dog[level, y, x - 1] - 2 * here
    dxy = (
        dog[level, y + 1, x + 1]
        + dog[level, y - 1, x - 1]
        - dog[level, y + 1, x - 1]
        - dog[level, y - 1, x + 1]
    ) / 4
    # Lowe's test against edges: the ratio of principal curvatures is below 12.
    trace, determinant = dxx + dyy, dxx * dyy - dxy**2
    solid = (determinant > 0) & (trace**2 * 12 < 13**2 * determinant)
    return np.asarray(np.stack([level, y, x, np.abs(here)], 1)[solid])


def _sample(stack: np.ndarray, level: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Bilinear values of ``stack[level]`` at (k, s) positions; edges are repeated."""
    _, height, width = stack.shape
    y = np.clip(y, 0, height - 1.001)
    x = np.clip(x, 0, width - 1.001)
    top, left = y.astype(np.int32), x.astype(np.int32)
    down, right = (y - top).astype(np.float32), (x - left).astype(np.float32)
    flat = stack.reshape(-1)
    start = (level[:, None] * height + top) * width + left
    upper = flat[start] * (1 - right) + flat[start + 1] * right
    start += width
    lower = flat[start] * (1 - right) + flat[start + 1] * right
    return np.asarray(upper * (1 - down) + lower * down)


def _patches(
    stack: np.ndarray, level: np.ndarray, at: np.ndarray, angles: np.ndarray, spacing: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient magnitude and angle, both (k, 256), of turned 16 x 16 patches."""
    side = PATCH + 2
    offset = (np.arange(side) - (side - 1) / 2) * spacing
    v, u = np.meshgrid(offset, offset, indexing="ij")
    scale = (SIGMA * 2 ** (level / 2))[:, None]
    cos, sin = np.cos(angles)[:, None] * scale, np.sin(angles)[:, None] * scale
    x = at[:, 1:] + cos * u.ravel() - sin * v.ravel()
    y = at[:, :1] + sin * u.ravel() + cos * v.ravel()
    patch = _sample(stack, level, y, x).reshape(-1, side, side)
    du = (patch[:, 1:-1, 2:] - patch[:, 1:-1, :-2]).reshape(len(level), -1)
    dv = (patch[:, 2:, 1:-1] - patch[:, :-2, 1:-1]).reshape(len(level), -1)
    return np.hypot(du, dv), np.arctan2(dv, du)


def _orient(stack: np.ndarray, level: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Dominant gradient angles: (index of the keypoint, angle); a strong second one counts too."""
    size, angle = _patches(stack, level, at, np.zeros(len(level)), 0.56)
    window = _window(0.6).astype(np.float32)
    bins = 36
    place = np.floor(angle / (2 * np.pi) * bins).astype(int) % bins
    rows = np.arange(len(level))[:, None] * bins
    weight = size * window
    summed = np.bincount((rows + place).ravel(), weight.ravel(), len(level) * bins)
    histogram = summed.astype(np.float64).reshape(-1, bins)
    for _ in range(2):
        histogram = (np.roll(histogram, 1, 1) + histogram + np.roll(histogram, -1, 1)) / 3
    before, after = np.roll(histogram, 1, 1), np.roll(histogram, -1, 1)
    peak = (histogram >= before) & (histogram > after)
    peak &= histogram > 0.85 * histogram.max(1, keepdims=True)
    which, at_bin = np.nonzero(peak)
    b, h, a = before[which, at_bin], histogram[which, at_bin], after[which, at_bin]
    shift = (b - a) / (2 * (b - 2 * h + a) - 1e-9)
    return which, (at_bin + 0.5 + shift) * 2 * np.pi / bins


def _describe(
    stack: np.ndarray, level: np.ndarray, at: np.ndarray, angles: np.ndarray
) -> np.ndarray:
    """Gradient histograms over 4 x 4 cells and 8 directions, square-rooted: (k, 128)."""
    size, angle = _patches(stack, level, at, angles, 0.75)
    size = size * _window(1.0)
    place = angle * (BINS / (2 * np.pi))
    part = place - np.floor(place)
    low = np.floor(place).astype(int) % BINS
    count, samples = size.shape
    by_direction = np.zeros((count * samples, BINS), np.float32)
    row = np.arange(count * samples)
    by_direction[row, low.ravel()] = (size * (1 - part)).ravel()
    by_direction[row, (low.ravel() + 1) % BINS] = (size * part).ravel()
    by_direction = by_direction.reshape(count, samples, BINS)
    histogram = np.einsum("ksb,sc->kcb", by_direction, _cells(), optimize=True)
    histogram = histogram.reshape(count, -1)
    histogram /= np.linalg.norm(histogram, axis=1, keepdims=True) + 1e-9
    histogram = np.minimum(histogram, 0.2)
    return np.asarray(np.sqrt(histogram / (histogram.sum(1, keepdims=True) + 1e-9)))


@cache
def _window(spread: float) -> np.ndarray:
    """Gaussian weights (256,), ``spread`` in units of half the patch."""
    offset = (np.arange(PATCH) - (PATCH - 1) / 2) / (PATCH / 2)
    v, u = np.meshgrid(offset, offset, indexing="ij")
    return np.asarray(np.exp(-(u**2 + v**2) / (2 * spread**2)).ravel())


@cache
def _cells() -> np.ndarray:
    """Bilinear share of each of 256 samples in each of 16 cells."""
    position = (np.arange(PATCH) + 0.5) / (PATCH / CELLS) - 0.5
    share = np.maximum(0, 1 - np.abs(position[:, None] - np.arange(CELLS)))
    return np.asarray(
        np.einsum("yi,xj->yxij", share, share).reshape(PATCH * PATCH, -1).astype(np.float32)
    )
