"""``python -m training ...``: look at photos, divide them, train, evaluate.

Only this module prints and exits. Everything heavy is imported inside the command that needs it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from edge.errors import WheatearError

app = typer.Typer(
    name="python -m training",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Data = Annotated[Path, typer.Argument(help="Folder of photos (a folder per class), or a CSV.")]
Seed = Annotated[int, typer.Option(help="Same seed, same result.")]


@app.callback()
def _commands() -> None:
    """From labelled photos to a float model and an honest report."""


@app.command()
def split(
    data: Data,
    out: Annotated[Path, typer.Option(help="CSV to write: file,label,split,group.")],
    fractions: Annotated[
        tuple[float, float, float], typer.Option(help="Parts for train, validation, test.")
    ] = (0.6, 0.2, 0.2),
    seed: Seed = 0,
) -> None:
    """Divide photos into train, val and test; related photos stay together."""
    from training.data.commands import split as run

    run(data, out, fractions, seed)


def main() -> None:
    """Run the command line; exits 2 with one line on stderr when something cannot be done."""
    try:
        app()
    except WheatearError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
