"""The phase that makes the network itself smaller: fewer channels, a smaller input."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import msgspec
import numpy as np

from edge.errors import QuantizeError
from quantize.compress.channels import cost, shrink
from quantize.compress.cost_search import CostSearch, measured, whole_int8
from quantize.compress.resolution import at_resolution, resolutions
from quantize.int8.phase import missed
from quantize.keras.channels import find_channels
from quantize.keras.finetune import Schedule
from quantize.options import NARROW_EPOCHS, NARROW_STEPS
from quantize.tflite.memory import deflated
from quantize.workbench import (
    Format,
    Workbench,
    json_format,
    load_model,
    save,
    save_model,
    weights_format,
)
from training.untyped import Model

#: Photos that mean shifts are taken back on.
CORRECTION_PHOTOS = 64
#: Trainings of the final network, with other draws, whose weights are averaged.
MEMBERS = 3
#: Candidates with fewer channels have an input larger by so many of the possible steps.
LARGER = (1, 2)
#: Steps in which a candidate of the search is taught, in so many rounds: enough to rank them.
TRIAL_STEPS, TRIAL_ROUNDS = 120, 2
#: Multiply-adds of a picture up to which a network is taught for all its steps; one with more is
#: taught for fewer in proportion, at least this share, so that a search ends in reasonable time.
FULL_MACS, LEAST_EFFORT = 120e6, 0.3
#: Streams of batches that the network taken and candidates of a search are taught with.
_LAST, _TRIAL = 4, 5


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One way to keep the budget."""

    resolution: int
    """Side of the input, pixels."""
    share: float
    """Of the predicted cost of the whole network at this resolution, 0..1."""
    distance: float | None = None
    """How far its logits are from the run's on validation photos after a short training, as a share
    of their variance; None: nothing to choose between."""
    seconds: float = 0.0
    """That a step of that training took, building the network included; 0: there was none."""

    def __str__(self) -> str:
        """In words."""
        channels = (
            "all channels" if self.share == 1 else f"channels for {self.share:.0%} of its cost"
        )
        return f"{self.resolution} pixels, {channels}"


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
        if taken.share == 1 and taken.resolution == bench.run.info.input.width:
            bench.watcher.say("the run's own network keeps that: it is left as it is")
            width = bench.float_keras.get_layer("features").output.shape[-1]
            return shrink.Narrowed(bench.float_keras, np.arange(width))
        bench.prepare()  # as without a plan from before
        effort = _effort(bench)
        usual = math.ceil(effort * NARROW_EPOCHS), math.ceil(effort * NARROW_STEPS)
        whole = bench.schedule(options.pruning_epochs, *usual, rate)
        if effort < 1 and options.pruning_epochs is None:
            bench.watcher.say(
                f"the network is large: it is taught for {usual[0]} passes over the photos instead "
                f"of {NARROW_EPOCHS}; --pruning-epochs {NARROW_EPOCHS} asks for all of them"
            )
        if taken.seconds:
            left = taken.seconds * whole.steps
            bench.watcher.say(
                f"{whole.steps} steps of {taken.seconds:.2g} s are left, about {_minutes(left)}; "
                "then rounding and comparing"
            )
        bench.ask_teachers(whole, _LAST)
        name = f"making the network smaller: {taken.resolution} pixels"
        bench.watcher.phase(name, whole.steps)
        return _made(
            bench, CostSearch(bench), taken, _Teaching(whole, _LAST, shrink.ROUNDS, MEMBERS)
        )

    facts = (*_asked(bench), *_training(bench))
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
        search = CostSearch(bench)
        return _chosen(bench, search, _candidates(bench, search))

    told = f"what keeps {options.budget} is known from"
    found = bench.kept("plan", _asked(bench), json_format(Plan), make, told)
    bench.watcher.say(f"{options.budget}: {found.taken}")
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


def _training(bench: Workbench) -> tuple[Any, ...]:
    options = bench.options
    taught = bench.teaching_facts()
    return options.pruning_epochs, options.pruning_learning_rate, options.batch, *taught


def _effort(bench: Workbench) -> float:
    """Share of the usual steps that a network of the run's size is taught for.

    By its multiply-adds, so that it is the same on every machine.
    """
    model = bench.float_keras
    channels = find_channels(model)
    widths = [group.width for group in channels.groups]
    return min(1.0, max(LEAST_EFFORT, FULL_MACS / cost.macs(cost.terms(model, channels), widths)))


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _candidates(bench: Workbench, search: CostSearch) -> list[Candidate]:
    """Networks that keep the budget: the largest that keeps it whole, and larger ones cut to it."""
    asked = bench.options.resolution
    sides = [asked] if asked else resolutions(bench.run.info.input.width)
    if not search.resolution_counts:
        sides = sides[:1]
    bar = bench.watcher
    bar.phase("trying inputs with all channels", len(sides).bit_length())

    def keeps(side: int) -> bool:
        kept = search.keeps(side)
        bar.advance(1)
        return kept

    # Cost falls with the side, so the first that keeps the budget whole is found by halving.
    first = bisect_left(sides, True, key=keeps)
    found = [Candidate(resolution=side, share=1.0) for side in sides[first : first + 1]]
    for side in [sides[first - step] for step in LARGER if step <= first]:
        try:
            found.append(Candidate(resolution=side, share=search.share(side)))
        except QuantizeError as error:
            bar.say(f"{side} pixels: {error}")
            refused = error
    if not found:
        raise refused
    return found


