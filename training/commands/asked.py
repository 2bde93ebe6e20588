"""What the subcommands are asked for: options that belong together, each written down once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from training.starts.table import with_start

if TYPE_CHECKING:
    from training.data.dataset import Dataset

Data = Annotated[Path, typer.Argument(help="Folder of photos (a folder per class), or a CSV.")]
Seed = Annotated[int, typer.Option(help="Same seed, same result.", min=0, max=2**32 - 1)]
IgnoreCsv = Annotated[bool, typer.Option(help="Look at the folders only.")]


class PhotoOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which photos, and what may be wrong with them."""

    data: Data
    split_csv: Annotated[
        Path | None, typer.Option(help="Labels, splits and groups, where not beside the photos.")
    ] = None
    ignore_csv: IgnoreCsv = False
    accept: Annotated[
        list[str] | None,
        typer.Option(
            help="Errors to take as warnings: labels-differ, group-leak, duplicate-leak, damaged."
        ),
    ] = None

    def load(self) -> Dataset:
        """All of them, absent and unlabelled ones too, for a check to tell of them.

        Raises:
            DataError: nothing usable there.
        """
        from training.data.sources import load_dataset

        how = {"ignore_csv": self.ignore_csv, "missing_ok": True, "unlabelled_ok": True}
        return load_dataset(self.data, self.split_csv, **how)


class CheckOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for, and where the report goes."""

    out: Annotated[
        Path | None, typer.Option(help="Folder for check.json and check.html. [./check-NAME]")
    ] = None
    min_side: Annotated[
        int, typer.Option(help="Report photos with a side below this, in pixels.", min=0)
    ] = 96
    seed: Annotated[int, typer.Option(help="Seed that fit will get.", min=0, max=2**32 - 1)] = 0
    show_leakage: Annotated[
        bool, typer.Option(help="Measure how much a random split would flatter the figures.")
    ] = False
    weights: Annotated[
        str | None,
        typer.Option(help="Start weights for that, as in fit; default: plain descriptors."),
    ] = None


class FitOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a model is trained, and where it goes."""

    out: Annotated[Path, typer.Option(help="Run folder; an unfinished one is continued.")]
    recipe: Annotated[
        str, typer.Option(help="A name in training/recipes, or auto: the photos choose (fit only).")
    ] = "insects"
    weights: Annotated[
        str | None,
        typer.Option(help="Start weights: a file, a name that `starts` lists, or none."),
    ] = None
    seed: Seed = 0
    epochs: Annotated[
        int | None, typer.Option(help="Epochs in place of the recipe's; 0: train the head alone.")
    ] = None
    change: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE changes, such as augment.hue=0.")
    ] = None
    teacher: Annotated[
        list[Path] | None,
        typer.Option(
            help="Finished run (or RUN/probe.keras) on the same photos, whose answers are learned "
            "from beside the labels; several: their mean. Of crossval: the folder of another."
        ),
    ] = None
    cache: Annotated[
        Path | None, typer.Option(help="Folder for decoded photos, to share between runs.")
    ] = None

    @property
    def changes(self) -> list[str]:
        """All that is another than in the recipe, as KEY=VALUE; named weights bring their network.

        Raises:
            TrainingError: another network is asked for than the weights are of.
        """
        own = {"weights": self.weights, "epochs": self.epochs}
        given = [*(self.change or ()), *(f"{k}={v}" for k, v in own.items() if v is not None)]
        return with_start(given)


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """How a broker is entered."""

    username: Annotated[str | None, typer.Option(help="User name at the broker.")] = None
    password_file: Annotated[
        Path | None, typer.Option(help="File whose first line is the password.")
    ] = None
    password_env: Annotated[
        str | None, typer.Option(help="Environment variable that holds the password.")
    ] = None
    ca: Annotated[Path | None, typer.Option(help="Certificate authority (PEM) to trust.")] = None
    certificate: Annotated[Path | None, typer.Option(help="Client certificate (PEM).")] = None
    key: Annotated[Path | None, typer.Option(help="Key of the client certificate.")] = None
    base_topic: Annotated[str, typer.Option(help="broker.base_topic of the cameras.")] = "wheatear"
