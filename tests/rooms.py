"""The rooms of each package, from the ground up, and which arrows none of them may have."""

from __future__ import annotations

from arrows import Arrow, upward

ROOMS: dict[str, tuple[str | tuple[str, ...], ...]] = {
    "edge": (
        ("errors", "text"), "messages", "config", "system", ("model", "outbox"),
        ("cameras", "mqtt"), "sightings", ("feedback", "updates"), "device", "commands",
    ),
    "quantize": (
        ("options", "tflite", "keras", "timing"), ("parity", "boards"), ("workbench", "bundle"),
        ("int8", "sweep"), "compress", "pipeline", "commands",
    ),
    "training": (
        ("architectures", "quiet", "inverted", "tflite"),
        ("tf", "console", "files", "metrics", "recipe", "pages", "untyped"), "starts",
        ("recipes", "models", "unknown"),
        ("data", "costs"), "input", "runs", "fitting", "report", ("synthetic", "inbox"), "commands",
    ),
}  # fmt: skip
"""From the ground up: each room imports those before it, those in one tuple not each other."""
WINGS = ({"model", "cameras", "sightings"}, {"outbox", "mqtt"})
"""Rooms of `edge` that know nothing of each other's wing."""


def upward_arrows(found: set[Arrow]) -> set[Arrow]:
    """The arrows that no room may have."""
    wrong = across({arrow for arrow in found if all(name.startswith("edge.") for name in arrow)})
    for package, rooms in ROOMS.items():
        inside = {arrow for arrow in found if all(n.split(".")[0] == package for n in arrow)}
        wrong |= upward(inside, rooms)
    return wrong


def across(found: set[Arrow]) -> set[Arrow]:
    """The arrows from one wing of `edge` to the other."""
    rooms = {name: name.split(".")[1] for arrow in found for name in arrow if "." in name}
    return {
        (source, target)
        for source, target in found
        for one, other in (WINGS, WINGS[::-1])
        if rooms.get(source) in one and rooms.get(target) in other
    }
