"""The pipeline's phase that takes out channels: how many the budget allows, and what it came to."""

from __future__ import annotations

import math
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from quantize.channels.budget import find_share, parse
from quantize.convert import model_scale, to_int8_ptq
from quantize.finetune import Schedule
from quantize.inspect import deflated
from quantize.options import NARROW_EPOCHS, NARROW_STEPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantize.channels.cost import Price
    from quantize.channels.graph import Channels
    from quantize.channels.speed import Speed
    from quantize.pipeline import Pipeline

#: Photos that mean shifts are taken back on.
CORRECTION_PHOTOS = 64


def narrowed(pipeline: Pipeline) -> Any:  # noqa: ANN401 - a Keras model
    """The run's model with the channels that the budget allows, healed; made or from before.

    Raises:
        QuantizeError: the budget cannot be met, or training diverged.
    """
    from quantize.channels import shrink
    from quantize.pipeline import save_model
    from training.tf import keras

    path = pipeline.result_path("narrow", ".keras", *pipeline.source_facts())
    if path.exists():
        pipeline.watcher.say(f"narrowed model taken from {path}")
        return keras.models.load_model(path, compile=False)
    trial = _Trial(pipeline)
    share = _share(pipeline, trial)
    rate = pipeline.options.pruning_learning_rate
    epochs = pipeline.options.pruning_epochs
    whole = pipeline.schedule(epochs, NARROW_EPOCHS, NARROW_STEPS, rate)
    pipeline.watcher.phase(f"taking out channels, {share:.0%} of the cost stays", whole.steps)
    heal = shrink.healer(
        pipeline.float_keras,
        pipeline.batches(whole, stream=4),
        _rounds(whole, shrink.ROUNDS),
        pipeline.progress,
    )
    found = shrink.narrow(
        pipeline.float_keras,
        share,
        trial.price_of,
        _measured(pipeline, shrink.MEASURED * shrink.ROUNDS),
        model_scale(pipeline.train_photos(CORRECTION_PHOTOS)),
        heal,
    )
    return save_model(found.model, path)


def account(pipeline: Pipeline, int8: bytes) -> str:
    """What the finished int8 model costs beside the run's own as int8, measured now."""
    whole = _whole(pipeline)
    ours, theirs = pipeline.timer.milliseconds([int8, whole])
    share = median(a / b for a, b in zip(ours, theirs, strict=True))
    return (
        f"budget {pipeline.options.budget}: {median(ours):.2f} ms a picture where the run's own "
        f"int8 model takes {median(theirs):.2f} ms ({share:.2f} of it; "
        f"one thread, {pipeline.timer.where}), "
        f"{deflated(int8):,} of {deflated(whole):,} bytes zipped"
    )


def _rounds(whole: Schedule, rounds: int) -> list[Schedule]:
    """Divide the steps: a short schedule after each round but the last, which has half of them."""
    short = whole.steps // (2 * (rounds - 1))
    rest = whole.steps - (rounds - 1) * short
    return [
        msgspec.structs.replace(whole, epochs=1, steps_per_epoch=steps)
        for steps in [short] * (rounds - 1) + [rest]
    ]


def _measured(pipeline: Pipeline, batches: int) -> Any:  # noqa: ANN401 - an iterator
    usual = pipeline.schedule(1, 1, 1, pipeline.options.pruning_learning_rate)
    epochs = math.ceil(batches / usual.steps_per_epoch)
    return pipeline.batches(msgspec.structs.replace(usual, epochs=epochs), stream=3)


def _share(pipeline: Pipeline, trial: _Trial) -> float:
    """The share of the predicted cost that the budget allows; what was measured is kept."""
    budget = trial.budget
    if budget.kind == "macs":
        return budget.most
    facts = [pipeline.timer.where] if pipeline.options.timed else []
    path = pipeline.result_path("share", ".json", str(budget), *facts)
    if path.exists():
        found = float(msgspec.json.decode(path.read_bytes()))
        pipeline.watcher.say(f"{budget}: {found:.1%} of the predicted cost, as found in {path}")
        return found
    found = find_share(budget, trial.measure, trial.least, pipeline.watcher.say)
    path.write_bytes(msgspec.json.encode(found))
    return found


