"""What is known of a bundle on the boards: measured where it was, estimated elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from edge.errors import QuantizeError
from edge.model.bundle.bundle import Bundle, read_bundle
from quantize.boards import estimate, figures
from quantize.boards.estimate import BOARDS, Board, HeldOut
from quantize.boards.measured import Measured, read
from quantize.boards.totals import of_graph
from training.tflite import read_graph

Basis = Literal["estimate", "measured"]
ABOUT = (
    "Estimates from published measurements of other networks, not measured on a board, except "
    "where it says so. Milliseconds are for the network alone, without decoding and resizing. The "
    "range is as wide as the error on networks that were held out of the fit."
)


class Time(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Milliseconds for one picture through the network."""

    basis: Basis
    threads: int
    milliseconds: float
    range: tuple[float, float] | None = None
    """Of an estimate."""
    estimate: float | None = None
    error: float | None = None
    """Where it was measured: what had been estimated, and how far off, as a share."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Peak resident bytes of the device program, and what the board has."""

    basis: Basis
    bytes: int
    board: int


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One board."""

    board: str
    name: str
    times: tuple[Time, ...]
    memory: Memory
    held_out: HeldOut
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    """Keys of `Estimates.sources`."""


class Estimates(msgspec.Struct, frozen=True, kw_only=True):
    """What `estimate --json` prints."""

    about: str = ABOUT
    file: str
    name: str
    version: str
    sha256: str
    totals: dict[str, float]
    """Multiply-adds, operators and so on: the fields of `Totals`."""
    boards: tuple[Row, ...]
    sources: dict[str, figures.Source]


def build(path: Path, measured: Sequence[str] = ()) -> Estimates:
    """Look at a bundle and at what was measured of it.

    Args:
        path: of the bundle.
        measured: `BOARD=BENCH.json` of each board it was tried on.

    Raises:
        BundleError: the bundle is refused.
        QuantizeError: a result does not belong to it, or a board is named twice.
    """
    bundle = read_bundle(path)
    results: dict[str, Measured] = {}
    for option in measured:
        result = read(option, bundle.sha256)
        if result.board in results:
            raise QuantizeError(
                f"--measured names {result.board} twice: give one result for each board"
            )
        results[result.board] = result
    rows = tuple(_row(board, bundle, results.get(board.id)) for board in BOARDS)
    used = {key for row in rows for key in row.sources}
    return Estimates(
        file=str(path),
        name=bundle.manifest.name,
        version=bundle.manifest.version,
        sha256=bundle.sha256,
        totals=of_graph(read_graph(bundle.model))._asdict(),
        boards=rows,
        sources={key: source for key, source in figures.SOURCES.items() if key in used},
    )


def _row(board: Board, bundle: Bundle, result: Measured | None) -> Row:
    guessed, notes = estimate.times(board, bundle.model)
    if board.tpu and not bundle.edgetpu_model:
        notes.append("no compiled model in this bundle yet: python -m quantize edgetpu adds it")
    rows = {
        threads: Time(
            basis="estimate",
            threads=threads,
            milliseconds=round(time.milliseconds, 3),
            range=(round(time.low, 3), round(time.high, 3)),
        )
        for threads, time in guessed.items()
    }
    needed = Memory(basis="estimate", bytes=estimate.memory(bundle.model), board=board.memory)
    if result:
        threads = result.bench.threads
        rows[threads], note = _measured(result, rows.get(threads))
        notes.append(note)
        needed = Memory(basis="measured", bytes=result.bench.peak_memory_bytes, board=board.memory)
    return Row(
        board=board.id,
        name=board.name,
        times=tuple(rows[threads] for threads in sorted(rows)),
        memory=needed,
        held_out=estimate.judged(board),
        notes=tuple(notes),
        sources=board.sources,
    )


def _measured(result: Measured, before: Time | None) -> tuple[Time, str]:
    """What stands in the place of an estimate, if there was one, and in words."""
    bench = result.bench
    found = bench.invoke.p50
    note = (
        f"measured: {found:.3g} ms, {bench.threads} thread(s), median of {bench.runs} "
        f"({result.file})"
    )
    time = Time(basis="measured", threads=bench.threads, milliseconds=found)
    if before is None:
        return time, note
    error = round(before.milliseconds / found - 1, 4)
    return (
        msgspec.structs.replace(time, estimate=before.milliseconds, error=error),
        f"{note}; the estimate was {before.milliseconds:.3g} ms, {error:+.0%}",
    )
