"""What ``python -m quantize sweep`` is asked for, beside the runs and the folder."""

from __future__ import annotations

from typing import Annotated

import msgspec

from quantize.options import About


class SweepOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is tried, and with what."""

    variants: Annotated[
        str,
        About("Names with commas between; default: all, with --budget qat. See docs/quantize.md."),
    ] = ""
    budget: Annotated[
        str, About("Have every run keep it, as in `run`, and say which does it best.")
    ] = ""
    on: Annotated[str, About("Machine to time on over SSH, as in `run`.")] = ""
    on_command: Annotated[str, About("What starts `wheatear` there, as in `run`.")] = ""
    epochs: Annotated[
        int | None, About("Epochs of quantization-aware training, in every trial.")
    ] = None
    pruning_epochs: Annotated[
        int | None, About("Epochs after pruning and the like, in every trial.")
    ] = None


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where trials run."""

    engine: Annotated[
        str, About("Where trials run: processes (here) or ray (here or on a cluster).")
    ] = "processes"
    jobs: Annotated[int | None, About("Trials at once, with processes; default: 1.")] = None
    ray_address: Annotated[
        str, About("Ray cluster: auto or HOST:PORT; default: a Ray of this machine.")
    ] = ""
    cpus_per_trial: Annotated[
        int | None, About("CPUs that Ray sets aside for a trial; default: 2.")
    ] = None
