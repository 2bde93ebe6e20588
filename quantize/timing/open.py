"""Which timer: this machine's, or that of a board over SSH."""

from __future__ import annotations

from collections.abc import Callable

from edge.errors import QuantizeError
from quantize.timing.ssh import COMMAND, Remote
from quantize.timing.timer import Local, Timer, ignore


def open_timer(on: str, command: str, say: Callable[[str], None] = ignore) -> Timer:
    """This machine, or the one that `--on` names; connected, so that it is known to answer.

    Args:
        on: [user@]host[:port]; empty: this machine.
        command: what starts `wheatear` there; empty: as it is installed by the README.
        say: told what makes times doubtful, and of lost connections.

    Raises:
        QuantizeError: no such host, or it cannot be used; the message has the cure.
    """
    if on:
        return Remote(on, command or COMMAND, say)
    if command:
        raise QuantizeError(f"--on-command {command}: say on which machine, with --on")
    return Local(say)
