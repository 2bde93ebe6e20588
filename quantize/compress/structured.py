"""The pipeline's phase that makes the network itself smaller: fewer channels, a smaller input."""

from __future__ import annotations

import math
from bisect import bisect_left
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edge.errors import QuantizeError
from quantize.compress.cost_search import Sizing, whole_int8
from quantize.int8.phase import missed
from quantize.keras.finetune import Schedule
from quantize.options import NARROW_EPOCHS, NARROW_STEPS
from quantize.tflite.memory import deflated

if TYPE_CHECKING:
    from quantize.compress.channels.shrink import Narrowed
    from quantize.pipeline import Pipeline

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


def smaller(pipeline: Pipeline) -> Narrowed:
    """The run's model within its budget, healed; made or from before.

    Raises:
        QuantizeError: the budget cannot be met, or training diverged.
    """
    from quantize.compress.channels import shrink
    from quantize.pipeline import save, save_model
    from training.tf import keras

    path = pipeline.result_path("narrow", ".keras", *_facts(pipeline))
    features = path.with_suffix(".json")
    if path.exists():
        pipeline.watcher.say(f"smaller network taken from {path}")
        kept = np.array(msgspec.json.decode(features.read_bytes()), np.int64)
        return shrink.Narrowed(keras.models.load_model(path, compile=False), kept)
    taken = plan(pipeline).taken
    rate = pipeline.options.pruning_learning_rate
    whole = pipeline.schedule(pipeline.options.pruning_epochs, NARROW_EPOCHS, NARROW_STEPS, rate)
    cut = f"{taken.share:.0%} of the cost stays" if taken.share < 1 else "all channels stay"
    name = f"making the network smaller: {taken.resolution} pixels, {cut}"
    pipeline.watcher.phase(name, whole.steps)
    found = _made(pipeline, taken, whole, stream=4, rounds=shrink.ROUNDS, members=MEMBERS)
    save(features, msgspec.json.encode(found.features.tolist()))
    return shrink.Narrowed(save_model(found.model, path), found.features)


def resolution(pipeline: Pipeline) -> int:
    """Side of the input of what is quantized, pixels."""
    options = pipeline.options
    if options.budget and options.resolution is None:
        return plan(pipeline).taken.resolution
    return options.resolution or pipeline.run.info.input.width


def plan(pipeline: Pipeline) -> Plan:
    """What to make for the budget; what was found is kept for the next call.

    Raises:
        QuantizeError: the budget cannot be met.
    """
    options, say = pipeline.options, pipeline.watcher.say
    if not options.budget:
        return Plan(taken=Candidate(resolution=resolution(pipeline), share=1.0))
    path = pipeline.result_path("plan", ".json", *_asked(pipeline))
    if path.exists():
        found = msgspec.json.decode(path.read_bytes(), type=Plan)
        say(f"what keeps {options.budget} is known from {path}")
    else:
        pipeline.prepare()
        found = _chosen(pipeline, _candidates(pipeline))
        path.write_bytes(msgspec.json.encode(found))
    say(
        f"{options.budget}: an input of {found.taken.resolution} pixels and "
        f"{found.taken.share:.1%} of that network's predicted cost"
    )
    return found


def account(pipeline: Pipeline, int8: bytes) -> str:
    """What the finished int8 model costs beside the run's own as int8, measured now."""
    whole = whole_int8(pipeline)
    ours, theirs = pipeline.timer.milliseconds([int8, whole])
    share = median(a / b for a, b in zip(ours, theirs, strict=True))
    asked = pipeline.options.budget and f"budget {pipeline.options.budget}: "
    return (
        f"{asked}{median(ours):.2f} ms a picture where the run's own "
        f"int8 model takes {median(theirs):.2f} ms ({share:.2f} of it; "
        f"one thread, {pipeline.timer.where}), "
        f"{deflated(int8):,} of {deflated(whole):,} bytes zipped"
    )


def _facts(pipeline: Pipeline) -> tuple[Any, ...]:
    o = pipeline.options
    return (*_asked(pipeline), o.pruning_epochs, o.pruning_learning_rate, o.batch)


