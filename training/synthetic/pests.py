"""Draw one pest: head to the right, about as long as the square."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training.synthetic.sprite import Colour, Sprite, clouds

Rng = np.random.Generator


def _tint(rng: Rng, colour: Colour, amount: float = 0.08) -> Colour:
    """The colour, somewhat lighter or darker, warmer or cooler."""
    shift = rng.normal(0, amount / 2, 3) + rng.normal(0, amount)
    red, green, blue = np.clip(np.asarray(colour) + shift, 0.02, 0.98)
    return float(red), float(green), float(blue)


def _scaled(colour: Colour, factor: float) -> Colour:
    """The colour, darker below 1."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def _choose(rng: Rng, colours: list[Colour], amount: float = 0.06) -> Colour:
    return _tint(rng, colours[int(rng.integers(len(colours)))], amount)


def _legs(
    sprite: Sprite,
    rng: Rng,
    roots: list[float],
    reach: float,
    width: float,
    colour: Colour,
    spread: float = 0.5,
) -> None:
    """A pair of jointed legs at each place along the body, fanning out from front to back."""
    middle = sum(roots) / len(roots)
    for root in roots:
        lean = (root - middle) * 1.6 + rng.normal(0, 0.06)
        for side in (-1, 1):
            knee = (root + lean * spread, side * reach * rng.uniform(0.55, 0.7))
            foot = (
                knee[0] + lean * 0.8 + rng.normal(0, 0.03),
                side * reach * rng.uniform(0.9, 1.1),
            )
            sprite.line([(root, 0), knee, foot], width, colour)


def _feelers(
    sprite: Sprite, rng: Rng, at: float, length: float, width: float, colour: Colour
) -> None:
    for side in (-1, 1):
        bend = rng.uniform(0.5, 0.9)
        points = [
            (at, 0.04 * side),
            (at + length * 0.5, side * length * 0.35 * bend),
            (at + length * 0.9, side * length * bend),
        ]
        sprite.line(points, width, colour)


def aphid(sprite: Sprite, rng: Rng) -> None:
    """A pear-shaped, soft green body with two tail pipes."""
    colour = _choose(rng, [(0.68, 0.8, 0.28), (0.78, 0.85, 0.45)])
    dark = _scaled(colour, 0.55)
    _legs(sprite, rng, [0.28, 0.12, -0.08], 0.62, 0.035, dark)
    _feelers(sprite, rng, 0.5, 0.45, 0.03, dark)
    for side in (-1, 1):
        sprite.line([(-0.42, 0.2 * side), (-0.72, 0.3 * side)], 0.06, dark)
    sprite.body((-0.2, 0), (0.52, 0.4), 0, colour, 0.25)
    sprite.body((0.2, 0), (0.3, 0.27), 0, _tint(rng, colour, 0.03), 0.2)
    sprite.body((0.45, 0), (0.16, 0.18), 0, _tint(rng, colour, 0.03), 0.15)
    for side in (-1, 1):
        sprite.body((0.5, 0.14 * side), (0.05, 0.05), 0, (0.1, 0.03, 0.03), 0.3)


def beetle(sprite: Sprite, rng: Rng) -> None:
    """Two glossy wing cases, spotted, striped or plain, with a neck shield."""
    colour = _choose(
        rng,
        [
            (0.08, 0.12, 0.3),
            (0.12, 0.1, 0.09),
            (0.85, 0.5, 0.08),
        ],
    )
    black = _tint(rng, (0.07, 0.06, 0.06), 0.02)
    long = rng.uniform(0.5, 0.62)
    wide = rng.uniform(0.34, 0.46)
    _legs(sprite, rng, [0.3, 0.05, -0.2], wide + 0.3, 0.05, black)
    _feelers(sprite, rng, 0.66, 0.36, 0.035, black)
    sprite.body((0.62, 0), (0.16, 0.17), 0, black, 0.4)
    sprite.body((0.42, 0), (0.2, wide * 0.78), 0, _choose(rng, [black, colour], 0.03), 0.45)
    cases = np.broadcast_to(np.asarray(colour, np.float32), (64, 96, 3)).copy()
    style = int(rng.integers(3))
    if style == 0:
        for _ in range(int(rng.integers(2, 5))):
            x, y, r = rng.integers(16, 80), rng.integers(5, 26), rng.uniform(5, 10)
            yy, xx = np.mgrid[:64, :96]
            for row in (y, 63 - y):
                cases[(yy - row) ** 2 + (xx - x) ** 2 * 0.7 < r * r] = black
    elif style == 1:
        bands = int(rng.integers(2, 4))
        wave = np.sin(np.linspace(0, bands * 2 * np.pi, 96) + rng.uniform(0, 6))
        cases[:, wave > 0.35] = _tint(rng, (0.9, 0.75, 0.2) if colour[0] < 0.4 else black, 0.03)
    cases[30:34] *= 0.35
    sprite.body((-0.12, 0), (long, wide), 0, colour, rng.uniform(0.35, 0.8), cases)


