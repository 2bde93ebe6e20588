"""A command that takes `quantize.options.Options`, from the command line."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any

import typer

from quantize.options import Options, command_line


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option to the command for each field; together they are its parameter `options`."""
    asked = command_line()

    @wraps(command)
    def run(**given: Any) -> None:  # noqa: ANN401 - what Typer read
        options = Options(**{name: given.pop(name) for name in asked})
        command(options=options, **given)

    usual = Options()
    fields = [
        Parameter(
            name,
            Parameter.KEYWORD_ONLY,
            default=getattr(usual, name),
            annotation=Annotated[option.kind, typer.Option(option.flag, help=option.about.help)],
        )
        for name, option in asked.items()
    ]
    parameters = []
    for parameter in signature(command, eval_str=True).parameters.values():
        one = parameter.replace(kind=Parameter.KEYWORD_ONLY)
        parameters += fields if parameter.name == "options" else [one]
    run.__signature__ = signature(command).replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run
