"""AdamW (Loshchilov and Hutter 2019) with a rate of its own for every variable.

Keras' optimisers know one rate only; layer-wise decay, the pull towards the start weights and a
running mean of the weights are a few lines each when written out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.tf import tf
from training.untyped import Tensor

Variable = Any


class AdamW:
    """Moments and averages of `variables`; `apply` is meant to be traced into a tf.function."""

    def __init__(
        self,
        variables: Sequence[Variable],
        rates: Sequence[float],
        *,
        weight_decay: float = 0.0,
        anchor: float = 0.0,
        average: float = 0.0,
    ) -> None:
        self.variables = list(variables)
        self._rates = list(rates)
        self._weight_decay, self._anchor, self._average = weight_decay, anchor, average
        self._first = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]
        self._second = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]
        self._start = [tf.constant(v.numpy()) for v in variables] if anchor else []
        self.means = [tf.Variable(v, trainable=False) for v in variables] if average else []
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)

    @property
    def slots(self) -> list[Variable]:
        """Everything that must be stored to go on later."""
        return [self.step, *self._first, *self._second, *self.means]

    def reset(self) -> None:
        """Forget all moments; the running means begin anew at the present weights."""
        self.step.assign(0)
        for moment in (*self._first, *self._second):
            moment.assign(tf.zeros_like(moment))
        for mean, variable in zip(self.means, self.variables, strict=False):
            mean.assign(variable)

    def apply(self, gradients: Sequence[Tensor], rate: Tensor) -> None:
        """One step down the gradients at the given learning rate (scalar float32)."""
        self.step.assign_add(1)
        t = tf.cast(self.step, tf.float32)
        beta1, beta2 = 0.9, 0.999
        for i, (variable, gradient) in enumerate(zip(self.variables, gradients, strict=True)):
            own_rate = rate * self._rates[i]
            if self._weight_decay and len(variable.shape) > 1:
                variable.assign_sub(own_rate * self._weight_decay * variable)
            if self._anchor:
                variable.assign_sub(own_rate * self._anchor * (variable - self._start[i]))
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=self._first[i].handle,
                v=self._second[i].handle,
                beta1_power=tf.pow(beta1, t),
                beta2_power=tf.pow(beta2, t),
                lr=own_rate,
                beta1=beta1,
                beta2=beta2,
                epsilon=1e-7,
                grad=gradient,
            )
        if self.means:
            # Early on the mean follows quickly, as the start is soon of no interest.
            decay = tf.minimum(self._average, (1 + t) / (10 + t))
            for mean, variable in zip(self.means, self.variables, strict=True):
                mean.assign_sub((1 - decay) * (mean - variable))
