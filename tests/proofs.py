"""Proofs in this process: one of its own takes half a second, and is tried where it matters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edge.config import Model
from edge.errors import ProofError, StoppedError, WheatearError
from edge.updates.proof import Proof, try_here

PROOF = Proof(
    name="a",
    version="2",
    sha256="2" * 64,
    bytes=1,
    labels=("x",),
    runtime="fake",
    runtime_version="1",
    goldens=1,
    worst_difference=0.5,
)
"""What one gives where all is well."""


def prove_here(file: Path, model: Model, stop: Callable[[], bool] = lambda: False) -> Proof:
    """Prove a bundle as the other process would."""
    if stop():
        raise StoppedError
    try:
        return try_here(file, model.runtime, model.threads, model.trusted_keys)
    except WheatearError as error:
        raise ProofError(f"{type(error).__name__}: {error}") from error


def in_this_process(patch: pytest.MonkeyPatch) -> None:
    """Have what is installed proved here."""
    patch.setattr("edge.updates.install.prove_apart", prove_here)
