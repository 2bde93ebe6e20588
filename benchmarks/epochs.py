"""One side of the training-throughput benchmark, in a process of its own.

``python -m benchmarks.epochs SIDE DATA FOLDER STEPS`` prints a JSON line when it is ready, then for
each line on stdin, which is ``full`` or ``recipe``, seconds and photos of an epoch of at most STEPS
steps. A ``full`` step trains every layer with batch statistics, a ``recipe`` step does what the
recipe says, which may freeze some. SIDE is

- ``product``: photos decoded once, `training.input.dataset`, the step that ``python -m training
  fit`` runs, with TensorFlow's deterministic kernels as there;
- ``memory``: the same step on one batch in memory again and again, without determinism;
- ``directory``: ``image_dataset_from_directory`` and augmentation layers before the same step.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from training.data.dataset import Dataset
from training.data.sources import load_dataset
from training.fitting.step import compiled_for, take_apart
from training.input.augment import augment_batch
from training.input.cache import cached_pixels
from training.input.dataset import one_hot, train_dataset
from training.input.sampling import epoch_order
from training.models import build_model
from training.recipe import Recipe, change_recipe
from training.recipes import load_recipe
from training.tf import keras, tf

RECIPE = "fast"
WEIGHTS = "backbone_weights/mobilenet_v2_0.35_224_no_top.weights.h5"
Batches = Callable[[], Iterable[tuple[Any, Any]]]


def main(side: str, data: Path, folder: Path, steps: int) -> None:
    """Prepare a side, then run an epoch for each line on stdin."""
    recipe = change_recipe(load_recipe(RECIPE), [f'weights="{data / WEIGHTS}"'])
    if side == "product":
        tf.config.experimental.enable_op_determinism()
    photos = load_dataset(data / "jute_pest").split("train")
    full = change_recipe(recipe, ["freeze_blocks=0", "freeze_statistics=false"])
    recipes = {"full": full, "recipe": recipe}
    all_steps = {name: _step(one, len(photos.labels)) for name, one in recipes.items()}
    rate = tf.constant(1e-5)
    batches, ready = SIDES[side](photos, recipe, folder)
    for step in all_steps.values():
        for x, y in itertools.islice(batches(), 2):  # traced and warm
            step(x, y, rate)
    print(json.dumps(ready | {"epochs": recipe.epochs * recipe.members}), flush=True)
    for line in sys.stdin:
        step = all_steps[line.strip()]
        start, count = time.monotonic(), 0
        loss = tf.constant(0.0)
        for x, y in itertools.islice(batches(), steps):
            new, _ = step(x, y, rate)
            loss += new
            count += int(x.shape[0])
        float(loss)
        print(json.dumps({"seconds": time.monotonic() - start, "photos": count}), flush=True)


def product(photos: Dataset, recipe: Recipe, folder: Path) -> tuple[Batches, dict[str, float]]:
    """What ``python -m training fit`` feeds its step with; tells how long decoding took."""
    start = time.monotonic()
    files = [photos.path(example) for example in photos.examples]
    pixels = cached_pixels(files, recipe.source, str(time.time_ns()), folder)
    decoded = time.monotonic() - start
    order = epoch_order(np.ones(len(files)), 0, 0)
    dataset = train_dataset(
        pixels,
        _targets(photos),
        order,
        batch=recipe.batch,
        side=recipe.resolution,
        augment=recipe.augment,
        seed=0,
    )
    return lambda: dataset, {"decode_seconds": decoded}


def memory(photos: Dataset, recipe: Recipe, folder: Path) -> tuple[Batches, dict[str, float]]:
    """One augmented batch, as many times as an epoch has steps."""
    count = recipe.batch
    files = [photos.path(example) for example in photos.examples[:count]]
    pixels = tf.constant(np.array(cached_pixels(files, recipe.source, "memory", folder)))
    targets = tf.constant(_targets(photos)[:count])
    seed = tf.constant([0, 0])
    batch = augment_batch(pixels, targets, recipe.resolution, recipe.augment, seed)
    return lambda: itertools.repeat(batch, len(photos) // count), {}


def directory(photos: Dataset, recipe: Recipe, folder: Path) -> tuple[Batches, dict[str, float]]:
    """What Keras' guides show: files decoded in every epoch, augmentation as layers in map."""
    links = folder / "links"
    for example in photos.examples:
        link = links / example.label / Path(example.file).name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(photos.path(example))
    side = recipe.resolution
    layers = keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal_and_vertical"),
            keras.layers.RandomRotation(0.5),
            keras.layers.RandomZoom(0.3),
            keras.layers.RandomTranslation(0.1, 0.1),
            keras.layers.RandomBrightness(0.2),
            keras.layers.RandomContrast(0.2),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
        ]
    )
    dataset = keras.utils.image_dataset_from_directory(
        links, label_mode="categorical", image_size=(side, side), batch_size=recipe.batch, seed=0
    )
    dataset = dataset.map(lambda x, y: (layers(x, training=True), y), tf.data.AUTOTUNE)
    dataset = dataset.take(len(photos) // recipe.batch).prefetch(tf.data.AUTOTUNE)
    return lambda: dataset, {}


SIDES = {"product": product, "memory": memory, "directory": directory}


def _targets(photos: Dataset) -> np.ndarray:
    index = {label: number for number, label in enumerate(photos.labels)}
    return one_hot(np.array([index[e.label] for e in photos.examples]), len(index))


def _step(recipe: Recipe, classes: int) -> Callable[..., Any]:
    model = build_model(recipe, classes)
    parts = take_apart(model, recipe.freeze_blocks)
    return compiled_for(model, parts, recipe, np.ones(classes, np.float32), 0)[1]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
