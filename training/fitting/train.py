"""Training: the head first, then everything, judged after every epoch or few; safe to stop there.

`train` is pure in its arguments: the same data, recipe and seed give the same epochs, whether
or not it was interrupted in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from training import metrics
from training.fitting.head import fit_head
from training.fitting.probe import fit_probe
from training.fitting.state import Arrays, State, assign, load_state, save_state, values_of
from training.fitting.step import compiled_for, scheduled_rate, take_apart
from training.input.dataset import one_hot, plain_batches, train_dataset
from training.input.sampling import class_weights, epoch_order, group_shares
from training.recipe import Recipe, epochs_of, steps_per_epoch
from training.runs import HEAD, PROBE, Choice
from training.tf import keras, tf, traced
from training.untyped import Model, Tensor

Row = dict[str, float]
Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]

#: Seeds of the members of a soup lie this far apart.
_MEMBER_STRIDE = 7919
#: Judgements of a member, about: epochs of few photos take less time than judging them would.
_JUDGEMENTS = 20


@dataclass(frozen=True)
class FitPhotos:
    """What a model is trained on and chosen by."""

    train: Pixels
    """uint8 (n, side, side, 3) at the recipe's source side."""
    train_labels: Labels
    train_groups: tuple[str, ...]
    val: Pixels
    """uint8 (m, h, w, 3), as the device sees them."""
    val_labels: Labels


class Views(NamedTuple):
    """Which pictures a student sees, as in `training.input.dataset.train_dataset`."""

    order: NDArray[np.int32]
    batch: int
    seed: int


class Teachers(Protocol):
    """Those who say what shows on a student's pictures."""

    def __len__(self) -> int:
        """How many."""
        ...

    def answers(self, asked: Views, progress: Callable[[int], None]) -> NDArray[np.float32]:
        """Log-probabilities (n, classes); `progress` is called with how many answers were given."""
        ...


class Trained(NamedTuple):
    """How a training ended."""

    history: list[Row]
    """One row per judgement; member 0 is the fitted head."""
    candidates: tuple[Choice, ...]
    """What could have been kept, with its figures; the first is what was."""
    probe: Arrays
    """All weights of the model with the linear probe; empty without start weights."""


class FitWatcher:
    """Is told how training goes; this one does nothing."""

    def phase(self, name: str, steps: int, done: int = 0) -> None:
        """A phase of so many steps begins, some of them done before."""

    def advance(self, steps: int) -> None:
        """Some steps of the phase are done."""

    def epoch(self, row: Row) -> None:
        """A row of the history is complete and stored."""


def train(
    model: Model,
    photos: FitPhotos,
    recipe: Recipe,
    seed: int,
    state_folder: Path,
    watcher: FitWatcher,
    teachers: Teachers | None = None,
    keep: str = "",
) -> Trained:
    """Train `model` in place; on return it holds the kept weights.

    Args:
        model: from `training.models.build_model`, with its start weights.
        photos: what to train on and choose by.
        recipe: how.
        seed: of draws, augmentation and dropout.
        state_folder: where the state at the last judgement lies; what is there is gone on from.
        watcher: told about phases, steps and epochs.
        teachers: whose answers count beside the labels, if there are any.
        keep: name of the candidate that is kept; empty: what the validation photos like best.

    Raises:
        TrainingError: the stored state is damaged or of another model.
    """
    trainer = _Trainer(model, photos, recipe, seed, watcher, teachers)
    state = load_state(state_folder) or trainer.begin()
    assign(model.weights, state.start)
    trainer.compile()
    while state.member < recipe.members:
        state = trainer.run_member(state, lambda new: save_state(state_folder, new))
        save_state(state_folder, state)
    return trainer.choose(state, keep)


