"""One trial, in a process of its own: ``python -m quantize.commands.trial RECORD TICKET run RUN
...``.

Started by an engine, here or on another machine. It ends when whoever started it is no more: two
of them must never write the same files.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from threading import Thread

from edge.errors import QuantizeError, WheatearError
from quantize.sweep.jobs import BEGUN
from quantize.sweep.record import PATIENCE, SHARED, comes_true, differences, facts, read


def check(path: Path, ticket: str, run: Path, patience: float = PATIENCE) -> None:
    """Hold what is seen here against what the sweep was started with.

    Args:
        path: the trial's record.
        ticket: the one that must stand in it.
        run: the trial's run.
        patience: seconds to wait for the record.

    Raises:
        QuantizeError: the sweep's folder, run or photos are not those, or packages differ.
    """
    from training.runs import load_run

    here = socket.gethostname()

    def ours() -> bool:
        record = read(path)
        return record is not None and record.ticket == ticket

    if not comes_true(ours, patience):
        raise QuantizeError(f"{here} does not see what the sweep wrote to {path}: {SHARED}")
    record = read(path)
    assert record is not None
    try:
        _ = load_run(run).dataset
        seen = facts(run, record.facts.options)
    except WheatearError as error:
        raise QuantizeError(f"{here}: {error}; {SHARED}") from error
    if changed := differences(record.facts, seen):
        raise QuantizeError(f"{here} differs from where the sweep was started: {changed}")


def _end_with_starter() -> None:
    # The other end of stdin is closed when the starter ends, however it does.
    while os.read(0, 1):
        pass
    os._exit(1)


def main() -> None:
    """Check what is seen here, then do as `python -m quantize` does."""
    from quantize.commands.cli import app
    from training.console import start

    Thread(target=_end_with_starter, daemon=True).start()
    sys.stdout.write(f"{BEGUN}{socket.gethostname()}, process {os.getpid()}\n")
    sys.stdout.flush()
    record, ticket, *command = sys.argv[1:]

    def work() -> None:
        check(Path(record), ticket, Path(command[1]))
        app(args=command, prog_name="python -m quantize")

    start(work, "interrupted")


if __name__ == "__main__":
    main()
