"""The training loop shared by pruning and quantization-aware training.

A compressed model is taught by the float model it comes from (knowledge distillation, Hinton et
al. 2015, arXiv:1503.02531): on every augmented photo it should have the teacher's pooled features
and logits. Labels, and answers after the softmax, say little about training photos that the
teacher is sure of; a student that only has to repeat those drifts away on other photos. Steps are
few, so batch-norm statistics are held and the result is a moving average of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import QuantizeError
from training.untyped import Model, Tensor

#: A last loss that nothing was learned with; always giving the teacher's mean would have 2.
RUINED = 100.0

Progress = Callable[[int, int, float], None]
"""Called as (step, steps, loss) after every step."""


class Others(NamedTuple):
    """How much other teachers count, whose log-probabilities come with each batch."""

    share: float
    """Of the logits wanted, 0..1; the rest is the teacher's."""
    temperature: float
    """At which the teacher is right as often as it says: others' answers are brought to its scale,
    so that the bundle's one temperature stays near to the run's."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how fast a compressed model is fine-tuned."""

    epochs: int
    steps_per_epoch: int
    learning_rate: float
    """Of Adam, after the warm-up and before the cosine decay to 1 % of it."""
    warmup: float = 0.05
    """Share of the steps over which the rate rises from zero."""
    average: float = 0.98
    """Decay per step of the moving average of the weights; 0 keeps the last weights."""

    @property
    def steps(self) -> int:
        """Gradient steps in all."""
        return self.epochs * self.steps_per_epoch

    def rate(self, step: int) -> float:
        """Learning rate at a step, counted from 0."""
        rise = max(1, round(self.warmup * self.steps))
        if step < rise:
            return self.learning_rate * (step + 1) / rise
        share = (step - rise) / max(1, self.steps - rise)
        return self.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


class Distillation:
    """A student taught by a teacher, as often as wanted; its step is traced once.

    `features` says which of the teacher's pooled features the student has, where not all.
    """

    def __init__(
        self,
        student: Model,
        teacher: Model,
        features: NDArray[np.int64] | None = None,
        others: Others | None = None,
    ) -> None:
        from training.tf import keras, tf, traced

        self._student = student
        self._optimizer = optimizer = keras.optimizers.Adam(clipnorm=1.0)
        optimizer.build(student.trainable_variables)
        self._average = _Average(student)
        asked, wanted_of = _features_and_logits(student), _features_and_logits(teacher)

        def step(images: Tensor, answers: Tensor) -> Tensor:
            wanted = wanted_of(images, training=False)
            if features is not None:
                wanted = [tf.gather(wanted[0], features, axis=1), wanted[1]]
            if others is not None:
                wanted = [wanted[0], with_others(wanted[1], answers, others)]
            seen = fitted(images, student)
            with tf.GradientTape() as tape:
                given = asked(seen, training=True)
                loss = tf.add_n([_distance(w, g) for w, g in zip(wanted, given, strict=True)])
            gradients = tape.gradient(loss, student.trainable_variables)
            # A kernel that is made of its centroids has no gradient of its own.
            pairs = zip(gradients, student.trainable_variables, strict=True)
            optimizer.apply_gradients([pair for pair in pairs if pair[0] is not None])
            return loss

        self._step = traced(step)

    def run(
        self, batches: Iterator[tuple[Any, Any]], schedule: Schedule, progress: Progress
    ) -> float:
        """Teach in place on (images in -1..1, answers) batches; return the last mean loss.

        Answers are looked at only where others teach too. The averaged weights are in the student
        when this returns.
        Images have the teacher's size; a student with a smaller input sees them made smaller.
        Nothing is left of an earlier call but the weights.

        Raises:
            QuantizeError: the loss or a weight is not finite, or the loss ends beyond all sense;
                the student is then of no use.
        """
        for variable in self._optimizer.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype.as_numpy_dtype))
        self._average.begin(schedule.average)
        losses: list[float] = []
        for step in range(schedule.steps):
            self._optimizer.learning_rate.assign(schedule.rate(step))
            images, answers = next(batches)
            loss = float(self._step(images, answers))
            if not math.isfinite(loss):
                raise QuantizeError(
                    f"training diverged: the loss became {loss} at step {step + 1} of "
                    f"{schedule.steps}. Earlier results are untouched; lower --learning-rate or "
                    f"--pruning-learning-rate (now {schedule.learning_rate:g}), or check the photos"
                )
            self._average.update()
            losses.append(loss)
            progress(step + 1, schedule.steps, float(np.mean(losses[-schedule.steps_per_epoch :])))
        self._average.swap_in()
        last = float(np.mean(losses[-schedule.steps_per_epoch :])) if losses else 0.0
        sound = all(np.isfinite(v.numpy()).all() for v in self._student.trainable_variables)
        if last > RUINED or not sound:
            raise QuantizeError(
                f"training diverged: the last loss was {last:.3g}; always predicting the mean "
                "would give 2. Earlier results are untouched; lower --learning-rate or "
                f"--pruning-learning-rate (now {schedule.learning_rate:g})"
            )
        return last


