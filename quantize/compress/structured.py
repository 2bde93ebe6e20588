"""The phase that makes the network itself smaller: fewer channels, a smaller input."""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np

from edge.errors import QuantizeError
from quantize.compress.channels import shrink
from quantize.compress.cost_search import CostSearch, measured, whole_int8
from quantize.compress.resolution import at_resolution, resolutions
from quantize.int8.phase import missed
from quantize.keras.finetune import Schedule
from quantize.options import NARROW_EPOCHS, NARROW_STEPS
from quantize.tflite.memory import deflated
from quantize.workbench import Format, Workbench, json_format, load_model, save, save_model

#: Photos that mean shifts are taken back on.
CORRECTION_PHOTOS = 64
#: Trainings of the final network, with other draws, whose weights are averaged.
MEMBERS = 3
#: Candidates with fewer channels have an input larger by so many of the possible steps.
LARGER = (1, 2)
#: Steps in which a candidate of the search is taught, in so many rounds: enough to rank them.
TRIAL_STEPS, TRIAL_ROUNDS = 120, 2


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One way to keep the budget."""

    resolution: int
    """Side of the input, pixels."""
    share: float
    """Of the predicted cost of the whole network at this resolution, 0..1."""
    distance: float | None = None
    """How far its logits are from the run's on validation photos after a short training, as a share
    of their variance; None: nothing to choose between."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is taken, and what was tried."""

    taken: Candidate
    tried: tuple[Candidate, ...] = ()


def smaller(bench: Workbench) -> shrink.Narrowed:
    """The run's model within its budget, healed; made or from before.

    Raises:
        QuantizeError: the budget cannot be met, or training diverged.
    """
    options = bench.options

    def make() -> shrink.Narrowed:
        taken, rate = plan(bench).taken, options.pruning_learning_rate
        whole = bench.schedule(options.pruning_epochs, NARROW_EPOCHS, NARROW_STEPS, rate)
        cut = f"{taken.share:.0%} of the cost stays" if taken.share < 1 else "all channels stay"
        name = f"making the network smaller: {taken.resolution} pixels, {cut}"
        bench.watcher.phase(name, whole.steps)
        return _made(bench, taken, whole, stream=4, rounds=shrink.ROUNDS, members=MEMBERS)

    facts = (*_asked(bench), options.pruning_epochs, options.pruning_learning_rate, options.batch)
    return bench.kept("narrow", facts, NARROWED, make, "smaller network taken from")


def _read_narrowed(path: Path) -> shrink.Narrowed:
    features = msgspec.json.decode(path.with_suffix(".json").read_bytes())
    return shrink.Narrowed(load_model(path), np.array(features, np.int64))


def _write_narrowed(path: Path, made: shrink.Narrowed) -> shrink.Narrowed:
    save(path.with_suffix(".json"), msgspec.json.encode(made.features.tolist()))
    return shrink.Narrowed(save_model(path, made.model), made.features)


NARROWED = Format(".keras", _read_narrowed, _write_narrowed)


def plan(bench: Workbench) -> Plan:
    """What to make for the budget; what was found is kept for the next call.

    Raises:
        QuantizeError: the budget cannot be met.
    """
    options = bench.options
    if not options.budget:
        side = options.resolution or bench.run.info.input.width
        return Plan(taken=Candidate(resolution=side, share=1.0))

    def make() -> Plan:
        bench.prepare()
        return _chosen(bench, _candidates(bench))

    told = f"what keeps {options.budget} is known from"
    found = bench.kept("plan", _asked(bench), json_format(Plan), make, told)
    bench.watcher.say(
        f"{options.budget}: an input of {found.taken.resolution} pixels and "
        f"{found.taken.share:.1%} of that network's predicted cost"
    )
    return found


