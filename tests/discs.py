"""Pictures that a small net learns in seconds: coloured discs on noise, a class per colour."""

import io

import numpy as np
from PIL import Image, ImageDraw
from rich.console import Console

from training.data import load_dataset
from training.fitting.fit import fit
from training.recipe import load_recipe

COLOURS = {"ant": (210, 40, 40), "bee": (210, 200, 40), "moth": (60, 60, 210)}


def paint(root, per_class, group=lambda i: i):
    """Write them below `root` with a split.csv: of five, three train, one val, one test.

    `group` names the group of the i-th picture of a class.
    """
    rng, lines = np.random.default_rng(0), ["file,label,split,group"]
    for label, colour in COLOURS.items():
        (root / label).mkdir()
        for i in range(per_class):
            image = Image.fromarray(rng.integers(0, 120, (40, 48, 3), dtype=np.uint8))
            x, y = rng.integers(4, 20, size=2)
            ImageDraw.Draw(image).ellipse((x, y, x + 18, y + 18), fill=colour)
            image.save(root / label / f"{i:02d}.png")
            split = ("train", "train", "train", "val", "test")[i % 5]
            lines.append(f"{label}/{i:02d}.png,{label},{split},{label}{group(i)}")
    (root / "split.csv").write_text("\n".join(lines) + "\n")
    return root


def train(root):
    """Paint discs below `root` and give the folder of a finished run on them."""
    (root / "photos").mkdir()
    photos = paint(root / "photos", 20)
    recipe = load_recipe("small", ["resolution=32", "alpha=0.5", "epochs=6", "learning_rate=0.01"])
    quiet = Console(file=io.StringIO())
    return fit(load_dataset(photos), "small", recipe, root / "discs", seed=1, console=quiet).path
