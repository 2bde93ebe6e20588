"""Golden pictures run in a process of their own, so that a model may crash there, hang, or take all
memory, and the device sees no more than an error with a name.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge.errors import ProofError, StoppedError
from edge.messages.updates import ModelEntry
from edge.text.json_text import from_json

if TYPE_CHECKING:
    from edge.config import Model

_TOLD = 400
"""Characters of what the process said that go into an error."""


class Proof(ModelEntry, frozen=True, kw_only=True):
    """A bundle that proved itself here; what ``wheatear model verify --json`` prints."""

    runtime: str
    runtime_version: str
    goldens: int
    worst_difference: float
    """Output levels."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a bundle was refused."""

    kind: str
    message: str


class ProofAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the process says: one of the two."""

    proof: Proof | None = None
    refusal: Refusal | None = None


def prove_apart(
    file: Path, model: Model, stop: Callable[[], bool] = lambda: False, python: str = sys.executable
) -> Proof:
    """Load the bundle in another process with the interpreter that `model` names, and run its
    golden pictures there, within ``model.update.proof_seconds`` and ``proof_bytes``.

    Raises:
        ProofError: refused there, crashed, hung, or out of memory; or no process can be started.
    """
    try:
        trial = subprocess.Popen(
            _command(python, file, model),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise ProofError(
            f"the trial cannot be started ({error.strerror or error}); the model is not used"
        ) from error
    with trial as process:
        try:
            out, err = _wait(process, model.update.proof_seconds, stop)
        finally:
            process.kill()
    return _judge(process.returncode, out, err.decode(errors="replace").strip()[-_TOLD:])


def _wait(
    process: subprocess.Popen[bytes], seconds: float, stop: Callable[[], bool]
) -> tuple[bytes, bytes]:
    """Wait for the end, looking at `stop` now and then; give stdout and stderr."""
    until = time.monotonic() + seconds
    while True:
        left = until - time.monotonic()
        try:
            return process.communicate(timeout=max(0.01, min(0.2, left)))
        except subprocess.TimeoutExpired:
            if stop():
                raise StoppedError from None
            if left <= 0:
                raise ProofError(
                    f"the golden pictures took longer than model.update.proof_seconds = {seconds:g}"
                    " (it hangs, or is too slow here); the model is not used"
                ) from None


def _command(python: str, file: Path, model: Model) -> list[str]:
    command = [python, "-m", "edge", "model", "verify", str(file), "--json"]
    command += ["--runtime", model.runtime, "--threads", str(model.threads)]
    command += ["--memory-bytes", str(model.update.proof_bytes)]
    command += ["--seconds", f"{model.update.proof_seconds + 5:g}"]
    for key in model.trusted_keys:
        command += ["--trusted-key", str(key)]
    return command


def _judge(status: int, out: bytes, err: str) -> Proof:
    if status < 0:
        name = signal.Signals(-status).name
        raise ProofError(
            f"the interpreter crashed ({name}) with this model; it ran in a process of its own, "
            "and the model is not used"
        )
    try:
        verdict = from_json(out, msgspec.json.Decoder(ProofAnswer))
    except msgspec.DecodeError as error:
        raise ProofError(f"the trial ended with status {status} and no verdict: {err}") from error
    if verdict.proof is None:
        refusal = verdict.refusal or Refusal(kind="ProofError", message=f"status {status}: {err}")
        raise ProofError(f"{refusal.kind}: {refusal.message}")
    return verdict.proof


def restrain(memory_bytes: int | None, seconds: float | None) -> None:
    """Bound this process before it loads a model, and let it give way to the device.

    What a machine does not offer is left out.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_bytes is not None:
        # Private writable memory; address space (RLIMIT_AS) also counts what libraries only map.
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    if seconds is not None:
        # Ends this process in native code too, and when whoever started it is gone.
        signal.setitimer(signal.ITIMER_REAL, seconds)
    with contextlib.suppress(OSError):
        os.nice(10)
        Path("/proc/self/oom_score_adj").write_text("1000")


def try_here(file: Path, runtime: str, threads: int, trusted_keys: Sequence[Path]) -> Proof:
    """Read the bundle, load it and run its golden pictures in this process.

    Raises:
        BundleError, ModelError, RuntimeUnavailableError, ConfigError: it is refused.
    """
    from edge.model.bundle.bundle import read_bundle
    from edge.model.bundle.signing import load_public_key
    from edge.model.classifier import Classifier, prove

    bundle = read_bundle(file, [load_public_key(path) for path in trusted_keys])
    with Classifier.from_bundle(bundle, runtime, threads, self_test=False) as classifier:
        report = prove(classifier, bundle)
        info = classifier.model_info
    return Proof(
        name=info.name,
        version=info.version,
        sha256=info.sha256,
        bytes=bundle.size,
        labels=bundle.labels,
        runtime=info.runtime,
        runtime_version=info.runtime_version,
        goldens=report.goldens,
        worst_difference=report.worst_difference,
    )
