"""``python -m quantize ...``: float run -> checked int8 bundle; look inside one; make keys.

Only this module prints and exits. Everything heavy is imported inside the command that needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quantize.options import Options
from quantize.sweep.asked import EngineOptions, SweepOptions
from training.console import new_app, start, with_options

app = new_app("python -m quantize")


@app.callback()
def _commands() -> None:
    """From a float run to an int8 bundle that proves itself."""


@app.command()
@with_options
def run(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Finished training run.")],
    out: Annotated[Path, typer.Option(help="Bundle to write: NAME-VERSION.wtr.")],
    options: Options,
    key: Annotated[Path | None, typer.Option(help="Private key (PEM) to sign with.")] = None,
    name: Annotated[str, typer.Option(help="Name in the bundle; default: from --out.")] = "",
    version: Annotated[str, typer.Option(help="Version in the bundle; default: from --out.")] = "",
    unknown: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of pictures of none of the classes, to judge by; repeatable."),
    ] = None,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(help="Finished run on the same photos that teaches the smaller network too."),
    ] = None,
) -> None:
    """Prune, cluster, quantize, compare with the float model; pack it unless it is worse."""
    from quantize.commands.run import quantize_run

    quantize_run(folder, out, options, key, name, version, unknown or (), teacher or ())


@app.command()
@with_options
def sweep(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Finished runs; of several seeds the table has mean and range."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for trials and report.")],
    asked: SweepOptions,
    engine: EngineOptions,
) -> None:
    """Try many ways to make a model smaller; say in a table, plots and words what each bought."""
    from quantize.commands.sweep import quantize_sweep
    from quantize.sweep.engines import choose

    quantize_sweep(runs, out, asked, choose(engine))


@app.command()
def inspect(
    bundle: Annotated[Path, typer.Argument(help="Bundle to look into: NAME.wtr.")],
    key: Annotated[
        Path | None, typer.Option(help="Public key that must have signed the bundle.")
    ] = None,
) -> None:
    """Show what is in a bundle: labels, input, figures, operators, zeros, signature."""
    from quantize.commands.inspect import show

    show(bundle, key)


@app.command()
def estimate(
    bundle: Annotated[Path, typer.Argument(help="Bundle to look into: NAME.wtr.")],
    measured: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BOARD=BENCH.json",
            help="Result of `wheatear bench --json` on a board; replaces its estimate.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Estimate the time a picture takes, and the memory, on Raspberry Pis and a Coral."""
    from quantize.boards.show import show

    show(bundle, measured or (), json)


@app.command()
def edgetpu(
    bundle: Annotated[Path, typer.Argument(help="Bundle to check and add to: NAME.wtr.")],
    out: Annotated[
        Path | None, typer.Option(help="Bundle to write; default: the same file.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Private key (PEM) to sign with.")] = None,
) -> None:
    """List what would run on the Edge TPU, compile it with edgetpu_compiler, add it to a bundle."""
    from quantize.commands.edgetpu import quantize_edgetpu

    quantize_edgetpu(bundle, out or bundle, key)


@app.command()
def keygen(
    out: Annotated[Path, typer.Option(help="Folder for the two files.")] = Path(),
    name: Annotated[str, typer.Option(help="Their name, without an ending.")] = "wheatear",
) -> None:
    """Make an Ed25519 key pair to sign bundles with; nothing is ever overwritten."""
    from edge.model.bundle.signing import generate

    out.mkdir(parents=True, exist_ok=True)
    private, public = out / f"{name}.pem", out / f"{name}.pub.pem"
    made = generate(private, public)
    typer.echo(f"private key: {private}  (keep it off the cameras and out of version control)")
    typer.echo(f"public key:  {public}  (goes onto the cameras)")
    typer.echo(f"fingerprint: {made.fingerprint}")


def main() -> None:
    """Run the command line."""
    start(app, "interrupted; repeat the command to go on after what it finished")


if __name__ == "__main__":
    main()
