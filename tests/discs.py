"""Pictures that a small net learns in seconds: coloured discs on noise, a class per colour."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from rich.console import Console

from training.architectures import ARCHITECTURES, Architecture
from training.data.sources import load_dataset
from training.fitting.fit import fit
from training.recipe import Augmentation, Recipe
from training.recipes import load_recipe

COLOURS = {"ant": (210, 40, 40), "bee": (210, 200, 40), "moth": (60, 60, 210)}

#: Of the run that all that is done to a finished run is tried on.
RECIPE = Recipe(
    model="shallow",
    resolution=32,
    epochs=12,
    batch=12,
    learning_rate=1e-2,
    augment=Augmentation(rotation=0, area=(0.8, 1.0), hue=0),
)


def paint(
    root: Path,
    per_class: int,
    group: Callable[[int], object] = lambda i: i,
    patches: bool = False,
) -> Path:
    """Write them below `root` with a split.csv: of five, three train, one val, one test.

    `group` names the group of the i-th picture of a class. On `patches` each has a ground of its
    own; on noise `check` takes them for copies.
    """
    rng, lines = np.random.default_rng(0), ["file,label,split,group"]
    for label, colour in COLOURS.items():
        (root / label).mkdir()
        for i in range(per_class):
            if patches:
                ground = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
                image = ground.resize((48, 40), Image.Resampling.NEAREST)
            else:
                image = Image.fromarray(rng.integers(0, 120, (40, 48, 3), dtype=np.uint8))
            x, y = rng.integers(4, 20, size=2)
            ImageDraw.Draw(image).ellipse((x, y, x + 18, y + 18), fill=colour)
            image.save(root / label / f"{i:02d}.png")
            split = ("train", "train", "train", "val", "test")[i % 5]
            lines.append(f"{label}/{i:02d}.png,{label},{split},{label}{group(i)}")
    (root / "split.csv").write_text("\n".join(lines) + "\n")
    return root


def small_recipe(**changes: object) -> Recipe:
    """The shipped small recipe with another network, at 32 pixels and a few epochs."""
    settings = {
        "model": "shallow",
        "resolution": 32,
        "epochs": 4,
        "batch": 6,
        "learning_rate": 5e-3,
    }
    return load_recipe("small", [f"{k}={v}" for k, v in (settings | changes).items()])


def train(root: Path) -> Path:
    """Paint 120 discs below `root` and give the folder of a finished run of a shallow net on them.

    It is made once in a session and only read: see the fixture `discs_run`.
    """
    ARCHITECTURES["shallow"] = Architecture("shallow:build")
    (root / "photos").mkdir()
    photos = paint(root / "photos", 40)
    quiet = Console(file=io.StringIO())
    return fit(load_dataset(photos), "shallow", RECIPE, root / "discs", seed=1, console=quiet).path
