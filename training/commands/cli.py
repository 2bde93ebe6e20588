"""``python -m training ...``: look at photos, divide them, train, evaluate.

Only this module prints and exits. Everything heavy is imported inside the command that needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.commands.asked import (
    CheckOptions,
    Data,
    FitOptions,
    IgnoreCsv,
    Login,
    PhotoOptions,
    Seed,
)
from training.console import new_app, start, with_options

app = new_app("python -m training")


@app.callback()
def _commands() -> None:
    """From labelled photos to a float model and an honest report."""


@app.command()
@with_options
def check(photos: PhotoOptions, asked: CheckOptions) -> None:
    """Report what is wrong with labelled photos. Exits 1 on errors, 0 on warnings or none."""
    from training.commands.data import check as run

    if run(photos, asked):
        raise typer.Exit(1)


@app.command()
def split(
    data: Data,
    out: Annotated[Path, typer.Option(help="CSV to write: file,label,split,group.")],
    fractions: Annotated[
        tuple[float, float, float], typer.Option(help="Parts for train, validation, test.")
    ] = (0.6, 0.2, 0.2),
    seed: Seed = 0,
    ignore_csv: IgnoreCsv = False,
    anew: Annotated[bool, typer.Option(help="Ignore the splits that are given.")] = False,
) -> None:
    """Divide photos into train, val and test; related photos stay together."""
    from training.commands.data import split as run

    run(data, out, fractions, seed, ignore_csv, anew)


@app.command()
def synth(
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    per_class: Annotated[int, typer.Option(help="Photos per class.")] = 150,
    seed: Seed = 0,
    size: Annotated[tuple[int, int], typer.Option(help="Width and height, pixels.")] = (320, 240),
    unknown: Annotated[
        int, typer.Option(help="Photos of pests outside the classes, in OUT/unknown.")
    ] = 0,
) -> None:
    """Paint field scenes with labels, for trying things out without any photos."""
    from training.commands.data import synth as run

    run(out, per_class, seed, size, unknown)


@app.command()
@with_options
def fit(
    photos: PhotoOptions,
    asked: FitOptions,
    final: Annotated[
        Path | None,
        typer.Option(help="Folder of a crossval of this recipe: train on validation photos too."),
    ] = None,
) -> None:
    """Train a float model by a recipe. Refuses what `check` calls an error."""
    from training.commands.fit import fit as run

    run(photos, asked, final)


@app.command()
@with_options
def crossval(
    photos: PhotoOptions,
    asked: FitOptions,
    folds: Annotated[int, typer.Option(help="Parts; each is judged once.", min=3)] = 5,
) -> None:
    """Train and judge once for each fold: the surest figure for few photos. Resumable."""
    from training.commands.crossval import crossval as run

    run(photos, asked, folds)


@app.command()
def join(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders of finished `fit`s on the same photos.")
    ],
    out: Annotated[Path, typer.Option(help="Run folder to make.")],
) -> None:
    """Make one model of several: right more often, and as slow as all of them together."""
    from training.commands.fit import join as run

    run(runs, out)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder of a finished `fit`.")],
    split: Annotated[
        str | None,
        typer.Option(help="Which photos judge: test or val. [test, where there are any]"),
    ] = None,
    unknown: Annotated[
        Path | None, typer.Option(help="Folder of photos of none of the classes.")
    ] = None,
) -> None:
    """Judge a run on photos as the device sees them; writes evaluation.json and report.html."""
    from training.commands.fit import evaluate as judge

    judge(run, split, unknown)


Prefix = Annotated[str, typer.Option(help="What Label Studio puts before a picture's path.")]


@app.command()
@with_options
def inbox(
    broker: Annotated[str, typer.Argument(help="host, host:port, or mqtts://host:port for TLS.")],
    out: Annotated[
        Path, typer.Argument(help="Folder for pictures; they are added to an existing one.")
    ],
    login: Login,
    once: Annotated[bool, typer.Option(help="End when nothing has come for two seconds.")] = False,
    seconds: Annotated[float | None, typer.Option(help="End after so many seconds.")] = None,
    image_prefix: Prefix = "/data/local-files/?d=",
) -> None:
    """Collect what cameras were unsure of, to be labelled; without --once until Ctrl-C."""
    from training.commands.inbox import inbox as run

    run(broker, out, login, seconds, once, image_prefix)


@app.command()
def inbox_labels(
    out: Annotated[Path, typer.Argument(help="Folder that `inbox` filled.")],
    export: Annotated[Path, typer.Argument(help="Label Studio's export, JSON or JSON-MIN.")],
    image_prefix: Prefix = "/data/local-files/?d=",
) -> None:
    """Take labels from Label Studio into OUT/labels.csv."""
    from training.commands.inbox import inbox_labels as run

    run(out, export, image_prefix)


@app.command()
def recipes() -> None:
    """List the recipes, and what the network of each costs on named boards."""
    from training.commands.recipes import recipes as run

    run()


@app.command()
def starts() -> None:
    """List start weights that have a name: of which network, from where, by which licence."""
    from training.commands.weights import starts as run

    run()


@app.command()
def weights(
    model: Annotated[Path, typer.Argument(help="MobileNetV2 or EfficientNet-Lite, FILE.tflite.")],
    out: Annotated[Path, typer.Option(help="Start weights to write, NAME.weights.h5.")],
) -> None:
    """Make start weights of a TFLite classifier (float, uint8 or int8)."""
    from training.commands.weights import convert

    convert(model, out)


def main() -> None:
    """Run the command line."""
    start(app, "interrupted")


if __name__ == "__main__":
    main()