def fitted(images: Tensor, model: Model) -> Tensor:
    """Square images (n, h, h, c) at the size that `model` takes, antialiased as on the device."""
    from training.tf import tf

    side = model.input_shape[1]
    if images.shape[1] == side:
        return images
    return tf.image.resize(images, (side, side), antialias=True)


def _features_and_logits(model: Model) -> Model:
    """The model with its pooled features as a further output.

    Raises:
        QuantizeError: no layer of it is called `features`.
    """
    from training.tf import keras

    for layer in model.layers:
        if layer.name.removeprefix("quant_") == "features":
            return keras.Model(model.input, [layer.output, model.output])
    raise QuantizeError('the model has no layer named "features" in front of its last one')


def with_others(logits: Tensor, answers: Tensor, others: Others) -> Tensor:
    """Logits (n, classes) moved by a share towards others' log-probabilities (n, classes).

    Only differences between classes count in either, so each photo's mean stays as it is.
    """
    from training.tf import tf

    def centred(values: Tensor) -> Tensor:
        return values - tf.reduce_mean(values, axis=1, keepdims=True)

    wanted = others.temperature * centred(answers)
    return logits + others.share * (wanted - centred(logits))


def _distance(wanted: Tensor, given: Tensor) -> Tensor:
    """Mean squared difference, as a share of the variance of what is wanted."""
    from training.tf import tf

    error = tf.reduce_mean(tf.square(given - wanted))
    return error / (tf.math.reduce_variance(wanted) + 1e-6)


class _Average:
    """Exponential moving average of a model's trainable weights."""

    def __init__(self, model: Model) -> None:
        from training.tf import tf, traced

        self._variables = model.trainable_variables
        self._shadows = [tf.Variable(v) for v in self._variables]
        self._function = traced(self._update)

    def begin(self, decay: float) -> None:
        self._decay, self._steps = decay, 0
        for shadow, variable in zip(self._shadows, self._variables, strict=True):
            shadow.assign(variable)

    def _update(self, decay: Tensor) -> None:
        for shadow, variable in zip(self._shadows, self._variables, strict=True):
            shadow.assign(shadow * decay + variable * (1 - decay))

    def update(self) -> None:
        from training.tf import tf

        self._steps += 1
        # Early on the average looks back only as far as there is something to see.
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        self._function(tf.constant(decay, tf.float32))

    def swap_in(self) -> None:
        for shadow, variable in zip(self._shadows, self._variables, strict=True):
            variable.assign(shadow)


def steady(model: Model) -> int:
    """Prepare a student, in place: batch-norm statistics held, no dropout; return the norms held.

    Keras' MobileNetV2 averages statistics with momentum 0.999: over a few hundred steps they
    would stay near where they were while the batch's own are used, so what is trained would not
    be what is run. Scale and offset go on learning. Dropout would only blur the teacher's answer.
    """
    from training.tf import keras

    count = 0
    for layer in model.layers:
        inner = getattr(layer, "layer", layer)
        if isinstance(inner, keras.layers.BatchNormalization):
            # `trainable = False` would hold scale and offset as well.
            inner._get_training_value = lambda training=None: False  # noqa: ARG005
            count += 1
        elif isinstance(inner, keras.layers.Dropout):
            inner.rate = 0.0
    return count
