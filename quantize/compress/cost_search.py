"""What the run's model would cost with a smaller input and fewer channels: predicted, measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from statistics import median
from typing import Any

import msgspec
import numpy as np

from edge.model import timing
from quantize.compress.channels import cost, shrink, speed
from quantize.compress.channels.importance import importance
from quantize.compress.channels.search import cannot_be_met, find_share, tries
from quantize.compress.channels.select import narrowest, select
from quantize.compress.resolution import at_resolution, resolutions
from quantize.int8.convert import to_int8_ptq
from quantize.keras.channels import Channels, cut, find_channels, shaped
from quantize.options import parse_budget
from quantize.tflite.memory import deflated
from quantize.workbench import TFLITE, Workbench, json_format
from training.untyped import Model

#: A budget is kept or not by a hair: two models are timed in turn for so long, milliseconds.
TIMED_FOR = 2000
MOST_ROUNDS = 200


class CostSearch:
    """The run's model at any resolution, cut to any share of its cost at once."""

    def __init__(self, bench: Workbench) -> None:
        # Without a budget nothing is asked of it but prices, and any will do.
        self.budget = parse_budget(bench.options.budget or "macs=0.5")
        self._bench, self._model = bench, bench.float_keras
        self._channels = find_channels(self._model)
        self._widths = [group.width for group in self._channels.groups]
        self._floor = narrowest(self._widths, shrink.KEPT)
        self._sides: dict[int, Model] = {}

    @property
    def resolution_counts(self) -> bool:
        """Whether a smaller input saves any of what the budget limits."""
        return self.budget.kind != "bytes"

    def keeps(self, side: int) -> bool:
        """Whether the network with all of its channels keeps the budget at `side` pixels."""
        if self.budget.kind == "macs":
            return self._macs(side) <= self.budget.most * self._macs(self._model.input_shape[1])
        found = self._measure(side, 1.0)
        allowed = f"{self.budget.kind} {found:.4g}, {self.budget.most:g} allowed"
        self._bench.watcher.say(f"{side} pixels, tried with all channels: {allowed}")
        return found <= self.budget.most

    def share(self, side: int) -> float:
        """The largest share of the network's predicted cost at `side` that keeps the budget.

        Raises:
            QuantizeError: even the narrowest network costs more.
        """
        price, budget = self._price_at(side), self.budget
        whole, least = price(self._widths), price(self._floor)
        if budget.kind == "macs":
            share = budget.most * self._macs(self._model.input_shape[1]) / whole
            if share < least / whole:
                raise cannot_be_met(budget)
            return share
        bar = self._bench.watcher
        bar.phase(f"trying fewer channels at {side} pixels", tries(least / whole))

        def measure(share: float) -> float:
            found = self._measure(side, share)
            bar.advance(1)
            return found

        return find_share(budget, measure, least / whole, bar.say, f"{side} pixels, ")

    def _price_at(self, side: int) -> cost.Price:
        return self.price_of(self._at(side), self._channels)

    def _at(self, side: int) -> Model:
        if side not in self._sides:
            self._sides[side] = at_resolution(self._bench.run, self._model, side)
        return self._sides[side]

    def _macs(self, side: int) -> float:
        return self._price_at(side)(self._widths)

    def price_of(self, model: Model, channels: Channels) -> cost.Price:
        """The predicted cost of a model as a function of its widths."""
        terms = cost.terms(model, channels)
        if self.budget.kind in ("latency", "ms"):
            return partial(self._speed.share, terms)
        return partial(cost.weights if self.budget.kind == "bytes" else cost.macs, terms)

    @cached_property
    def _rounds(self) -> int:
        """Rounds in which the machine times two models, more the faster it is."""
        once = self._bench.timer.milliseconds([whole_int8(self._bench)])[0]
        wanted = TIMED_FOR / (2 * timing.PICTURES * median(once))
        return int(min(MOST_ROUNDS, max(timing.ROUNDS, wanted)))

    @cached_property
    def _scores(self) -> Any:  # noqa: ANN401
        side = self._model.input_shape[1]
        stream = measured(self._bench, shrink.MEASURED, side)
        batches = (next(stream) for _ in range(shrink.MEASURED))
        return importance(self._model, self._channels, batches)

    def _measure(self, side: int, share: float) -> float:
        """Real cost of an int8 model with a share of the predicted one, in the budget's unit.

        What was measured stays, so that a search that was stopped goes on after it.
        """
        facts = self._bench.timed((self.budget.kind, side, share, self._bench.options.batch))
        make = partial(self._measured, side, share)
        return self._bench.kept("search/cost", facts, json_format(float), make)

    def _measured(self, side: int, share: float) -> float:
        if share == 1:
            widths, keep = self._widths, {}
        else:
            price = self._price_at(side)
            whole = price(self._widths)
            # A hair above: the least share itself must not fail for a rounding error.
            keep = select(self._scores, price, share * whole * (1 + 1e-9), self._floor)
            widths = [
                len(keep[number]) if number in keep else width
                for number, width in enumerate(self._widths)
            ]
        if self.budget.kind == "bytes":
            narrower = cut(self._model, self._channels, keep)
            return float(deflated(_untrained(self._bench, narrower)))
        int8 = self._shaped(widths, side)
        if self.budget.kind == "ms":
            return float(median(self._bench.timer.milliseconds([int8], self._rounds)[0]))
        return self._bench.timer.ratio(int8, whole_int8(self._bench), self._rounds)

    def _shaped(self, widths: Sequence[int], side: int) -> bytes:
        """An int8 model of such widths. Time is the shape's alone, so its weights are fresh ones:

        cut far without healing, the old ones give ranges that XNNPACK refuses to run.
        """
        model = shaped(self._at(side), self._channels, dict(enumerate(widths)))
        return _untrained(self._bench, model)

    @cached_property
    def _speed(self) -> speed.Speed:
        """Times of smaller networks on the timed machine, or those fitted before."""
        facts, told = (self._bench.timer.where,), "times of smaller networks taken from"
        return self._bench.kept("speed", facts, json_format(speed.Speed), self._timed, told)

    def _timed(self) -> speed.Speed:
        bar, timer = self._bench.watcher, self._bench.timer
        bar.say(f"timing smaller int8 networks on {timer.where}, one thread")
        bar.phase("timing smaller networks", speed.FITTED + speed.JUDGED)

        def ratio(side: int, widths: Sequence[int]) -> float:
            return timer.ratio(self._shaped(widths, side), whole_int8(self._bench), self._rounds)

        def measure(side: int, widths: Sequence[int]) -> float:
            make = partial(ratio, side, widths)
            facts = (timer.where, side, widths)
            found = self._bench.kept("search/time", facts, json_format(float), make)
            bar.advance(1)
            return found

        costs = {
            side: cost.terms(self._at(side), self._channels)
            for side in resolutions(self._model.input_shape[1])
        }
        fitted = speed.fit(costs, self._widths, measure, self._bench.run.info.seed)
        bar.say(f"times of networks not fitted to are predicted to {fitted.error:.1%}")
        return fitted


def whole_int8(bench: Workbench) -> bytes:
    """The run's own model as int8, to compare with."""
    return bench.kept("whole", (), TFLITE, lambda: _untrained(bench, bench.float_keras))


def measured(bench: Workbench, batches: int, side: int) -> Iterator[tuple[Any, Any]]:
    """Batches to measure on what matters."""
    usual = bench.schedule(1, 1, 1, bench.options.pruning_learning_rate)
    epochs = math.ceil(batches / usual.steps_per_epoch)
    return bench.batches(msgspec.structs.replace(usual, epochs=epochs), stream=3, side=side)


def _untrained(bench: Workbench, model: Model) -> bytes:
    photos = bench.train_photos(4, model)
    return to_int8_ptq(model, (photo[np.newaxis] for photo in photos), "int8")
