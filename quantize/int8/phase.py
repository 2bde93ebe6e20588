"""The phase that makes an int8 model of a float one: ranges alone, or trained where that helps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from quantize.int8 import qat
from quantize.int8.clipping import clip_last
from quantize.int8.convert import to_int8_ptq, to_int8_qat
from quantize.keras.kernels import twin
from quantize.options import QAT_EPOCHS, QAT_STEPS
from quantize.workbench import Workbench, model_scale, weights_format
from training.untyped import Model

#: Photos that activation ranges are first taken from.
CALIBRATION_PHOTOS = 256
#: Photos that the last layer is fitted to.
FITTING_PHOTOS = 2048
#: Share of the logits' variance that rounding may miss before training is tried. Trained at any
#: rate and for any time, MobileNetV2 0.35 misses 0.3 to 0.5 %, as it does with no training.
ENOUGH = 0.01


def ranged(bench: Workbench, source: Model) -> bytes:
    """The int8 TFLite file with ranges as photos show them (--method ptq).

    No more is done than clipping the last kernel where one weight would make all others coarse.
    """
    from training.input.dataset import plain_batches

    pixels = bench.train_pixels(CALIBRATION_PHOTOS, source)
    bench.watcher.phase("converting to int8", 1)
    if not bench.options.clusters:
        source = twin(source)
        clip_last(source, _batches(bench, source, CALIBRATION_PHOTOS))
    photos = (photo.numpy() for photo in plain_batches(pixels, batch=1))
    model = to_int8_ptq(source, photos, bench.options.io)
    bench.watcher.advance(1)
    return model


def trained(bench: Workbench, source: Model) -> bytes:
    """The int8 TFLite file of a model that was fitted to its own rounding (--method qat).

    Trained against it as well where so many epochs are asked for, or where more than `ENOUGH` is
    missed without; then what is nearer to the float model on validation photos is kept.

    Raises:
        QuantizeError: a layer cannot be quantized, or training diverged.
    """
    options, watcher = bench.options, bench.watcher
    calibration = list(_batches(bench, source, CALIBRATION_PHOTOS))
    student = qat.quantization_aware(source, calibration, bool(options.clusters))
    facts = (*bench.rounding_facts(), *bench.source_facts())
    told = "quantization-aware weights taken from"
    teach = partial(_teach, bench, source, student, calibration)
    bench.kept("qat", facts, weights_format(student), teach, told)
    watcher.phase("converting to int8", 1)
    model = to_int8_qat(student, options.io)
    watcher.advance(1)
    return model


def _teach(
    bench: Workbench, source: Model, student: Model, calibration: list[NDArray[np.float32]]
) -> None:
    options, watcher = bench.options, bench.watcher

    def settle() -> float:
        photos = _batches(bench, source, FITTING_PHOTOS)
        qat.settle(student, source, calibration[0], photos)
        return missed(bench, source, student)

    before = settle() if options.epochs is None else None
    if before is not None and before <= ENOUGH:
        watcher.say(
            f"rounding misses {before:.2%} of the variance of the logits: too little to train for"
        )
        return
    untrained = student.get_weights()
    schedule = bench.schedule(options.epochs, QAT_EPOCHS, QAT_STEPS, options.learning_rate)
    watcher.phase("quantization-aware training", schedule.steps)
    batches = bench.batches(schedule, stream=2, side=source.input_shape[1])
    qat.train(student, source, batches, schedule, bench.progress)
    after = settle()
    told = f"rounding misses {after:.2%} of the variance of the logits"
    if before is None:
        watcher.say(told)
    elif after < before:
        watcher.say(f"{told}, {before:.2%} before training")
    else:
        watcher.say(f"{told} after training, {before:.2%} without: training is left out")
        student.set_weights(untrained)


def missed(bench: Workbench, teacher: Model, student: Model) -> float:
    """Squared distance of the logits on validation photos, as a share of the teacher's variance.

    Each model sees the photos at the size of its own input.
    """
    from training.fitting.train import predict_logits

    part = bench.run.dataset.split("val")

    def logits(model: Model) -> NDArray[np.float32]:
        return predict_logits(model, bench.run.pixels(part, bench.input_of(model)))

    wanted = logits(teacher)
    return float(np.mean((logits(student) - wanted) ** 2) / np.var(wanted))


def _batches(bench: Workbench, model: Model, photos: int) -> Iterator[NDArray[np.float32]]:
    pixels = bench.train_pixels(photos, model)
    for first in range(0, len(pixels), bench.options.batch):
        yield model_scale(pixels[first : first + bench.options.batch])