def caterpillar(sprite: Sprite, rng: Rng) -> None:
    """A curved chain of segments with stripes, often hairy."""
    colour = _choose(rng, [(0.16, 0.14, 0.13), (0.75, 0.62, 0.3)])
    stripe = _choose(rng, [(0.92, 0.88, 0.6), (0.85, 0.42, 0.08), (0.2, 0.2, 0.1)])
    count = int(rng.integers(10, 14))
    bend, phase = rng.uniform(-0.45, 0.45), rng.uniform(0, np.pi)
    along = np.linspace(-0.85, 0.8, count)
    across = bend * np.sin(along * 2.2 + phase)
    across -= across.mean()
    thick = rng.uniform(0.13, 0.19)
    hairy = rng.random() < 0.45
    slope = np.arctan2(np.gradient(across), np.gradient(along))
    dark = _tint(rng, (0.14, 0.11, 0.08), 0.03)
    for x, y, angle in zip(along, across, slope, strict=True):
        for side in (-1, 1):
            foot = (
                x - np.sin(angle) * side * thick * 1.25,
                y + np.cos(angle) * side * thick * 1.25,
            )
            sprite.line([(x, y), foot], 0.05, _scaled(colour, 0.6))
    tint = np.broadcast_to(np.asarray(colour, np.float32), (32, 8, 3)).copy()
    tint[14:18] = stripe
    tint[5:8] = tint[24:27] = np.asarray(stripe) * 0.75
    tint[:, :1] *= 0.6
    for index in range(count):
        size = thick * (0.8 + 0.2 * np.sin(np.pi * (index + 0.6) / count))
        centre = (float(along[index]), float(across[index]))
        sprite.body(centre, (size * 0.85, size), float(slope[index]), colour, 0.22, tint)
        if hairy:
            for _ in range(9):
                turn = rng.uniform(0, 2 * np.pi)
                far = size * rng.uniform(1.3, 2.2)
                tip = (centre[0] + np.cos(turn) * far, centre[1] + np.sin(turn) * far)
                sprite.line([centre, tip], 0.014, _choose(rng, [dark, stripe], 0.05))
    head = (float(along[-1]) + thick * 0.6, float(across[-1] + np.tan(slope[-1]) * thick * 0.6))
    sprite.body(head, (thick * 0.75, thick * 0.8), 0, _choose(rng, [dark, (0.55, 0.25, 0.1)]), 0.5)


def moth(sprite: Sprite, rng: Rng) -> None:
    """Broad patterned wings, open or folded like a roof, and a furry body."""
    colour = _choose(
        rng, [(0.6, 0.48, 0.32), (0.78, 0.72, 0.6), (0.45, 0.4, 0.36), (0.7, 0.66, 0.35)]
    )
    side = sprite.side
    y, x = np.mgrid[:side, :side] / (side / 2) - 1
    waves = np.sin(np.hypot(x - 0.5, y) * rng.uniform(12, 20) + clouds(rng, (side, side), 5) * 0.6)
    grain = clouds(rng, (side, side), 28, 2)
    shade = 0.9 + 0.18 * np.tanh(waves * 2) + 0.07 * grain - 0.22 * (np.abs(y) + np.abs(x)) / 2
    wings = np.asarray(colour, np.float32) * shade[..., None].astype(np.float32)
    open_wings = rng.random() < 0.6
    span = rng.uniform(0.75, 0.95) if open_wings else rng.uniform(0.4, 0.52)
    hind = wings * rng.uniform(0.75, 1.1) + rng.uniform(0, 0.08)
    for s in (-1, 1):
        if open_wings:
            back = [
                (0.05, 0),
                (-0.1, s * span * 0.75),
                (-0.5, s * span * 0.72),
                (-0.7, s * 0.25),
                (-0.3, 0),
            ]
            front = [
                (0.35, 0),
                (0.45, s * span * 0.6),
                (0.3, s * span),
                (-0.1, s * span * 0.9),
                (-0.12, 0),
            ]
            sprite.shape(_rounded(back), hind)
        else:
            front = [
                (0.45, 0),
                (0.2, s * span * 0.62),
                (-0.6, s * span),
                (-0.75, s * span * 0.4),
                (-0.7, 0),
            ]
        sprite.shape(_rounded(front), wings)
        spot = (0.12, s * span * 0.55) if open_wings else (-0.2, s * span * 0.5)
        sprite.body(spot, (0.07, 0.07), 0, _scaled(colour, 0.4), 0.0)
    _feelers(sprite, rng, 0.55, 0.35, 0.03, _scaled(colour, 0.5))
    fur = _tint(rng, _scaled(colour, 0.8), 0.04)
    if open_wings:
        sprite.body((-0.2, 0), (0.42, 0.12), 0, fur, 0.05)
    sprite.body((0.32, 0), (0.2, 0.15), 0, _tint(rng, fur, 0.04), 0.05)
    sprite.body((0.54, 0), (0.1, 0.1), 0, _scaled(fur, 0.7), 0.1)


