"""The page of a run: figures first, then where the model errs, then how it was made."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from training.costs import ABOUT, cost_rows
from training.files import write_shared
from training.fitting.auto import StartComparison
from training.pages.page import render
from training.pages.photos import data_address
from training.recipes import load_recipe, recipe_names
from training.report import plots
from training.report.evaluate import Answers, Evaluation
from training.runs import Run

#: Photos shown, and how many of them may come from one group.
MISTAKES, PER_GROUP = 24, 2
#: Longest side, in pixels, of those photos.
SIDE = 160


def write_report(run: Run, evaluation: Evaluation, answers: Answers) -> Path:
    """Write RUN/report.html and return its path."""
    e, labels, result = evaluation, run.info.labels, run.info.result
    assert result is not None  # or there would be no evaluation
    recipe = msgspec.to_builtins(run.info.recipe)
    recipe |= {f"augment.{key}": value for key, value in recipe.pop("augment").items()}
    judged = [item for item in e.per_class.items() if item[1].n]
    page = render(
        "training/report/run.html",
        title=f"{run.path.name} – report",
        e=e,
        info=run.info,
        weakest=min(judged, key=lambda item: item[1].recall),
        classes=sorted(e.per_class.items(), key=lambda item: item[1].f1),
        confusion=confusion_rows(e.confusion, labels),
        wrong=int((answers.probabilities.argmax(axis=1) != answers.labels).sum()),
        mistakes=_mistakes(run, e, answers),
        per_group=PER_GROUP,
        reliability=plots.reliability(answers, e.ece_before, e.ece),
        coverage=plots.coverage(answers, e.unknown.threshold),
        curves=plots.curves(answers, labels),
        history=plots.history(
            run.path / "history.csv", probe.accuracy if (probe := result.probe) else None
        ),
        recipe=recipe,
        costs=cost_rows({name: load_recipe(name) for name in recipe_names()}),
        about_costs=ABOUT,
        compared=_compared(run.path / "auto" / "starts.json"),
    )
    path = run.path / "report.html"
    write_shared(path, page.encode())
    return path


def _compared(path: Path) -> StartComparison | None:
    """What the recipe was chosen by; None where a person named it."""
    if not path.exists():
        return None
    return msgspec.json.decode(path.read_bytes(), type=StartComparison)


def confusion_rows(
    table: tuple[tuple[int, ...], ...], labels: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Rows and cells of the table of what is taken for what, shaded by their share of the row."""
    rows = []
    for i, counts in enumerate(table):
        n = sum(counts)
        cells = []
        for j, count in enumerate(counts):
            share = count / max(1, n)
            kind = "right" if i == j else "wrong"
            cells.append(
                {
                    "n": count,
                    "name": labels[j],
                    "shade": 0.06 + 0.94 * share**0.7,
                    "kind": f"{kind} deep" if share > 0.45 else kind,
                }
            )
        rows.append({"name": labels[i], "n": n, "cells": cells})
    return rows


def _mistakes(run: Run, e: Evaluation, answers: Answers) -> list[dict[str, Any]]:
    """Wrong answers the model was surest of, as photos."""
    said, top = answers.probabilities.argmax(axis=1), answers.probabilities.max(axis=1)
    wrong = np.flatnonzero(said != answers.labels)
    if not len(wrong):
        return []
    pixels, _ = run.arrays(e.split)
    labels = run.info.labels
    return [
        {
            "picture": data_address(pixels[i], SIDE),
            "file": answers.files[i],
            "said": labels[said[i]],
            "confidence": top[i],
            "truth": labels[answers.labels[i]],
            "of_truth": answers.probabilities[i, answers.labels[i]],
        }
        for i in _spread(wrong[np.argsort(-top[wrong], kind="stable")], answers.groups)
    ]


def _spread(order: NDArray[np.int64], groups: tuple[str, ...]) -> list[int]:
    """The first MISTAKES indices, leaving out a group's third and further photo."""
    shown: Counter[str] = Counter()
    chosen: list[int] = []
    for i in order.tolist():
        shown[groups[i]] += 1
        if shown[groups[i]] <= PER_GROUP and len(chosen) < MISTAKES:
            chosen.append(i)
    return chosen
