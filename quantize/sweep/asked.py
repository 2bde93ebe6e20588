"""What ``python -m quantize sweep`` is asked for, beside the runs and the folder."""

from __future__ import annotations

from typing import Annotated

import msgspec

from quantize.options import About


class SweepOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is tried; the options of `run` are those of every trial."""

    variants: Annotated[
        str, About("Names with commas between; default: all. See docs/quantize.md.")
    ] = ""
    on: Annotated[str, About("Machine to time on over SSH, as of run.")] = ""
    on_command: Annotated[str, About("As of run.")] = ""
    epochs: Annotated[int | None, About("As of run, for every trial.")] = None
    pruning_epochs: Annotated[int | None, About("As of run, for every trial.")] = None


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where trials run."""

    engine: Annotated[
        str, About("Where trials run: processes (here) or ray (here or on a cluster).")
    ] = "processes"
    jobs: Annotated[int | None, About("Processes at once; default: 1.")] = None
    ray_address: Annotated[
        str, About("Ray cluster: auto or HOST:PORT; default: a Ray of this machine.")
    ] = ""
    cpus_per_trial: Annotated[int | None, About("That Ray sets aside; default: 2.")] = None
