"""Copies and photos of one scene find each other; others do not."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from training.data.dataset import Dataset, Example
from training.data.grouping import Link, find_links, group_near_duplicates, join
from training.data.keypoints import Keypoints, find_keypoints, mirrored
from training.data.matching import find_matches
from training.data.photos import look
from training.data.sources import load_dataset
from training.synthetic.generate import generate
from training.synthetic.scenes import Plant

COPIES = {
    "mirror": ImageOps.mirror,
    "turn90": lambda im: im.transpose(Image.Transpose.ROTATE_90),
    "turn180": lambda im: im.transpose(Image.Transpose.ROTATE_180),
    "turn270": lambda im: im.transpose(Image.Transpose.ROTATE_270),
    "turn15": lambda im: im.rotate(15, Image.Resampling.BICUBIC, fillcolor=(90, 90, 90)),
    "mirror-turn20": lambda im: ImageOps.mirror(im).rotate(20, Image.Resampling.BICUBIC),
    "crop70": lambda im: im.crop(
        (int(im.width * 0.1), int(im.height * 0.25), int(im.width * 0.8), int(im.height * 0.95))
    ),
    "half": lambda im: im.resize((im.width // 2, im.height // 2)),
    "double": lambda im: im.resize((im.width * 2, im.height * 2)),
    "bright": lambda im: ImageEnhance.Brightness(im).enhance(1.35),
    "dark": lambda im: ImageEnhance.Brightness(im).enhance(0.6),
    "same": lambda im: im,
}


def with_copies(root, originals):
    """Write each original and its copies (JPEG quality 60); return the data set."""
    examples = []
    for number, picture in enumerate(originals):
        for name, change in {"original": lambda im: im, **COPIES}.items():
            file = f"{number}-{name}.jpg"
            change(picture).save(root / file, quality=90 if name == "original" else 60)
            examples.append(Example(file, "pest"))
    return Dataset(root, tuple(examples))


def missed(dataset):
    """Names of copies that are not in their original's group."""
    group = {e.file: e.group for e in dataset.examples}
    return [f for f in group if group[f] != group[f.split("-")[0] + "-original.jpg"]]


def mixed(dataset):
    """Groups that hold copies of more than one original."""
    sources = defaultdict(set)
    for example in dataset.examples:
        sources[example.group].add(example.file.split("-")[0])
    return [group for group, originals in sources.items() if len(originals) > 1]


def test_copies_of_painted_scenes_are_found_and_scenes_kept_apart(tmp_path):
    """Mirrored, turned, cropped, scaled, re-encoded, brighter: all join their source."""
    kinds = ["beetle", "moth", "caterpillar", "mite", None, "aphid"]
    originals = []
    for number, kind in enumerate(kinds):
        rng = np.random.default_rng([5, number])
        (tmp_path / "one.jpg").write_bytes(Plant(rng, (320, 240)).photo(rng, kind))
        originals.append(Image.open(tmp_path / "one.jpg").convert("RGB"))
    grouped = group_near_duplicates(with_copies(tmp_path, originals))
    assert mixed(grouped) == []
    assert missed(grouped) == []


def test_copies_of_real_photos_are_found_and_photos_kept_apart(tmp_path, data):
    """The same on field photographs of bean leaves."""
    source = load_dataset(data("bean_leaf"))
    chosen = source.examples[::90]
    originals = [Image.open(source.path(e)).convert("RGB").resize((320, 320)) for e in chosen]
    grouped = group_near_duplicates(with_copies(tmp_path, originals))
    assert mixed(grouped) == []
    assert missed(grouped) == []


def test_different_real_photos_stay_alone(data):
    """Of 30 photos of different leaves none is tied to another."""
    source = load_dataset(data("bean_leaf"))
    some = source.with_examples(source.examples[5:450:15])
    groups = Counter(e.group for e in group_near_duplicates(some).examples)
    assert max(groups.values()) == 1


