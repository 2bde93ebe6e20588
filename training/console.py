"""What both desktop command lines share: one way to start and fail, one way to show progress."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn

from edge.errors import WheatearError

#: Exit code after Ctrl-C, as shells have it: 128 and the signal's number.
INTERRUPTED = 130


def new_app(name: str) -> typer.Typer:
    """Make a command line that is started as `name`."""
    return typer.Typer(
        name=name,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def start(app: Callable[[], object], interrupted: str) -> None:
    """Run a command line; exits 2 with one message on stderr when something cannot be done.

    `interrupted` is what Ctrl-C is answered with.
    """
    try:
        app()
    except WheatearError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    except OSError as error:
        # A full disk, a folder without permission: nothing that a traceback would explain better.
        place = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"error: {place}{error.strerror or error}\n")
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as ended:
        # Typer makes an exit of Ctrl-C, and says nothing.
        if isinstance(ended, SystemExit) and ended.code != INTERRUPTED:
            raise
        sys.stderr.write(f"{interrupted}\n")
        sys.exit(INTERRUPTED)


class PhaseBars:
    """A bar per phase on a terminal; use it as a context."""

    def __init__(self, console: Console, *columns: ProgressColumn) -> None:
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            *columns,
            console=console,
        )
        self.task: Any = None

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self.bars.console.print(text, highlight=False, soft_wrap=True)