def _asked(pipeline: Pipeline) -> tuple[Any, ...]:
    o = pipeline.options
    facts = (o.budget, o.resolution)
    # Times hold for one machine.
    return (*facts, pipeline.timer.where) if o.timed else facts


def _candidates(pipeline: Pipeline) -> list[Candidate]:
    """Networks that keep the budget: the largest that keeps it whole, and larger ones cut to it."""
    from quantize.compress.resolution import resolutions

    sizing = Sizing(pipeline)
    asked = pipeline.options.resolution
    sides = [asked] if asked else resolutions(pipeline.run.info.input.width)
    if not sizing.resolution_counts:
        sides = sides[:1]
    # Cost falls with the side, so the first that keeps the budget whole is found by halving.
    first = bisect_left(sides, True, key=sizing.keeps)
    found = [Candidate(resolution=side, share=1.0) for side in sides[first : first + 1]]
    for side in [sides[first - step] for step in LARGER if step <= first]:
        try:
            found.append(Candidate(resolution=side, share=sizing.share(side)))
        except QuantizeError as error:
            pipeline.watcher.say(f"{side} pixels: {error}")
            refused = error
    if not found:
        raise refused
    return found


def _chosen(pipeline: Pipeline, candidates: list[Candidate]) -> Plan:
    """Teach every candidate for a while; take the one whose answers are closest to the run's."""
    if len(candidates) == 1:
        return Plan(taken=candidates[0])
    bar = pipeline.watcher
    schedule = Schedule(
        epochs=1,
        steps_per_epoch=TRIAL_STEPS,
        learning_rate=pipeline.options.pruning_learning_rate,
    )
    bar.phase(f"trying {len(candidates)} resolutions", TRIAL_STEPS * len(candidates))
    tried = []
    for candidate in candidates:
        model = _made(pipeline, candidate, schedule, stream=5, rounds=TRIAL_ROUNDS, members=1).model
        distance = missed(pipeline.run, pipeline.float_keras, model)
        tried.append(msgspec.structs.replace(candidate, distance=distance))
        bar.say(
            f"tried {candidate.resolution} pixels with {candidate.share:.1%} of the predicted "
            f"cost: {distance:.3f} of the variance of the logits is missed after a short training"
        )
    taken = min(tried, key=lambda c: c.distance or 0.0)
    return Plan(taken=taken, tried=tuple(tried))


def _made(
    pipeline: Pipeline,
    candidate: Candidate,
    schedule: Schedule,
    stream: int,
    rounds: int,
    members: int,
) -> Narrowed:
    """The network of a candidate, taught by the run's model for a schedule's steps in all."""
    from quantize.compress.channels import shrink
    from quantize.compress.resolution import at_resolution

    own, model = pipeline.run.info.input, pipeline.float_keras
    seen = msgspec.structs.replace(own, width=candidate.resolution, height=candidate.resolution)
    schedules = _rounds(schedule, rounds if candidate.share < 1 else 1, members)
    return shrink.narrow(
        model,
        at_resolution(pipeline.run, model, candidate.resolution),
        candidate.share,
        Sizing(pipeline).price_of,
        measured(pipeline, shrink.MEASURED * rounds, candidate.resolution),
        (
            pipeline.model_photos(CORRECTION_PHOTOS, own),
            pipeline.model_photos(CORRECTION_PHOTOS, seen),
        ),
        shrink.healer(
            model,
            pipeline.batches(schedule, stream=stream, side=own.width),
            schedules,
            members,
            pipeline.progress,
        ),
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


def measured(pipeline: Pipeline, batches: int, side: int) -> Any:  # noqa: ANN401 - an iterator
    """Batches to measure on what matters."""
    usual = pipeline.schedule(1, 1, 1, pipeline.options.pruning_learning_rate)
    epochs = math.ceil(batches / usual.steps_per_epoch)
    return pipeline.batches(msgspec.structs.replace(usual, epochs=epochs), stream=3, side=side)
