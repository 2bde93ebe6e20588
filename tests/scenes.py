"""Photos that show different things: soft random colours, a scene per seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def scene(path: Path, seed: int, size: tuple[int, int] = (48, 40)) -> Path:
    """Write the picture of a seed, making folders; the same seed gives the same picture."""
    colours = np.random.default_rng(seed).integers(0, 255, (6, 7, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


def scenes(folder: Path, count: int, first: int) -> None:
    """Write so many pictures of different scenes into a folder."""
    for i in range(count):
        scene(folder / f"p{i:02d}.png", first + i)
