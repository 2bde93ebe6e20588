"""A small device for tests: a model that tells colours apart, photos, a configuration."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from PIL import Image

from edge.model.bundle.bundle import write_bundle
from edge.model.bundle.manifest import (
    Golden,
    Interpreter,
    LabelSpec,
    Manifest,
    OutputSpec,
    Reference,
)
from edge.model.image.preprocessing import InputSpec, decode, fit, quantise
from edge.model.runtimes.fake import Fake, Fault, fake_model
from edge.model.scores import DecisionSpec

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

COLOURS = {"aphid": (40, 160, 40), "beetle": (160, 30, 30), "leaf": (90, 90, 200)}
STARTED: list[subprocess.Popen[str] | subprocess.Popen[bytes]] = []
SPEC = InputSpec(width=32, height=32, mean=(0.0,), std=(1.0,), scale=1.0, zero_point=0)


def photo(
    label: str, size: tuple[int, int] = (160, 120), form: str = "JPEG", seed: int = 0
) -> bytes:
    """Picture bytes that the model takes for `label`."""
    noise = np.random.default_rng(seed).integers(-15, 16, (size[1], size[0], 3))
    pixels = np.clip(np.array(COLOURS[label]) + noise, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def photos(folder: Path, count: int, size: tuple[int, int] = (160, 120)) -> list[str]:
    """Write `count` photos of all labels in turn; give the label of each."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = [list(COLOURS)[i % len(COLOURS)] for i in range(count)]
    made = {label: photo(label, size) for label in COLOURS}
    for i, label in enumerate(labels):
        (folder / f"{i:05d}-{label}.jpg").write_bytes(made[label])
    return labels


def bundle(
    path: Path,
    reference: Reference | None = None,
    version: str = "1",
    fault: Fault | None = None,
    size: int = 32,
    key: Ed25519PrivateKey | None = None,
    name: str = "colours",
    colours: dict[str, tuple[int, int, int]] | None = None,
) -> Path:
    """Write a bundle for the fake runtime; give its path."""
    colours = colours or COLOURS
    spec = msgspec.structs.replace(SPEC, width=size, height=size)
    model = fake_model(len(colours), size=size, colours=list(colours.values()), fault=fault)
    picture = photo("aphid", (64, 64), "PNG")
    tensor = quantise(fit(decode(picture), spec), spec)
    sound = Fake(fake_model(len(colours), size=size, colours=list(colours.values())))
    scores = tuple(float(score) for score in sound.invoke(tensor))
    manifest = Manifest(
        name=name,
        version=version,
        created="2026-01-01T00:00:00Z",
        labels=tuple(LabelSpec(id=label, name=label) for label in colours),
        input=spec,
        output=OutputSpec(kind="logits", dtype="float32"),
        decision=DecisionSpec(),
        goldens=(Golden(file="golden/a.png", scores=scores, tolerance=0.01),),
        interpreter=Interpreter(name="fake", version="1"),
        reference=reference,
    )
    write_bundle(path, manifest, {"model.tflite": model, "golden/a.png": picture}, key)
    return path


def config(folder: Path, port: int, extra: str = "", camera: str = "", broker: str = "") -> Path:
    """Write a configuration that replays ``photos/`` beside it, every frame an event."""
    if not (folder / "model.wtr").exists():
        bundle(folder / "model.wtr")
    path = folder / "config.toml"
    path.write_text(
        f"""[device]
id = "cam-1"
[model]
bundle = "model.wtr"
runtime = "fake"
[camera]
kind = "folder"
path = "photos"
{camera}
[decision]
mode = "always"
[broker]
host = "127.0.0.1"
port = {port}
retry_min_seconds = 0.05
retry_max_seconds = 0.2
{broker}
[report]
state_seconds = 0.2
{extra}
"""
    )
    return path


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start the ``wheatear`` command with stderr piped; it ends with the test at the latest."""
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", *arguments], stderr=subprocess.PIPE, text=True
    )
    STARTED.append(process)
    return process


def stop_all() -> None:
    """End what a test that failed left running: a replay in a loop would never end by itself."""
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            process.kill()
            process.communicate()
