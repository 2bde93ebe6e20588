"""What both desktop command lines share: how they take options, start, fail and show progress."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any, Literal, Self, get_args, get_origin, get_type_hints

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn
from typer.models import ParameterInfo

from edge.errors import WheatearError

#: Exit code after Ctrl-C, as shells have it: 128 and the signal's number.
INTERRUPTED = 130
#: Seconds that a bar's rate and time left are taken from: a step may take half a minute.
SPEED_PERIOD = 300.0


def new_app(name: str) -> typer.Typer:
    """Make a command line that is started as `name`."""
    return typer.Typer(
        name=name,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take structs: it has an option or argument for each of their fields.

    A field is ``Annotated`` with what Typer is to know, or with something that has a `help`.
    """
    hints = get_type_hints(command)
    structs = {
        name: kind
        for name, kind in hints.items()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    }

    @wraps(command)
    def run(**given: Any) -> None:  # noqa: ANN401 - what Typer read
        for name, kind in structs.items():
            given[name] = kind(**{field: given.pop(field) for field in kind.__struct_fields__})
        command(**given)

    parameters: list[Parameter] = []
    for parameter in signature(command, eval_str=True).parameters.values():
        if parameter.name in structs:
            parameters += _fields(structs[parameter.name])
        else:
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))
    run.__signature__ = signature(command).replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _fields(struct: type[msgspec.Struct]) -> list[Parameter]:
    """What Typer is to read for each field of a struct."""
    hints, found = get_type_hints(struct, include_extras=True), []
    for field in msgspec.structs.fields(struct):
        kind, about = get_args(hints[field.name])
        if get_origin(kind) is Literal:  # the struct itself says what it takes
            kind = str
        if not isinstance(about, ParameterInfo):
            about = typer.Option(help=about.help)
        found.append(
            Parameter(
                field.name,
                Parameter.KEYWORD_ONLY,
                default=Parameter.empty if field.required else field.default,
                annotation=Annotated[kind, about],
            )
        )
    return found


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
            speed_estimate_period=SPEED_PERIOD,
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