def test_augmented_pest_photos_go_back_to_their_sources(data):
    """On jute_pest, three classes: few wrong ties, and most given ties found again."""
    known = load_dataset(data("jute_pest"))
    classes = ("leaf_beetle", "pod_borer", "yellow_mite")
    part = known.with_examples([e for e in known.examples if e.label in classes][::3])
    bare = part.with_examples(Example(e.file, e.label) for e in part.examples)
    ours = [e.group for e in group_near_duplicates(bare).examples]
    given = [e.group for e in part.examples]

    def pairs(items):
        return sum(n * (n - 1) // 2 for n in Counter(items).values())

    both = pairs(zip(ours, given, strict=True))
    assert both / pairs(ours) > 0.8
    assert both / pairs(given) > 0.6


def test_given_groups_are_kept_and_joined_through_copies(tmp_path):
    """A copy between two plants ties the plants together; their photos stay together."""
    data = generate(tmp_path / "s", per_class=4, seed=3, size=(160, 120))
    first = next(e for e in data.examples if e.group == "plant-000")
    other = next(e for e in data.examples if e.group == "plant-001")
    copy = Example("copy.jpg", first.label, None, other.group)
    (data.root / "copy.jpg").write_bytes(data.path(first).read_bytes())
    grouped = group_near_duplicates(data.with_examples((*data.examples, copy)))
    names = {e.file: e.group for e in grouped.examples}
    tied = {e.file for e in data.examples if e.group in (first.group, other.group)}
    assert {names[file] for file in tied} == {names["copy.jpg"]}


def test_one_weak_tie_does_not_join_two_groups():
    """Two photos each: one weak tie is too little, two are enough."""
    certain = [Link(0, 1, "copy", True), Link(2, 3, "copy", True)]
    assert join(4, [*certain, Link(1, 2, "scene", False)]) == [0, 0, 2, 2]
    twice = [Link(1, 2, "scene", False), Link(0, 3, "scene", False)]
    assert join(4, [*certain, *twice]) == [0, 0, 0, 0]


def test_plain_pictures_are_not_all_called_copies(tmp_path):
    """Sky, or a lens cap: pictures without structure stay alone unless their bytes agree."""
    for number, grey in enumerate((10, 90, 200)):
        Image.new("RGB", (64, 64), (grey, grey, grey)).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes((tmp_path / "0.png").read_bytes())
    data = Dataset(tmp_path, tuple(Example(f"{i}.png", "x") for i in range(4)))
    assert [(link.first, link.second, link.kind) for link in find_links(look(data))] == [
        (0, 3, "exact")
    ]


def test_mirrored_descriptors_are_those_of_the_mirrored_photo():
    """The order of OpenCV's cells and directions is as it is taken to be here."""
    rng = np.random.default_rng(2)
    blobs = Image.fromarray(rng.integers(0, 255, (24, 32), np.uint8)).resize((192, 144))
    grey = np.asarray(blobs, np.float32)
    here, there = find_keypoints(grey), find_keypoints(grey[:, ::-1])
    cosine = mirrored(here.descriptors) @ there.descriptors.T
    assert (cosine.max(1) > 0.98).mean() > 0.8
    found = there.frames[cosine.argmax(1)]
    away = np.hypot(1 - here.frames[:, 0] - found[:, 0], here.frames[:, 1] - found[:, 1])
    assert (away < 0.01).mean() > 0.8
    assert ((here.descriptors @ there.descriptors.T).max(1) > 0.98).mean() < 0.2


def test_a_dull_photo_has_the_keypoints_of_a_bright_one():
    """A tenth of the contrast is enough."""
    rng = np.random.default_rng(2)
    grey = np.asarray(Image.fromarray(rng.integers(0, 255, (24, 32), np.uint8)).resize((192, 144)))
    bright, dull = (find_keypoints(grey.astype(np.float32) * scale) for scale in (1, 0.1))
    assert min(len(bright.frames), len(dull.frames)) > 60
    apart = np.abs(dull.frames[:, None, :3] - bright.frames[:, :3]).max(2).min(1)
    assert (apart < 1e-3).mean() > 0.95


@pytest.mark.parametrize("order", [1, -1])
def test_the_result_does_not_depend_on_chance(tmp_path, order):
    """The same photos give the same groups whatever order they are listed in."""
    data = generate(tmp_path / "s", per_class=3, seed=1, size=(160, 120))
    listed = Dataset(data.root, tuple(data.examples[::order]))
    bare = listed.with_examples(Example(e.file, e.label) for e in listed.examples)
    groups = [e.group for e in group_near_duplicates(bare).examples]
    again = [e.group for e in group_near_duplicates(bare).examples]
    assert groups == again


def test_a_few_local_features_in_all_are_compared():
    """As plain pictures give them: an index would have to find all, and does not always."""
    for seed in range(20):
        points = np.random.default_rng(seed).normal(size=(18, 128)).astype(np.float32)
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        frames = np.zeros((9, 4), np.float32)
        photos = [Keypoints(frames, points[:9]), Keypoints(frames, points[9:])]
        assert list(find_matches(photos, [np.zeros((8, 8, 3), np.uint8)] * 2)) == []