def account(bench: Workbench, int8: bytes) -> str:
    """What the finished int8 model costs beside the run's own as int8, measured now."""
    whole = whole_int8(bench)
    ours, theirs = bench.timer.milliseconds([int8, whole])
    share = median(a / b for a, b in zip(ours, theirs, strict=True))
    asked = bench.options.budget and f"budget {bench.options.budget}: "
    return (
        f"{asked}{median(ours):.2f} ms a picture where the run's own "
        f"int8 model takes {median(theirs):.2f} ms ({share:.2f} of it; "
        f"one thread, {bench.timer.where}), "
        f"{deflated(int8):,} of {deflated(whole):,} bytes zipped"
    )


def _asked(bench: Workbench) -> tuple[Any, ...]:
    return bench.timed((bench.options.budget, bench.options.resolution))


def _candidates(bench: Workbench) -> list[Candidate]:
    """Networks that keep the budget: the largest that keeps it whole, and larger ones cut to it."""
    search = CostSearch(bench)
    asked = bench.options.resolution
    sides = [asked] if asked else resolutions(bench.run.info.input.width)
    if not search.resolution_counts:
        sides = sides[:1]
    # Cost falls with the side, so the first that keeps the budget whole is found by halving.
    first = bisect_left(sides, True, key=search.keeps)
    found = [Candidate(resolution=side, share=1.0) for side in sides[first : first + 1]]
    for side in [sides[first - step] for step in LARGER if step <= first]:
        try:
            found.append(Candidate(resolution=side, share=search.share(side)))
        except QuantizeError as error:
            bench.watcher.say(f"{side} pixels: {error}")
            refused = error
    if not found:
        raise refused
    return found


def _chosen(bench: Workbench, candidates: list[Candidate]) -> Plan:
    """Teach every candidate for a while; take the one whose answers are closest to the run's."""
    if len(candidates) == 1:
        return Plan(taken=candidates[0])
    bar = bench.watcher
    schedule = Schedule(
        epochs=1,
        steps_per_epoch=TRIAL_STEPS,
        learning_rate=bench.options.pruning_learning_rate,
    )
    bar.phase(f"trying {len(candidates)} resolutions", TRIAL_STEPS * len(candidates))
    tried = []
    for candidate in candidates:
        model = _made(bench, candidate, schedule, stream=5, rounds=TRIAL_ROUNDS, members=1).model
        distance = missed(bench, bench.float_keras, model)
        tried.append(msgspec.structs.replace(candidate, distance=distance))
        bar.say(
            f"tried {candidate.resolution} pixels with {candidate.share:.1%} of the predicted "
            f"cost: {distance:.3f} of the variance of the logits is missed after a short training"
        )
    taken = min(tried, key=lambda c: c.distance or 0.0)
    return Plan(taken=taken, tried=tuple(tried))


def _made(
    bench: Workbench,
    candidate: Candidate,
    schedule: Schedule,
    stream: int,
    rounds: int,
    members: int,
) -> shrink.Narrowed:
    """The network of a candidate, taught by the run's model for a schedule's steps in all."""
    model, side = bench.float_keras, candidate.resolution
    copy = at_resolution(bench.run, model, side)
    schedules = _rounds(schedule, rounds if candidate.share < 1 else 1, members)
    batches = bench.batches(schedule, stream=stream, side=bench.run.info.input.width)
    return shrink.narrow(
        model,
        copy,
        candidate.share,
        CostSearch(bench).price_of,
        measured(bench, shrink.MEASURED * rounds, side),
        (
            bench.train_photos(CORRECTION_PHOTOS, model),
            bench.train_photos(CORRECTION_PHOTOS, copy),
        ),
        shrink.healer(model, batches, schedules, members, bench.progress),
        rounds=rounds,
    )


def _rounds(whole: Schedule, rounds: int, members: int) -> list[Schedule]:
    """Divide the steps: as many after all cuts but the last together as for each final training."""
    short = whole.steps // ((members + 1) * (rounds - 1)) if rounds > 1 else 0
    last = (whole.steps - (rounds - 1) * short) // members
    return [
        msgspec.structs.replace(whole, epochs=1, steps_per_epoch=steps)
        for steps in [short] * (rounds - 1) + [last]
    ]
