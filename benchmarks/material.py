"""What benchmarks run on: 1080p JPEG files made from real photographs, and third-party models."""

from __future__ import annotations

import itertools
from pathlib import Path

from PIL import Image, ImageOps

MODEL = "coral_models/tf2_mobilenet_v2_1.0_224_ptq.tflite"
LABELS = "coral_models/imagenet_labels.txt"
PHOTOS = "yellow_sticky_traps/train"
SIZE = (1920, 1080)


def frames(data: Path, folder: Path, count: int) -> list[Path]:
    """Write ``count`` JPEG files of 1920×1080 (quality 90, 4:2:0) unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    photos = sorted((data / PHOTOS).glob("*.jpg"))
    paths = [folder / f"frame-{number:04d}.jpg" for number in range(count)]
    for number, (path, photo) in enumerate(zip(paths, itertools.cycle(photos), strict=False)):
        if path.exists():
            continue
        with Image.open(photo) as opened:
            # Each round through the photos cuts elsewhere, so that no two files are alike.
            where = (0.5, (number // len(photos)) / max(1, (count - 1) // len(photos)))
            picture = ImageOps.fit(opened.convert("RGB"), SIZE, centering=where)
        picture.save(path, quality=90)
    for stale in set(folder.glob("frame-*.jpg")) - set(paths):
        stale.unlink()
    return paths


def labels(data: Path) -> list[str]:
    """Names of the model's 1,001 classes."""
    lines = (data / LABELS).read_text(encoding="utf-8").splitlines()
    return [line.split(maxsplit=1)[-1].strip() for line in lines if line.strip()]
