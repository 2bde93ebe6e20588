"""From a float model to a smaller one within a budget: cut a little, heal a little, and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantize.compress.channels.cost import Price
from quantize.compress.channels.importance import importance
from quantize.compress.channels.select import narrowest, select
from quantize.int8.bias_correction import correct
from quantize.keras.channels import Channels, Indices, cut, find_channels
from quantize.keras.finetune import Distillation, Others, Progress, Schedule, steady
from training.untyped import Model

Batches = Iterator[tuple[Any, Any]]
PriceOf = Callable[[Any, Channels], Price]

#: The network is cut in so many rounds; what matters is measured anew in each.
ROUNDS = 6
#: What a group keeps at least of its width, in one round and in all. Scores tell what one channel
#: matters while the others are there: a thousand that matter little alone matter together.
KEPT_A_ROUND, KEPT = 0.7, 0.25
#: Batches that importance is measured on in each round.
MEASURED = 40


class Narrowed(NamedTuple):
    """A narrower model."""

    model: Any
    features: Indices
    """Which of the first model's pooled features it still has."""


def _at_once(_model: Model, _first: int, _steps: int, teach: Callable[[], None]) -> None:
    teach()


class Retraining(NamedTuple):
    """What a student is taught with."""

    batches: Callable[[int], Batches]
    """Gives the batches from a step on."""
    keep: Callable[[Any, int, int, Callable[[], None]], None] = _at_once
    """Called with the student, a part's first step, its steps, and what teaches the part in place;
    may put in weights that an earlier call left instead."""


def narrow(
    model: Model,
    copy: Model,
    share: float,
    price_of: PriceOf,
    batches: Batches,
    photos: tuple[NDArray[np.float32], NDArray[np.float32]],
    heal: Callable[[Narrowed, int], None] = lambda _, __: None,
    rounds: int = ROUNDS,
) -> Narrowed:
    """Take channels out of a copy of the model until `share` of its cost is left.

    What the channels taken out gave on average is added to the layers that read them, by way of
    their batch norms (`quantize.int8.bias_correction`).

    Args:
        model: float Keras model, flat; not changed.
        copy: the same network with the same weights, maybe for a smaller input; is changed.
        share: of its cost, to be kept; 1 keeps all channels.
        price_of: gives the cost as a function of widths, for a model and its channels.
        batches: augmented photos as the copy takes them and labels, to measure importance on;
            `MEASURED` in each round.
        photos: training photos as `model` and as the copy takes them; float32 (n, h, w, 3) in
            -1..1.
        heal: called with the model after each round and its number, to fine-tune it in place; once
            where nothing is cut.
        rounds: how many steps to take.

    Raises:
        QuantizeError: channels cannot be followed, or the budget cannot be met.
    """
    channels = find_channels(model)
    widths = [group.width for group in channels.groups]
    correct(copy, model, photos[0], seen=photos[1])
    state = Narrowed(copy, np.arange(channels.groups[_features(channels)].width))
    if share == 1:
        steady(copy)
        heal(state, 0)
        return state
    whole, floor = price_of(copy, channels)(widths), narrowest(widths, KEPT)
    for number in range(rounds):
        channels = find_channels(state.model)
        measured = [next(batches) for _ in range(MEASURED)]
        scores = importance(state.model, channels, measured)
        price, least = price_of(state.model, channels), floor
        wanted = whole * share ** ((number + 1) / rounds)
        if number < rounds - 1:
            now = narrowest([group.width for group in channels.groups], KEPT_A_ROUND)
            least = [max(a, b) for a, b in zip(now, floor, strict=True)]
            wanted = max(wanted, price(least) * (1 + 1e-9))
        state = _cut(state, channels, select(scores, price, wanted, least), photos[1])
        heal(state, number)
    return state


def healer(
    teacher: Model,
    retraining: Retraining,
    schedules: Sequence[Schedule],
    members: int,
    progress: Progress,
    others: Others | None = None,
) -> Callable[[Narrowed, int], None]:
    """Return what `narrow` heals with: distillation from the teacher, a schedule for each round.

    Others count as their answers come with the batches.

    After the last round it is done `members` times from the same weights, with other draws, and
    the mean of their weights is taken ("model soup", Wortsman et al. 2022, arXiv:2203.05482).
    """

    def heal(state: Narrowed, number: int) -> None:
        schedule = schedules[number]
        if not schedule.steps:
            return
        start, found = state.model.get_weights(), []
        school = Distillation(state.model, teacher, state.features, others)
        first = sum(each.steps for each in schedules[:number])

        def teach(first: int) -> None:
            school.run(retraining.batches(first), schedule, progress)

        for member in range(members if number == len(schedules) - 1 else 1):
            state.model.set_weights(start)
            begin = first + member * schedule.steps
            retraining.keep(state.model, begin, schedule.steps, partial(teach, begin))
            found.append(state.model.get_weights())
        state.model.set_weights([np.mean(each, axis=0) for each in zip(*found, strict=True)])

    return heal


def _cut(
    state: Narrowed, channels: Channels, keep: Mapping[int, Indices], photos: NDArray[np.float32]
) -> Narrowed:
    """The model with only the channels to keep; what the others gave on average is added back."""
    smaller = cut(state.model, channels, keep)
    norms = {name: keep[role.reads] for name, role in channels.roles.items() if role.reads in keep}
    correct(smaller, state.model, photos, norms)
    steady(smaller)
    kept = keep.get(_features(channels))
    return Narrowed(smaller, state.features if kept is None else state.features[kept])


def _features(channels: Channels) -> int:
    """The group that the answers are read from."""
    return next(role.reads for role in channels.roles.values() if role.writes < 0)
