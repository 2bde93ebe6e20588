"""What `wheatear bench --json` measured on a board."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from edge.errors import QuantizeError
from edge.model.timing import BenchReport as Bench
from edge.text.refusals import refusal
from quantize.boards.estimate import BOARDS

#: What the kernel of a Raspberry Pi calls its processor (uname(2)).
MACHINES = ("aarch64", "armv7l", "armv6l")


class Measured(NamedTuple):
    """A result, the board it is from and the file it was read from."""

    board: str
    file: str
    bench: Bench


def read(option: str, sha256: str) -> Measured:
    """Read `BOARD=BENCH.json`.

    Args:
        option: as given on the command line.
        sha256: of the bundle that must have been measured.

    Raises:
        QuantizeError: an unknown board, no result of `bench`, another model's or another machine's.
    """
    known = [board.id for board in BOARDS]
    board, found, file = option.partition("=")
    if not found or board not in known:
        raise QuantizeError(
            f"--measured {option}: give BOARD=BENCH.json, where BOARD is one of {', '.join(known)}"
        )
    try:
        bench = msgspec.json.decode(Path(file).read_bytes(), type=Bench)
    except OSError as error:
        raise QuantizeError(f"--measured {option}: cannot read {file}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise QuantizeError(
            f"--measured {option}: {file} is not what `wheatear bench --json` prints "
            f"({refusal(error)})"
        ) from error
    wrong = _wrong(board, bench, sha256)
    if wrong:
        raise QuantizeError(f"--measured {option}: {wrong}")
    return Measured(board, file, bench)


def _wrong(board: str, bench: Bench, sha256: str) -> str:
    """Why a result does not belong to this board and bundle; empty where it does."""
    if bench.machine not in MACHINES:
        return (
            f"measured on {bench.machine}, which is not a Raspberry Pi; run `wheatear bench "
            "--json` on the board"
        )
    if bench.model.sha256 != sha256:
        return (
            f"measured another bundle (SHA-256 {bench.model.sha256[:16]}…, this one is "
            f"{sha256[:16]}…)"
        )
    coral = bench.model.delegate == "EdgeTPU"
    if coral != (board == "pi-4-coral"):
        return f"measured with{'' if coral else 'out'} the Edge TPU, which {board} does " + (
            "not have" if coral else "have: use runtime edgetpu"
        )
    return ""