def _chosen(bench: Workbench, search: CostSearch, candidates: list[Candidate]) -> Plan:
    """Teach every candidate for a while; take the one whose answers are closest to the run's."""
    if len(candidates) == 1:
        return Plan(taken=candidates[0])
    bar, count, tried = bench.watcher, len(candidates), list[Candidate]()
    schedule = Schedule(
        epochs=1,
        steps_per_epoch=math.ceil(_effort(bench) * TRIAL_STEPS),
        learning_rate=bench.options.pruning_learning_rate,
    )
    bench.ask_teachers(schedule, _TRIAL)
    for number, candidate in enumerate(candidates, 1):
        bar.phase(f"candidate {number} of {count}: {candidate.resolution} pixels", schedule.steps)

        def make(candidate: Candidate = candidate) -> Candidate:
            begin = perf_counter()
            teaching = _Teaching(schedule, _TRIAL, TRIAL_ROUNDS, 1)
            model = _made(bench, search, candidate, teaching).model
            seconds = (perf_counter() - begin) / schedule.steps
            distance = missed(bench, bench.float_keras, model)
            return msgspec.structs.replace(candidate, distance=distance, seconds=seconds)

        facts = (*_asked(bench), *_training(bench), candidate, schedule.steps)
        form, steps = json_format(Candidate), schedule.steps
        tried.append(bench.kept("search/trial", facts, form, make, steps=steps))
        left = (count - number) * schedule.steps * tried[-1].seconds
        bar.say(
            f"candidate {number} of {count}, {candidate}: {tried[-1].distance:.3f} of the variance "
            f"of the logits is missed after {schedule.steps} steps of {tried[-1].seconds:.2g} s"
            + (f"; about {_minutes(left)} for the others" if number < count else "")
        )
    taken = min(tried, key=lambda c: c.distance or 0.0)
    return Plan(taken=taken, tried=tuple(tried))


class _Teaching(NamedTuple):
    """How a candidate is taught."""

    schedule: Schedule
    """Its steps in all."""
    stream: int
    """Of batches."""
    rounds: int
    """In which channels go."""
    members: int
    """Trainings whose weights are averaged. With several, each is kept when it has ended."""


def _made(
    bench: Workbench, search: CostSearch, candidate: Candidate, teaching: _Teaching
) -> shrink.Narrowed:
    """The network of a candidate, taught by the run's model for a schedule's steps in all."""
    model, side = bench.float_keras, candidate.resolution
    copy = at_resolution(bench.run, model, side)
    schedule, _, rounds, members = teaching
    schedules = _rounds(schedule, rounds if candidate.share < 1 else 1, members)
    return shrink.narrow(
        model,
        copy,
        candidate.share,
        search.price_of,
        measured(bench, shrink.MEASURED * rounds, side),
        (
            bench.train_photos(CORRECTION_PHOTOS, model),
            bench.train_photos(CORRECTION_PHOTOS, copy),
        ),
        shrink.healer(
            model,
            _retraining(bench, candidate, teaching),
            schedules,
            members,
            bench.progress,
            bench.others,
        ),
        rounds=rounds,
    )


def _retraining(bench: Workbench, candidate: Candidate, teaching: _Teaching) -> shrink.Retraining:
    """Batches for a candidate; of more than a trial, each part that was taught is kept."""
    schedule, stream, _, members = teaching
    batches = partial(bench.lessons, schedule, stream)
    if members == 1:
        return shrink.Retraining(batches)

    def keep(student: Model, first: int, steps: int, teach: Callable[[], None]) -> None:
        facts = (*_asked(bench), *_training(bench), candidate, schedule.steps, first)
        bench.kept("search/taught", facts, weights_format(student), teach, steps=steps)

    return shrink.Retraining(batches, keep)


def _rounds(whole: Schedule, rounds: int, members: int) -> list[Schedule]:
    """Divide the steps: as many after all cuts but the last together as for each final training."""
    short = whole.steps // ((members + 1) * (rounds - 1)) if rounds > 1 else 0
    last = (whole.steps - (rounds - 1) * short) // members
    return [
        msgspec.structs.replace(whole, epochs=1, steps_per_epoch=steps)
        for steps in [short] * (rounds - 1) + [last]
    ]
