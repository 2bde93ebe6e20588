"""The boards, and what a model is estimated to take on each."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import msgspec

from quantize.boards import figures, model
from quantize.boards.figures import Ratio
from quantize.boards.model import CPU, TPU, Law, fitted, held_out, mean, spread, together, worst
from quantize.boards.totals import Totals, of_graph
from quantize.tflite.edgetpu import CACHE_BYTES, verdicts
from quantize.tflite.memory import arena_bytes
from training.tflite import read_graph

#: Threads that there are figures for: one, and one for each core.
THREADS = (1, 4)
#: Peak resident memory of `wheatear bench` with a model of 2 kB: Python 3.11, LiteRT 2.3.0, 1080p
#: JPEGs. Measured on x86-64: there is no published figure for this program on a board.
PROGRAM_BYTES = 88_000_000
#: The model's bytes are held so often: as read, by the interpreter, and packed by XNNPACK.
COPIES = 3
#: How many times smaller or larger than all that were measured a network may be without a warning.
BEYOND = 2


class Board(NamedTuple):
    """A computer that a bundle may run on."""

    id: str
    name: str
    memory: int
    """Bytes of the version that it is judged by."""
    cpu: str
    """Setting, by its name, that CPU time is taken from."""
    threads: Ratio
    slower: Ratio | None = None
    """How much longer it takes than the board of that setting."""
    tpu: str = ""
    """Setting that Edge TPU time is taken from."""

    @property
    def law(self) -> Law:
        """The law that its time follows."""
        return TPU if self.tpu else CPU

    @property
    def sources(self) -> tuple[str, ...]:
        """Keys of what its time rests on."""
        used = {setting.source for setting in self.law.settings} | {self.threads.source}
        if self.tpu:
            used |= {setting.source for setting in CPU.settings}
        if self.slower:
            used.add(self.slower.source)
        return tuple(key for key in figures.SOURCES if key in used)


class Estimate(NamedTuple):
    """Milliseconds for one picture: the estimate and the range it stands for."""

    milliseconds: float
    low: float
    high: float


class HeldOut(msgspec.Struct, frozen=True):
    """How far off the law was on networks it had not seen, as shares of the published time."""

    times: int
    median: float
    worst: float


_GIB = 1 << 30
_PI_3, _PI_4, _PI_5 = (setting.name for setting in (figures.CPU[0], figures.CPU[2], figures.CPU[4]))
BOARDS = (
    Board("pi-zero-2-w", "Pi Zero 2 W", _GIB // 2, _PI_3, figures.THREADS["pi-3b+"],
          slower=figures.ZERO_2_W),
    Board("pi-3b+", "Pi 3B+", _GIB, _PI_3, figures.THREADS["pi-3b+"]),
    Board("pi-4", "Pi 4", _GIB, _PI_4, figures.THREADS["pi-4"]),
    Board("pi-5", "Pi 5", 2 * _GIB, _PI_5, figures.THREADS["pi-5"]),
    Board("pi-4-coral", "Pi 4 + Coral", _GIB, _PI_4, figures.THREADS["pi-4"],
          tpu=figures.TPU_REFERENCE),
)  # fmt: skip


def times(board: Board, tflite: bytes) -> tuple[dict[int, Estimate], list[str]]:
    """Time by number of threads, and what has to be known about it.

    Raises:
        ModelError: no TFLite file.
    """
    graph = read_graph(tflite)
    whole = of_graph(graph)
    notes = _beyond(board.law, whole)
    if board.slower:
        notes.append(
            "no figures of its own: those of the Pi 3B+, and how both boards run other networks"
        )
    if not board.tpu:
        return {n: _sum([_cpu(board, whole, n)]) for n in THREADS}, notes
    fates = verdicts(tflite)
    mapped = of_graph(graph, [fate.number for fate in fates if fate.on_tpu])
    left = [fate for fate in fates if not fate.on_tpu]
    parts = []
    if mapped.operators:
        parts.append((fitted(TPU).milliseconds(mapped, board.tpu), worst(held_out(TPU))))
    if mapped.weights > CACHE_BYTES:
        notes.append(
            f"{mapped.weights / 1e6:.1f} MB of weights are more than the chip's "
            f"{CACHE_BYTES / 1e6:.1f} MB: the rest crosses USB for every picture"
        )
    if not left:
        return dict.fromkeys(THREADS, _sum(parts)), notes
    notes.append(
        f"{len(left)} of {len(fates)} operators fall to the CPU, the first {left[0].operator}: "
        f"{left[0].reason}"
    )
    rest = of_graph(graph, [fate.number for fate in left])
    return {n: _sum([*parts, _cpu(board, rest, n)]) for n in THREADS}, notes


def memory(tflite: bytes) -> int:
    """Peak resident bytes of the device program with this model.

    Raises:
        ModelError: no TFLite file.
    """
    return PROGRAM_BYTES + COPIES * len(tflite) + arena_bytes(read_graph(tflite))


def judged(board: Board) -> HeldOut:
    """The error on networks held out of the fit, on the board whose published times it rests on."""
    name = board.tpu or board.cpu
    owner = next(setting.board for setting in board.law.settings if setting.name == name)
    offs = [miss.off for miss in held_out(board.law) if miss.board == owner]
    return HeldOut(len(offs), median(offs) - 1, max(offs) - 1)


def _beyond(law: Law, totals: Totals) -> list[str]:
    """What to say of a network far from all that were measured."""
    done = [
        arithmetic(model.totals(network)) for setting in law.settings for network in setting.times
    ]
    own, least, most = arithmetic(totals), min(done), max(done)
    if least / BEYOND <= own <= most * BEYOND:
        return []
    return [
        f"{own:,.0f} multiply-adds; networks of {least:,.0f} to {most:,.0f} were measured: "
        "the range given does not cover that"
    ]


def arithmetic(totals: Totals) -> float:
    """All multiply-adds."""
    return totals.macs + totals.depthwise


def _cpu(board: Board, totals: Totals, threads: int) -> tuple[float, float]:
    """Milliseconds and how many times off they may be.

    Operators are started by one thread whatever their number: only arithmetic takes longer on one.
    """
    *arithmetic, starting = fitted(CPU).parts(totals, board.cpu)
    slower, doubts = 1.0, [worst(held_out(CPU))]
    if board.slower:
        slower = mean(board.slower)
        doubts.append(spread(board.slower))
    alone = 1.0
    if threads == 1:
        alone = mean(board.threads)
        doubts.append(spread(board.threads))
    return slower * (alone * sum(arithmetic) + starting), together(*doubts)


def _sum(parts: Sequence[tuple[float, float]]) -> Estimate:
    return Estimate(
        sum(ms for ms, _ in parts),
        sum(ms / off for ms, off in parts),
        sum(ms * off for ms, off in parts),
    )