def mite(sprite: Sprite, rng: Rng) -> None:
    """A round red body on eight thin legs, dark patches on its flanks."""
    colour = _choose(rng, [(0.78, 0.16, 0.08), (0.6, 0.1, 0.1)])
    dark = _scaled(colour, 0.6)
    _legs(sprite, rng, [0.4, 0.25, -0.05, -0.25], 0.8, 0.045, dark, 0.9)
    sprite.body((-0.05, 0), (0.5, 0.42), 0, colour, 0.5)
    for side in (-1, 1):
        sprite.body((-0.05, 0.2 * side), (0.16, 0.1), 0, _scaled(colour, 0.4), 0.1)
    sprite.body((0.42, 0), (0.16, 0.16), 0, _tint(rng, colour, 0.04), 0.3)


def snail(sprite: Sprite, rng: Rng) -> None:
    """A banded spiral shell on a grey foot."""
    foot = _choose(rng, [(0.55, 0.5, 0.42), (0.35, 0.32, 0.28)])
    shell = _choose(rng, [(0.75, 0.6, 0.35), (0.5, 0.32, 0.18), (0.85, 0.78, 0.55)])
    sprite.body((0.05, 0.05), (0.85, 0.2), 0, foot, 0.35)
    for side in (-1, 1):
        sprite.line([(0.75, 0.05), (0.98, 0.05 + 0.16 * side)], 0.04, foot)
    turn = np.linspace(0, 4.5 * np.pi, 26)
    for index, angle in enumerate(turn):
        part = 1 - index / len(turn)
        centre = (-0.2 + 0.24 * part * np.cos(angle), -0.05 + 0.24 * part * np.sin(angle))
        band = shell if index % 2 else _scaled(shell, 0.72)
        sprite.body(centre, (0.34 * part + 0.04, 0.34 * part + 0.04), 0, band, 0.4)


def shield_bug(sprite: Sprite, rng: Rng) -> None:
    """A flat shield with a triangle on its back and banded edges."""
    colour = _choose(rng, [(0.35, 0.6, 0.2), (0.5, 0.38, 0.22)])
    _legs(sprite, rng, [0.3, 0.05, -0.2], 0.72, 0.045, _scaled(colour, 0.6))
    _feelers(sprite, rng, 0.7, 0.45, 0.035, (0.2, 0.14, 0.1))
    outline = [(0.72, 0.1), (0.45, 0.5), (0.3, 0.56), (-0.4, 0.42), (-0.8, 0.1)]
    outline += [(x, -y) for x, y in reversed(outline)]
    shade = (
        np.asarray(colour, np.float32)
        * (1 + 0.12 * clouds(rng, (sprite.side,) * 2, 24, 2))[..., None]
    )
    sprite.shape(_rounded(outline), shade * 0.8)
    sprite.body((-0.1, 0), (0.62, 0.4), 0, colour, 0.15, flat=0.6)
    sprite.shape([(0.3, 0.34), (0.3, -0.34), (-0.35, 0)], _scaled(colour, 0.75))
    sprite.shape([(-0.3, 0.2), (-0.85, 0), (-0.3, -0.2)], (0.25, 0.18, 0.12))
    sprite.body((0.68, 0), (0.13, 0.13), 0, _tint(rng, colour, 0.03), 0.2)


def _rounded(points: list[tuple[float, float]], rounds: int = 3) -> list[tuple[float, float]]:
    """Cut corners (G. Chaikin, 1974) so that a polygon reads as a grown outline."""
    for _ in range(rounds):
        cut = []
        for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
            cut.append((0.75 * ax + 0.25 * bx, 0.75 * ay + 0.25 * by))
            cut.append((0.25 * ax + 0.75 * bx, 0.25 * ay + 0.75 * by))
        points = cut
    return points


PESTS: dict[str, Callable[[Sprite, Rng], None]] = {
    "aphid": aphid,
    "beetle": beetle,
    "caterpillar": caterpillar,
    "mite": mite,
    "moth": moth,
}
UNKNOWN: dict[str, Callable[[Sprite, Rng], None]] = {"shield_bug": shield_bug, "snail": snail}
"""Pests that no model is taught: what the unknown rule is tried on."""