class _Trainer:
    """Everything that stays the same from epoch to epoch."""

    def __init__(
        self,
        model: Model,
        photos: FitPhotos,
        recipe: Recipe,
        seed: int,
        watcher: FitWatcher,
        teachers: Teachers | None,
    ) -> None:
        self.model, self.photos, self.recipe, self.seed = model, photos, recipe, seed
        self.watcher, self.teachers = watcher, teachers
        classes = model.output_shape[-1]
        labels = photos.train_labels
        self.targets = one_hot(labels, classes)
        self.class_weights = class_weights(labels, classes, recipe.class_weights)
        self.shares = group_shares(labels, photos.train_groups, recipe.group_balance)
        self.parts = take_apart(model, recipe.freeze_blocks)
        self.per_epoch = steps_per_epoch(recipe, len(labels))
        self.epochs = epochs_of(recipe, len(labels))
        self.stride = max(1, self.epochs // _JUDGEMENTS)

    def begin(self) -> State:
        """Phase one; the state before the first epoch."""
        history = []
        probe = self._probe() if self.recipe.weights else []
        if self.recipe.head_views:
            self.watcher.phase("head", self.recipe.head_views)
            fit_head(
                self.parts,
                self.photos.train,
                self.targets,
                self.shares,
                self.class_weights,
                self.recipe,
                self.seed,
                self.watcher.advance,
            )
            history.append(self.judge({"member": 0.0, "epoch": 0.0, "seconds": 0.0}))
            self.watcher.epoch(history[-1])
        now = values_of(self.model.weights)
        return State(0, 0, now, [], now, now, 0, [], [], probe, history)

    def _probe(self) -> Arrays:
        """All weights with the linear probe as last layer; the model is left as it was."""
        self.watcher.phase("probe", 1)
        body = keras.Model(self.model.input, self.model.get_layer("features").output)
        photos, last = self.photos, self.model.get_layer("logits")
        before = values_of(last.weights)
        probe = fit_probe(
            predict_logits(body, photos.train),
            photos.train_labels,
            predict_logits(body, photos.val),
            photos.val_labels,
            self.class_weights,
        )
        assign(last.weights, list(probe))
        weights = values_of(self.model.weights)
        assign(last.weights, before)
        self.watcher.advance(1)
        return weights

    def compile(self) -> None:
        """Make optimiser and step; the model must hold its start weights."""
        self.optimizer, self.step = compiled_for(
            self.model,
            self.parts,
            self.recipe,
            self.class_weights,
            self.seed,
            self.recipe.teacher_share if self.teachers else 0.0,
        )

    def run_member(self, state: State, save: Callable[[State], None]) -> State:
        """Train one member from where it stands; its best weights enter the mean."""
        assign(self.model.weights, state.weights)
        if state.slots:
            assign(self.optimizer.slots, state.slots)
        else:
            self.optimizer.reset()
        epochs = self.epochs
        goes_on = state.epoch < epochs and not self._stopped(state)
        batches = self._batches(state) if goes_on else iter(())
        if goes_on:
            self.watcher.phase("all", epochs * self.per_epoch, state.epoch * self.per_epoch)
        while state.epoch < epochs and not self._stopped(state):
            begin = time.monotonic()
            row = self._some_epochs(batches, state.epoch)
            state = self._judged(state, row | {"seconds": time.monotonic() - begin})
            save(state)
            self.watcher.epoch(state.history[-1])
        return _finish_member(state)

    def choose(self, state: State, keep: str = "") -> Trained:
        """Leave the model with what to keep, or what tells most of the validation photos.

        Accuracy on a few dozen photos ties and jumps; the log loss at the best temperature, which
        the report fits anyway, tells candidates apart more surely.
        """
        candidates = []
        for name, weights in self._candidates(state):
            assign(self.model.weights, weights)
            candidates.append((self._figures(name), weights))
        candidates.sort(key=lambda item: (item[0].name != keep, item[0].log_loss))
        assign(self.model.weights, candidates[0][1])
        return Trained(state.history, tuple(figures for figures, _ in candidates), state.probe)

    def _candidates(self, state: State) -> Iterator[tuple[str, Arrays]]:
        """Names and weights of what may be kept."""
        if state.probe:
            yield PROBE, state.probe
        if self.recipe.head_views:
            yield HEAD, state.start
        if not self.epochs:
            return
        several = self.recipe.members > 1
        for blend in self.recipe.blends:
            share = f"{blend:.0%} of " if blend < 1 else ""
            if several:
                name = f"{share}mean of {self.recipe.members} members"
                yield name, _blended(state.start, state.mean, blend)
            yield (
                f"{share}{'first member' if several else 'training'}",
                _blended(state.start, state.first, blend),
            )

    def _figures(self, name: str) -> Choice:
        return choice_of(name, predict_logits(self.model, self.photos.val), self.photos.val_labels)

    def judge(self, row: Row) -> Row:
        """The row with figures of the present weights on the validation photos added."""
        truth, logits = self.photos.val_labels, predict_logits(self.model, self.photos.val)
        found = choice_of("", logits, truth)
        return row | {
            "val_loss": metrics.negative_log_likelihood(logits, truth),
            "val_accuracy": found.accuracy,
            "val_macro_f1": found.macro_f1,
        }

    def _some_epochs(self, batches: Any, epoch: int) -> Row:  # noqa: ANN401
        """Train until the next judgement."""
        recipe, until = self.recipe, min(epoch + self.stride, self.epochs)
        numbers = range(epoch * self.per_epoch, until * self.per_epoch)
        loss, hits, rate = tf.constant(0.0), tf.constant(0.0), 0.0
        for number in numbers:
            rate = scheduled_rate(recipe, number, self.epochs * self.per_epoch, self.per_epoch)
            x, y, taught = next(batches)
            new_loss, new_hits = self.step(x, y, taught, tf.constant(rate, tf.float32))
            loss, hits = loss + new_loss, hits + new_hits
            self.watcher.advance(1)
        return {
            "epoch": float(until),
            "learning_rate": rate,
            "train_loss": float(loss) / len(numbers),
            "train_accuracy": float(hits) / len(numbers),
        }

    def _batches(self, state: State) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Pictures, targets and what teachers say, from the present epoch to the last."""
        recipe, seed = self.recipe, self.seed + _MEMBER_STRIDE * state.member
        batch = min(recipe.batch, len(self.targets))
        orders = [
            epoch_order(self.shares, seed, epoch)[: self.per_epoch * batch]
            for epoch in range(self.epochs)
        ]
        views, first = Views(np.concatenate(orders), batch, seed), state.epoch * self.per_epoch
        dataset = train_dataset(
            self.photos.train,
            self.targets,
            views.order[first * batch :],
            batch=batch,
            side=recipe.resolution,
            augment=recipe.augment,
            seed=seed,
            first_step=first,
        )
        if self.teachers is None:
            return ((x, y, y) for x, y in dataset)
        self.watcher.phase("teachers", len(views.order) * len(self.teachers))
        answers = self.teachers.answers(views, self.watcher.advance)[first * batch :]
        taught = answers.reshape(-1, batch, answers.shape[1])
        return ((x, y, tf.constant(t)) for (x, y), t in zip(dataset, taught, strict=True))

    def _judged(self, state: State, row: Row) -> State:
        """Judge the running mean of the weights where there is one, then put the others back."""
        trained = values_of(self.model.weights)
        for variable, mean in zip(self.optimizer.variables, self.optimizer.means, strict=False):
            variable.assign(mean)
        row = self.judge({"member": state.member + 1.0} | row)
        if row["val_macro_f1"] > _best_of_member(state):
            best = values_of(self.model.weights)
            state = state._replace(best=best, best_epoch=int(row["epoch"]))
        assign(self.model.weights, trained)
        return state._replace(
            epoch=int(row["epoch"]),
            weights=trained,
            slots=values_of(self.optimizer.slots),
            history=[*state.history, row],
        )

    def _stopped(self, state: State) -> bool:
        patience = self.recipe.patience
        return patience is not None and state.epoch - state.best_epoch >= patience


def choice_of(name: str, logits: NDArray[np.float32], truth: Labels) -> Choice:
    """What weights are worth by their logits (n, classes) on the validation photos."""
    said = logits.argmax(axis=1)
    return Choice(
        name=name,
        accuracy=metrics.accuracy(truth, said),
        macro_f1=metrics.macro_f1(truth, said),
        log_loss=metrics.calibrated_log_loss(logits, truth),
    )


def _best_of_member(state: State) -> float:
    """Best macro-F1 of the present member so far, or of the fitted head."""
    rows = [row for row in state.history if row["member"] in (0.0, state.member + 1.0)]
    return max((row["val_macro_f1"] for row in rows), default=-1.0)


def _finish_member(state: State) -> State:
    """Its best weights enter the mean; the next member begins where this one began."""
    n = state.member
    mean: Arrays = state.best
    if n:
        mean = [m + (b - m) / (n + 1) for m, b in zip(state.mean, state.best, strict=True)]
    return state._replace(
        member=n + 1,
        epoch=0,
        weights=state.start,
        slots=[],
        best=state.start,
        first=state.first or state.best,
        mean=mean,
    )


def _blended(start: Arrays, trained: Arrays, share: float) -> Arrays:
    return [a + share * (b - a) for a, b in zip(start, trained, strict=True)]


def predict_logits(model: Model, pixels: Pixels, batch: int = 64) -> NDArray[np.float32]:
    """Logits float32 (n, classes) for uint8 photos (n, h, w, 3)."""
    forward = _compiled(model)
    return np.concatenate([forward(x).numpy() for x in plain_batches(pixels, batch)])


def _compiled(model: Model) -> Any:  # noqa: ANN401
    """One traced function per model, kept on it."""
    if not hasattr(model, "_wheatear_forward"):
        model._wheatear_forward = traced(  # noqa: SLF001  # ours, kept on theirs
            lambda x: model(x, training=False),
            input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)],
        )
    return model._wheatear_forward  # noqa: SLF001
