"""Local features: what a photo still has after turning, mirroring, cropping and scaling.

OpenCV's SIFT (D. G. Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", IJCV 60(2),
2004), square-rooted as in R. Arandjelović and A. Zisserman, "Three things everyone should know to
improve object retrieval", CVPR 2012.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIDE = 192
"""Longest side, in pixels, that photos are reduced to before looking for keypoints."""
SPREAD, MIDDLE = 50, 128
"""Standard deviation and mean that greys are brought to, so that dull photos have keypoints."""
CONTRAST, EDGE = 0.02, 12
"""OpenCV's thresholds: least contrast, and largest ratio of principal curvatures."""
CELLS, BINS = 4, 8
LENGTH = CELLS * CELLS * BINS


@dataclass(frozen=True)
class Keypoints:
    """The local features of one photo."""

    frames: np.ndarray
    """float32 (n, 4): x and y in units of the longest side, scale likewise, angle in radians."""
    descriptors: np.ndarray
    """float32 (n, 128), each of length one."""


def find_keypoints(grey: np.ndarray, limit: int = 120) -> Keypoints:
    """Find about ``limit`` keypoints, the strongest.

    Args:
        grey: float32 (H, W), any range; contrast is normalised here.
        limit: Keypoints to keep.
    """
    import cv2

    even = (grey - grey.mean()) * (SPREAD / (grey.std() + 1e-3)) + MIDDLE
    sift = cv2.SIFT_create(
        nfeatures=limit,
        contrastThreshold=CONTRAST,
        edgeThreshold=EDGE,
        enable_precise_upscale=True,
    )
    spots, counts = sift.detectAndCompute(np.clip(even, 0, 255).astype(np.uint8), None)
    if not spots:
        return Keypoints(np.zeros((0, 4), np.float32), np.zeros((0, LENGTH), np.float32))
    frames = np.array([(*spot.pt, spot.size, np.radians(spot.angle)) for spot in spots], np.float32)
    # A place is a pixel's middle, not its corner.
    frames[:, :2] += 0.5
    frames[:, :3] /= max(grey.shape)
    return Keypoints(frames, np.sqrt(counts / (counts.sum(1, keepdims=True) + 1e-9)))


def mirrored(descriptors: np.ndarray) -> np.ndarray:
    """Descriptors (n, 128) of the same keypoints in the mirrored photo."""
    grid = descriptors.reshape(-1, CELLS, CELLS, BINS)[:, ::-1]
    return np.roll(grid[..., ::-1], 1, axis=-1).reshape(-1, LENGTH)
