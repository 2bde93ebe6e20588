"""Paint what pests sit on: a leaf over blurred greenery, or soil with stones and straw."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from training.synthetic.sprite import LIGHT, Sprite, clouds

Rng = np.random.Generator
Size = tuple[int, int]
"""Width and height, pixels."""


def ground(rng: Rng, size: Size) -> np.ndarray:
    """One plant's surroundings, float32 (h, w, 3), 0..1."""
    return leaf(rng, size) if rng.random() < 0.65 else soil(rng, size)


def leaf(rng: Rng, size: Size) -> np.ndarray:
    """The upper or under side of a leaf, with veins, spots and holes, perhaps its edge."""
    width, height = size
    shape = (height, width)
    hue = rng.uniform(-0.09, 0.09)
    base = np.array([0.37 + hue * 1.3, 0.53 + rng.uniform(-0.09, 0.1), 0.23 + abs(hue) * 0.8])
    tissue = clouds(rng, shape, 60, 2)
    patches = clouds(rng, shape, 4, 3)
    veins = _veins(rng, size)
    relief = 1.3 * veins + 0.05 * tissue + 0.25 * patches
    colour = base * (1 + 0.09 * patches + 0.035 * tissue)[..., None]
    pale = np.clip(base * 1.25 + np.array([0.12, 0.12, 0.08]), 0, 1)
    colour += (pale - colour) * (0.55 * veins[..., None])
    colour = _spots(rng, colour, shape)
    lit = colour * _shade(relief, 0.8)[..., None]
    if rng.random() < 0.55:
        lit = _beyond(rng, lit, shape)
    return np.asarray(lit.astype(np.float32))


def soil(rng: Rng, size: Size) -> np.ndarray:
    """Crumbly earth, dry or wet, with stones, straw and fallen bits of leaf."""
    width, height = size
    shape = (height, width)
    colours = np.array([[0.5, 0.39, 0.29], [0.37, 0.3, 0.24], [0.6, 0.5, 0.38], [0.54, 0.36, 0.26]])
    base = colours[rng.integers(len(colours))] * rng.uniform(0.85, 1.15)
    crumbs = clouds(rng, shape, int(rng.integers(14, 30)), 5)
    grain = clouds(rng, shape, 90, 2)
    colour = base * (1 + 0.16 * clouds(rng, shape, 5, 3) + 0.08 * grain)[..., None]
    lit = colour * _shade(0.9 * crumbs + 0.2 * grain, 0.3)[..., None]
    picture = Image.fromarray((np.clip(lit, 0, 1) * 255).astype(np.uint8))
    for _ in range(int(rng.integers(3, 9))):
        grey = rng.uniform(0.3, 0.7)
        tint = np.clip(grey * np.array([1.05, 1.0, 0.92]) + rng.normal(0, 0.03, 3), 0, 1)
        stone = Sprite(int(rng.uniform(16, 60)))
        stone.body((0, 0), (0.9, rng.uniform(0.5, 0.85)), rng.uniform(0, 3), tuple(tint), 0.05)
        paste(picture, stone.image(), (rng.uniform(0, width), rng.uniform(0, height)), 0.45)
    for _ in range(int(rng.integers(1, 5))):
        picture = _straw(rng, picture)
    return np.asarray(picture, np.float32) / 255


def paste(
    picture: Image.Image, sprite: Image.Image, centre: tuple[float, float], shadow: float
) -> None:
    """Lay an RGBA sprite over the picture with its soft shadow, in place."""
    left, top = round(centre[0] - sprite.width / 2), round(centre[1] - sprite.height / 2)
    reach = max(2, round(0.06 * max(sprite.size)))
    box = (
        left - reach,
        top - reach,
        left + sprite.width + 3 * reach,
        top + sprite.height + 3 * reach,
    )
    cover = Image.new("L", (box[2] - box[0], box[3] - box[1]))
    cover.paste(sprite.getchannel("A"), (2 * reach, 2 * reach))
    cover = cover.filter(ImageFilter.GaussianBlur(reach * 0.8))
    dark = np.asarray(cover, np.float32) / 255 * shadow
    under = np.asarray(picture.crop(box), np.float32) * (1 - dark)[..., None]
    own = np.asarray(sprite, np.float32)
    opaque = own[..., 3:] / 255
    where = np.s_[reach : reach + sprite.height, reach : reach + sprite.width]
    under[where] = under[where] * (1 - opaque) + own[..., :3] * opaque
    picture.paste(Image.fromarray(np.clip(under, 0, 255).astype(np.uint8)), box[:2])


def _shade(relief: np.ndarray, strength: float) -> np.ndarray:
    """Brightness of a lit relief, about 1 where it is level."""
    dy, dx = np.gradient(relief * 4 * strength)
    scale = 1 / np.sqrt(dx**2 + dy**2 + 1)
    return np.asarray(
        np.clip((-dx * LIGHT[0] - dy * LIGHT[1] + LIGHT[2]) * scale / LIGHT[2], 0.25, 1.7)
    )


