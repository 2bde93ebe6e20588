"""Training: the head first, then everything; an epoch at a time, each of them a safe place to stop.

`train` is pure in its arguments: the same data, recipe and seed give the same epochs, whether
or not it was interrupted in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training import metrics
from training.head import fit_head
from training.input import one_hot, plain_dataset, train_dataset
from training.optimizer import AdamW
from training.recipe import Recipe, steps_per_epoch
from training.sampling import class_weights, epoch_order, group_shares
from training.state import State, assign, load_state, save_state, values_of
from training.step import learning_rates, make_step, scheduled_rate, take_apart
from training.tf import tf

Row = dict[str, float]
Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Photos:
    """What a model is trained on and chosen by."""

    train: Pixels
    """uint8 (n, side, side, 3) at the recipe's source side."""
    train_labels: Labels
    train_groups: tuple[str, ...]
    val: Pixels
    """uint8 (m, h, w, 3), as the device sees them."""
    val_labels: Labels


class Watcher:
    """Is told how training goes; this one does nothing."""

    def phase(self, name: str, steps: int, done: int = 0) -> None:
        """A phase of so many steps begins, some of them done before."""

    def advance(self, steps: int) -> None:
        """Some steps of the phase are done."""

    def epoch(self, row: Row) -> None:
        """An epoch is done and stored."""


def train(
    model: Any,  # noqa: ANN401
    photos: Photos,
    recipe: Recipe,
    seed: int,
    state_folder: Path,
    watcher: Watcher,
) -> State:
    """Train `model` in place; on return it holds the kept weights.

    Args:
        model: from `training.models.build_model`, with its start weights.
        photos: what to train on and choose by.
        recipe: how.
        seed: of draws, augmentation and dropout.
        state_folder: where the state after each epoch lies; what is there is gone on from.
        watcher: told about phases, steps and epochs.

    Returns:
        The last state, with the history.

    Raises:
        TrainingError: the stored state is damaged or of another model.
    """
    classes = model.output_shape[-1]
    targets = one_hot(photos.train_labels, classes)
    weights = class_weights(photos.train_labels, classes, recipe.class_weights)
    shares = group_shares(photos.train_labels, photos.train_groups, recipe.group_balance)
    parts = take_apart(model, recipe.freeze_blocks)

    state = load_state(state_folder)
    if state is None:
        if recipe.head_views:
            watcher.phase("head", recipe.head_views)
            fit_head(parts, photos.train, targets, shares, weights, recipe, seed, watcher.advance)
        now = values_of(model.weights)
        state = State(0, now, [], now, now, 0, [])
        if recipe.head_views:
            state = _record(state, _row(model, photos, {"epoch": 0.0, "seconds": 0.0}), now)
            watcher.epoch(state.history[-1])
        save_state(state_folder, state)

    assign(model.weights, state.start)
    variables = parts.body.trainable_variables + parts.head.trainable_variables
    optimizer = AdamW(
        variables,
        learning_rates(model, variables, recipe.layer_decay),
        weight_decay=recipe.weight_decay,
        anchor=recipe.anchor,
        average=recipe.average,
    )
    assign(model.weights, state.weights)
    if state.slots:
        assign(optimizer.slots, state.slots)
    step = make_step(parts, optimizer, recipe, weights, seed)
    epochs = _Epochs(model, photos, recipe, seed, optimizer, step, targets, shares, watcher)
    state = epochs.run(state, lambda new: save_state(state_folder, new))
    assign(model.weights, _blended(state, recipe.blend))
    return state


