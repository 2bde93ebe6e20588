"""The pipeline's phase that takes out channels: how many the budget allows, and what it came to."""

from __future__ import annotations

import math
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from quantize import timing
from quantize.channels.budget import Budget, find_share, parse
from quantize.convert import model_scale, to_int8_ptq
from quantize.finetune import Schedule
from quantize.inspect import deflated
from quantize.options import NARROW_EPOCHS, NARROW_STEPS

if TYPE_CHECKING:
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
    share = _share(pipeline)
    rate = pipeline.options.pruning_learning_rate
    epochs = pipeline.options.pruning_epochs
    whole = pipeline.schedule(epochs, NARROW_EPOCHS, NARROW_STEPS, rate)
    pipeline.watcher.phase(
        f"taking out channels: {share:.1%} of the multiply-adds stay", whole.steps
    )
    heal = shrink.healer(
        pipeline.float_keras,
        pipeline.batches(whole, stream=4),
        _rounds(whole, shrink.ROUNDS),
        pipeline.progress,
    )
    found = shrink.narrow(
        pipeline.float_keras,
        share,
        _measured(pipeline, shrink.MEASURED * shrink.ROUNDS),
        model_scale(pipeline.train_photos(CORRECTION_PHOTOS)),
        heal,
    )
    return save_model(found.model, path)


def account(pipeline: Pipeline, int8: bytes) -> str:
    """What the finished int8 model costs beside the run's own as int8, measured here and now."""
    whole = _whole(pipeline)
    ours, theirs = timing.milliseconds([int8, whole])
    share = median(a / b for a, b in zip(ours, theirs, strict=True))
    return (
        f"budget {pipeline.options.budget}: {median(ours):.2f} ms a picture where the run's own "
        f"int8 model takes {median(theirs):.2f} ms ({share:.2f} of it; this machine, one thread), "
        f"{deflated(int8):,} of {deflated(whole):,} bytes zipped"
    )


def _rounds(whole: Schedule, rounds: int) -> list[Schedule]:
    """Divide the steps: a short schedule after each round but the last, which has half of them."""
    short = max(1, whole.steps // (2 * (rounds - 1)))
    rest = max(1, whole.steps - (rounds - 1) * short)
    return [
        msgspec.structs.replace(whole, epochs=1, steps_per_epoch=steps)
        for steps in [short] * (rounds - 1) + [rest]
    ]


def _measured(pipeline: Pipeline, batches: int) -> Any:  # noqa: ANN401 - an iterator
    usual = pipeline.schedule(1, 1, 1, pipeline.options.pruning_learning_rate)
    epochs = math.ceil(batches / usual.steps_per_epoch)
    return pipeline.batches(msgspec.structs.replace(usual, epochs=epochs), stream=3)


def _share(pipeline: Pipeline) -> float:
    """The share of multiply-adds that the budget allows; what was measured is kept."""
    budget = parse(pipeline.options.budget)
    if budget.kind == "macs":
        return budget.most
    path = pipeline.result_path("share", ".json", str(budget))
    if path.exists():
        found = float(msgspec.json.decode(path.read_bytes()))
        pipeline.watcher.say(f"{budget}: {found:.1%} of the multiply-adds, as measured in {path}")
        return found
    if budget.kind in ("latency", "ms"):
        pipeline.watcher.say("timing int8 models on this machine, one thread")
    trial = _Trial(pipeline)
    found = find_share(
        budget, lambda share: trial.measure(budget, share), trial.least, pipeline.watcher.say
    )
    path.write_bytes(msgspec.json.encode(found))
    return found


class _Trial:
    """The run's model cut to any share at once: without healing it costs what a healed one does."""

    def __init__(self, pipeline: Pipeline) -> None:
        from quantize.channels import cost, shrink
        from quantize.channels.graph import find_channels
        from quantize.channels.importance import importance
        from quantize.channels.select import narrowest

        self._pipeline, self._model = pipeline, pipeline.float_keras
        self._channels = find_channels(self._model)
        self._cost = partial(cost.macs, cost.terms(self._model, self._channels))
        widths = [group.width for group in self._channels.groups]
        self._whole = self._cost(widths)
        self.least = self._cost(narrowest(widths)) / self._whole
        stream = _measured(pipeline, shrink.MEASURED)
        batches = (next(stream) for _ in range(shrink.MEASURED))
        self._scores = importance(self._model, self._channels, batches)

    def measure(self, budget: Budget, share: float) -> float:
        """Cost of an int8 model with a share of the multiply-adds, in the budget's unit."""
        from quantize.channels.graph import cut
        from quantize.channels.select import select
        from training.tf import keras

        # A hair above: the least share itself must not fail for a rounding error.
        keep = select(self._scores, self._cost, share * self._whole * (1 + 1e-9))
        smaller = cut(self._model, self._channels, keep)
        if budget.kind != "bytes":
            # Time is the shape's alone, and cut far without healing the weights give ranges that
            # XNNPACK refuses to run; fresh ones do not.
            smaller = keras.models.clone_model(smaller)
        int8 = _untrained(self._pipeline, smaller)
        if budget.kind == "bytes":
            return float(deflated(int8))
        if budget.kind == "ms":
            return float(median(timing.milliseconds([int8])[0]))
        return timing.ratio(int8, _whole(self._pipeline))


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