def _veins(rng: Rng, size: Size) -> np.ndarray:
    """Midrib, side veins and a fine net: float32 (h, w), 0..1."""
    width, height = size
    mask = Image.new("L", size)
    draw = ImageDraw.Draw(mask)
    angle = rng.uniform(0, np.pi)
    long = 1.2 * np.hypot(width, height)
    along, across = (
        np.array([np.cos(angle), np.sin(angle)]),
        np.array([-np.sin(angle), np.cos(angle)]),
    )
    start = np.array([width, height]) * rng.uniform(0.3, 0.7, 2) - along * long / 2
    bow = rng.uniform(-0.1, 0.1) * long

    def rib(part: float) -> np.ndarray:
        return np.asarray(start + along * long * part + across * bow * np.sin(np.pi * part))

    gap = rng.uniform(0.07, 0.12)
    lean = rng.uniform(0.5, 1.1)
    for part in np.arange(0, 1.2, gap):
        for side in (-1, 1):
            root = rib(part + side * gap / 4)
            steps = np.linspace(0, 1, 8)[:, None] * long * 0.6
            curve = (
                root + steps * (across * side + along * lean) * 0.7 + along * steps**2 / long * 0.5
            )
            draw.line([tuple(point) for point in curve], fill=150, width=3, joint="curve")
            for step in range(1, 7):
                tip = curve[step] + (along * side * 0.6 + across) * rng.uniform(
                    14, 40
                ) * rng.choice([-1, 1])
                draw.line([tuple(curve[step]), tuple(tip)], fill=60, width=1)
    draw.line(
        [tuple(rib(part)) for part in np.linspace(0, 1, 20)], fill=255, width=7, joint="curve"
    )
    return np.asarray(mask.filter(ImageFilter.GaussianBlur(1.6)), np.float32) / 255


def _spots(rng: Rng, colour: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Yellowing, brown flecks and eaten holes."""
    if rng.random() < 0.5:
        yellow = np.clip(clouds(rng, shape, 5, 3) - rng.uniform(0.8, 1.6), 0, 1)[..., None] * 0.7
        colour = colour + (np.array([0.72, 0.66, 0.22]) - colour) * yellow
    if rng.random() < 0.3:
        fleck = np.clip((clouds(rng, shape, 26, 2) - 2.1) * 3, 0, 1)[..., None]
        colour = colour + (np.array([0.34, 0.2, 0.1]) - colour) * fleck
    if rng.random() < 0.2:
        field = clouds(rng, shape, 12, 2) - rng.uniform(1.9, 2.4)
        rim = np.clip((field + 0.25) * 6, 0, 1)[..., None]
        colour = colour + (np.array([0.45, 0.36, 0.15]) - colour) * rim * 0.8
        colour = (
            colour + (np.array([0.07, 0.08, 0.05]) - colour) * np.clip(field * 8, 0, 1)[..., None]
        )
    return colour


def _beyond(rng: Rng, lit: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Cut the leaf off at an edge; what lies beyond is out of focus."""
    height, width = shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    across = (x - width / 2) * np.cos(angle) + (y - height / 2) * np.sin(angle)
    along = -(x - width / 2) * np.sin(angle) + (y - height / 2) * np.cos(angle)
    teeth = rng.uniform(0, 3) * np.abs(np.sin(along / rng.uniform(6, 14)))
    edge = rng.uniform(0.16, 0.42) * width - along**2 / width * rng.uniform(0, 0.5) + teeth
    inside = np.clip(edge - across + 0.5, 0, 1)
    tones = np.array([[0.1, 0.16, 0.07], [0.3, 0.26, 0.18], [0.24, 0.36, 0.14], [0.5, 0.56, 0.42]])
    far = 1.35 * tones[rng.integers(len(tones))] * (1 + 0.35 * clouds(rng, shape, 4, 2))[..., None]
    gloom = np.clip((across - edge) / (0.08 * width), 0, 1) * 0.5 + 0.5
    return np.asarray(
        np.clip(far, 0, 1) * (1 - inside[..., None]) * gloom[..., None] + lit * inside[..., None]
    )


def _straw(rng: Rng, picture: Image.Image) -> Image.Image:
    """A dry stalk or a torn bit of leaf."""
    bit = Sprite(int(rng.uniform(50, 130)))
    colour = np.clip(np.array([0.72, 0.6, 0.36]) * rng.uniform(0.6, 1.15), 0, 1)
    if rng.random() < 0.35:
        colour = np.array([0.32, 0.42, 0.16]) * rng.uniform(0.7, 1.2)
    bow = rng.uniform(-0.3, 0.3)
    points = [(part, bow * (1 - part**2)) for part in np.linspace(-0.9, 0.9, 9)]
    bit.line(points, rng.uniform(0.05, 0.12), tuple(colour))
    turned = bit.image().rotate(rng.uniform(0, 360), Image.Resampling.BICUBIC)
    paste(picture, turned, (rng.uniform(0, picture.width), rng.uniform(0, picture.height)), 0.4)
    return picture
