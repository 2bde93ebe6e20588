"""``python -m training ...``: look at photos, divide them, train, evaluate.

Only this module prints and exits. Everything heavy is imported inside the command that needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.console import new_app, start

app = new_app("python -m training")

Data = Annotated[Path, typer.Argument(help="Folder of photos (a folder per class), or a CSV.")]
Seed = Annotated[int, typer.Option(help="Same seed, same result.", min=0, max=2**32 - 1)]
IgnoreCsv = Annotated[bool, typer.Option(help="Look at the folders only.")]
Accept = Annotated[
    list[str] | None,
    typer.Option(help="Go on despite labels-differ, group-leak, duplicate-leak, damaged."),
]


@app.callback()
def _commands() -> None:
    """From labelled photos to a float model and an honest report."""


@app.command()
def check(
    data: Data,
    split_csv: Annotated[
        Path | None, typer.Option(help="Labels, splits and groups, where not beside the photos.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for check.json and check.html. [./check-NAME]")
    ] = None,
    ignore_csv: IgnoreCsv = False,
    min_side: Annotated[
        int, typer.Option(help="Report photos with a side below this, in pixels.", min=0)
    ] = 96,
    seed: Annotated[int, typer.Option(help="Seed that fit will get.", min=0, max=2**32 - 1)] = 0,
    accept: Accept = None,
    show_leakage: Annotated[
        bool, typer.Option(help="Measure how much a random split would flatter the figures.")
    ] = False,
    weights: Annotated[
        Path | None, typer.Option(help="Start weights for that; default: plain descriptors.")
    ] = None,
) -> None:
    """Report what is wrong with labelled photos. Exits 1 on errors, 0 on warnings or none."""
    from training.commands.data import check as run

    found = run(
        data, split_csv, out, ignore_csv, min_side, seed, accept or (), show_leakage, weights
    )
    if found:
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
def fit(
    data: Data,
    out: Annotated[Path, typer.Option(help="Run folder; an unfinished one is continued.")],
    recipe: Annotated[str, typer.Option(help="A name in training/recipes.")] = "finetune",
    weights: Annotated[
        str | None, typer.Option(help="Start weights: a file, imagenet (downloads), or none.")
    ] = None,
    split_csv: Annotated[
        Path | None, typer.Option(help="Labels, splits and groups, where not beside the photos.")
    ] = None,
    seed: Seed = 0,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs in place of the recipe's; 0: train the head alone.")
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE changes, such as augment.hue=0.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for decoded photos, to share between runs.")
    ] = None,
    ignore_csv: IgnoreCsv = False,
    accept: Accept = None,
) -> None:
    """Train a float model by a recipe. Refuses what `check` calls an error."""
    from training.commands.fit import fit as run

    changes = list(change or [])
    changes += [f"weights={weights}"] if weights is not None else []
    changes += [f"epochs={epochs}"] if epochs is not None else []
    run(data, out, recipe, changes, split_csv, ignore_csv, seed, accept or (), cache)


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
    """Measure a run as the device would see it; writes evaluation.json and report.html."""
    from training.commands.fit import evaluate as judge

    judge(run, split, unknown)


Prefix = Annotated[str, typer.Option(help="What Label Studio puts before a picture's path.")]


@app.command()
def inbox(
    broker: Annotated[str, typer.Argument(help="host, host:port, or mqtts://host:port for TLS.")],
    out: Annotated[
        Path, typer.Argument(help="Folder for pictures; they are added to an existing one.")
    ],
    once: Annotated[bool, typer.Option(help="End when nothing has come for two seconds.")] = False,
    seconds: Annotated[float | None, typer.Option(help="End after so many seconds.")] = None,
    username: Annotated[str | None, typer.Option(help="User name at the broker.")] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="File whose first line is the password.")
    ] = None,
    password_env: Annotated[
        str | None, typer.Option(help="Environment variable that holds the password.")
    ] = None,
    ca: Annotated[Path | None, typer.Option(help="Certificate authority (PEM) to trust.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="Client certificate (PEM).")] = None,
    key: Annotated[Path | None, typer.Option(help="Key of the client certificate.")] = None,
    base_topic: Annotated[str, typer.Option(help="broker.base_topic of the cameras.")] = "wheatear",
    image_prefix: Prefix = "/data/local-files/?d=",
) -> None:
    """Collect what cameras were unsure of, to be labelled; without --once until Ctrl-C."""
    from training.commands.inbox import inbox as run

    settings = {"username": username, "password_file": password_file, "password_env": password_env}
    settings = {name: str(value) for name, value in settings.items() if value is not None}
    given = {"ca": ca, "certificate": certificate, "key": key}
    tls = {name: path for name, path in given.items() if path is not None}
    settings["base_topic"] = base_topic
    run(broker, out, settings, tls, seconds, once, image_prefix)


@app.command()
def inbox_labels(
    out: Annotated[Path, typer.Argument(help="Folder that `inbox` filled.")],
    export: Annotated[Path, typer.Argument(help="Label Studio's export, JSON or JSON-MIN.")],
    image_prefix: Prefix = "/data/local-files/?d=",
) -> None:
    """Take labels from Label Studio into OUT/labels.csv."""
    from training.commands.inbox import inbox_labels as run

    run(out, export, image_prefix)


def main() -> None:
    """Run the command line."""
    start(app, "interrupted")


if __name__ == "__main__":
    main()