@dataclass(frozen=True)
class _Epochs:
    """The second phase: everything that stays the same from epoch to epoch."""

    model: Any
    photos: Photos
    recipe: Recipe
    seed: int
    optimizer: AdamW
    step: Callable[..., Any]
    targets: NDArray[np.float32]
    shares: NDArray[np.float64]
    watcher: Watcher

    def run(self, state: State, save: Callable[[State], None]) -> State:
        """Go on from `state` to the end or an early stop; `save` is called after each epoch."""
        recipe, per_epoch = self.recipe, steps_per_epoch(self.recipe, len(self.targets))
        batches: Any = iter(())
        if state.epoch < recipe.epochs:
            self.watcher.phase("all", recipe.epochs * per_epoch, state.epoch * per_epoch)
            batches = iter(self._batches(state.epoch, per_epoch))
        while state.epoch < recipe.epochs and not self._stopped(state):
            begin, first = time.monotonic(), state.epoch * per_epoch
            loss, hits = tf.constant(0.0), tf.constant(0.0)
            for number in range(first, first + per_epoch):
                rate = scheduled_rate(recipe, number, recipe.epochs * per_epoch, per_epoch)
                x, y = next(batches)
                new_loss, new_hits = self.step(x, y, tf.constant(rate, tf.float32))
                loss, hits = loss + new_loss, hits + new_hits
                self.watcher.advance(1)
            row = {
                "epoch": state.epoch + 1.0,
                "seconds": time.monotonic() - begin,
                "learning_rate": rate,
                "train_loss": float(loss) / per_epoch,
                "train_accuracy": float(hits) / per_epoch,
            }
            state = self._finish(state, row)
            save(state)
            self.watcher.epoch(state.history[-1])
        return state

    def _batches(self, epoch: int, per_epoch: int) -> Any:  # noqa: ANN401
        recipe = self.recipe
        orders = [
            epoch_order(self.shares, self.seed, e)[: per_epoch * recipe.batch]
            for e in range(epoch, recipe.epochs)
        ]
        return train_dataset(
            self.photos.train,
            self.targets,
            np.concatenate(orders),
            batch=min(recipe.batch, len(self.targets)),
            side=recipe.resolution,
            augment=recipe.augment,
            seed=self.seed,
            first_step=epoch * per_epoch,
        )

    def _finish(self, state: State, row: Row) -> State:
        """Judge the averaged weights where there are any, then put the trained ones back."""
        trained = values_of(self.model.weights)
        if self.optimizer.means:
            for variable, mean in zip(self.optimizer.variables, self.optimizer.means, strict=True):
                variable.assign(mean)
        judged = values_of(self.model.weights)
        row = _row(self.model, self.photos, row)
        assign(self.model.weights, trained)
        state = state._replace(
            epoch=state.epoch + 1, weights=trained, slots=values_of(self.optimizer.slots)
        )
        return _record(state, row, judged)

    def _stopped(self, state: State) -> bool:
        patience = self.recipe.patience
        return patience is not None and state.epoch - state.best_epoch >= patience


def _record(state: State, row: Row, weights: list[NDArray[Any]]) -> State:
    """Append a row; keep the weights if none before had a better validation macro-F1."""
    best = max((old["val_macro_f1"] for old in state.history), default=-1.0)
    state = state._replace(history=[*state.history, row])
    if row["val_macro_f1"] > best:
        state = state._replace(best=weights, best_epoch=int(row["epoch"]))
    return state


def _row(model: Any, photos: Photos, row: Row) -> Row:  # noqa: ANN401
    """The row with validation figures added."""
    logits = predict_logits(model, photos.val)
    confusion = metrics.confusion_matrix(photos.val_labels, logits.argmax(axis=1), logits.shape[1])
    return row | {
        "val_loss": metrics.negative_log_likelihood(logits, photos.val_labels),
        "val_accuracy": metrics.accuracy(photos.val_labels, logits.argmax(axis=1)),
        "val_macro_f1": metrics.macro_f1(confusion),
    }


def predict_logits(model: Any, pixels: Pixels, batch: int = 64) -> NDArray[np.float32]:  # noqa: ANN401
    """Logits float32 (n, classes) for uint8 photos (n, h, w, 3)."""
    forward = _compiled(model)
    return np.concatenate([forward(x).numpy() for x in plain_dataset(pixels, batch)])


def _compiled(model: Any) -> Any:  # noqa: ANN401
    """One traced function per model, kept on it."""
    if not hasattr(model, "_wheatear_forward"):
        model._wheatear_forward = tf.function(
            lambda x: model(x, training=False),
            input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)],
        )
    return model._wheatear_forward


def _blended(state: State, share: float) -> list[NDArray[Any]]:
    """The kept weights, drawn back towards the start by 1 - share."""
    if share == 1.0:
        return state.best
    return [a + share * (b - a) for a, b in zip(state.start, state.best, strict=True)]