class _Trial:
    """What the run's model would cost, cut to any share at once: predicted, and measured."""

    def __init__(self, pipeline: Pipeline) -> None:
        from quantize.channels import cost, shrink
        from quantize.channels.graph import find_channels
        from quantize.channels.importance import importance
        from quantize.channels.select import narrowest

        self.budget = parse(pipeline.options.budget)
        self._pipeline, self._model = pipeline, pipeline.float_keras
        self._channels = find_channels(self._model)
        self._costs = cost.terms(self._model, self._channels)
        self._widths = [group.width for group in self._channels.groups]
        self._speed = self._fitted() if self.budget.kind in ("latency", "ms") else None
        self._price = self.price_of(self._model, self._channels)
        self._whole = self._price(self._widths)
        self._floor = narrowest(self._widths, shrink.KEPT)
        self.least = self._price(self._floor) / self._whole
        stream = _measured(pipeline, shrink.MEASURED)
        batches = (next(stream) for _ in range(shrink.MEASURED))
        self._scores = (
            [] if self.budget.kind == "macs" else importance(self._model, self._channels, batches)
        )

    def price_of(self, model: Any, channels: Channels) -> Price:  # noqa: ANN401 - a Keras model
        """The predicted cost of a model as a function of its widths."""
        from quantize.channels import cost

        terms = cost.terms(model, channels)
        if self._speed is not None:
            return partial(self._speed.share, terms)
        return partial(cost.weights if self.budget.kind == "bytes" else cost.macs, terms)

    def measure(self, share: float) -> float:
        """Real cost of an int8 model with a share of the predicted one, in the budget's unit."""
        from quantize.channels.graph import cut
        from quantize.channels.select import select

        # A hair above: the least share itself must not fail for a rounding error.
        wanted = share * self._whole * (1 + 1e-9)
        keep = select(self._scores, self._price, wanted, self._floor)
        if self.budget.kind == "bytes":
            smaller = cut(self._model, self._channels, keep)
            return float(deflated(_untrained(self._pipeline, smaller)))
        widths = [
            len(keep[number]) if number in keep else width
            for number, width in enumerate(self._widths)
        ]
        int8 = self._shaped(widths)
        if self.budget.kind == "ms":
            return float(median(self._pipeline.timer.milliseconds([int8])[0]))
        return self._pipeline.timer.ratio(int8, _whole(self._pipeline))

    def _shaped(self, widths: Sequence[int]) -> bytes:
        """An int8 model of such widths. Time is the shape's alone, so its weights are fresh ones:

        cut far without healing, the old ones give ranges that XNNPACK refuses to run.
        """
        from quantize.channels.graph import cut
        from training.tf import keras

        keep = {number: np.arange(width) for number, width in enumerate(widths)}
        smaller = cut(self._model, self._channels, keep)
        return _untrained(self._pipeline, keras.models.clone_model(smaller))

    def _fitted(self) -> Speed:
        """Times of narrower networks on the timed machine, or those fitted before."""
        from quantize.channels import speed

        say, bar = self._pipeline.watcher.say, self._pipeline.watcher
        timer = self._pipeline.timer
        path = self._pipeline.result_path("speed", ".json", timer.where)
        if path.exists():
            say(f"times of narrower networks taken from {path}")
            return msgspec.json.decode(path.read_bytes(), type=speed.Speed)
        say(f"timing narrower int8 networks on {timer.where}, one thread")
        bar.phase("timing narrower networks", speed.FITTED + speed.JUDGED)

        def measure(widths: Sequence[int]) -> float:
            found = timer.ratio(self._shaped(widths), _whole(self._pipeline))
            bar.advance(1)
            return found

        fitted = speed.fit(self._costs, self._widths, measure, self._pipeline.run.info.seed)
        say(f"times of networks not fitted to are predicted to {fitted.error:.1%}")
        path.write_bytes(msgspec.json.encode(fitted))
        return fitted


def _whole(pipeline: Pipeline) -> bytes:
    """The run's own model as int8, to compare with."""
    from quantize.pipeline import save

    path = pipeline.result_path("whole", ".tflite")
    if not path.exists():
        save(path, _untrained(pipeline, pipeline.float_keras))
    return path.read_bytes()


def _untrained(pipeline: Pipeline, model: Any) -> bytes:  # noqa: ANN401 - a Keras model
    photos = model_scale(pipeline.train_photos(4))
    return to_int8_ptq(model, (photo[np.newaxis] for photo in photos), "int8")
