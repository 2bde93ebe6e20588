"""The page itself: figures first, then where the model errs, then how it was made."""

from __future__ import annotations

from collections import Counter
from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.metrics import Interval
from training.report import plots
from training.report.evaluate import Answers, ClassFigures, Evaluation
from training.report.photos import data_address
from training.report.svg import heat_map
from training.runs import Run, write_whole

#: Photos shown, and how many of them may come from one group.
MISTAKES, PER_GROUP = 24, 2


def write_report(run: Run, evaluation: Evaluation, answers: Answers) -> Path:
    """Write RUN/report.html and return its path."""
    e = evaluation
    sections = [
        _head(run, e),
        _section("Class by class", _class_table(e.per_class)),
        _section(
            "What is taken for what",
            "<p>Rows are the truth, columns the answers; blue is right, orange wrong.</p>"
            f"<div class=scroll>{heat_map(e.confusion, run.info.labels)}</div>",
        ),
        _section("The worst mistakes", _mistakes(run, e, answers)),
        _section(
            "How far the confidence can be trusted",
            _calibration_words(e)
            + _row(
                [
                    *plots.reliability_plots(answers, e.ece_before, e.ece),
                    plots.coverage_plot(answers, e.unknown.threshold),
                ]
            ),
        ),
        _section("At every threshold", _row(plots.curve_plots(answers, run.info.labels))),
        _section("Training", _row(plots.history_plots(run.path / "history.csv")) + _recipe(run)),
    ]
    style = files("training.report").joinpath("style.css").read_text(encoding="utf-8")
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>{escape(run.path.name)} – report</title><style>{style}</style>"
        f"<body><main>{''.join(sections)}</main></body></html>\n"
    )
    path = run.path / "report.html"
    write_whole(path, page.encode())
    return path


def _head(run: Run, e: Evaluation) -> str:
    judged = [item for item in e.per_class.items() if item[1].n]
    worst = min(judged, key=lambda item: item[1].recall)
    tiles = [
        ("accuracy", f"{e.accuracy:.1%}", f"{_span(e.accuracy_group_interval)} over other groups"),
        ("balanced accuracy", f"{e.balanced_accuracy:.1%}", f"macro-F1 {e.macro_f1:.3f}"),
        ("calibration error", f"{e.ece:.3f}", f"{e.ece_before:.3f} before temperature"),
        ("weakest class", f"{worst[1].recall:.0%}", f"of {worst[0]} found"),
    ]
    cells = "".join(
        f"<div class=tile><b>{escape(value)}</b><span>{escape(name)}</span>"
        f"<small>{escape(note)}</small></div>"
        for name, value, note in tiles
    )
    return (
        f"<h1>{escape(run.path.name)}</h1>"
        f"<p>{e.n} photos of split “{escape(e.split)}” in {e.groups} groups, "
        f"{len(e.per_class)} classes, none of them seen in training; read, scaled and scored as on "
        f"the device. Splits: {escape(run.info.split_rule)}.</p><div class=tiles>{cells}</div>"
        f"<p class=note>Taking every photo as independent, the 95 % interval would be "
        f"{_span(e.accuracy_interval)}; photos of one group are not independent, so the wider one "
        "above, from drawing whole groups anew, is the honest one.</p>"
    )


def _class_table(classes: dict[str, ClassFigures]) -> str:
    rows = []
    for name, c in sorted(classes.items(), key=lambda item: item[1].f1):
        rows.append(
            f"<tr><th dir=auto>{escape(name)}<td>{c.n}<td>{c.precision:.0%}<td>{_bar(c.recall)}"
            f"<td class=faint>{_span(c.recall_interval)}<td>{c.f1:.2f}<td>{c.roc_area:.3f}"
            f"<td>{c.average_precision:.2f}"
        )
    heads = ("class, weakest first", "photos", "precision", "recall", "95 %", "F1", "ROC", "AP")
    head = "".join(f"<th>{name}" for name in heads)
    return f"<div class=scroll><table><tr>{head}{''.join(rows)}</table></div>"


def _mistakes(run: Run, e: Evaluation, answers: Answers) -> str:
    """Wrong answers the model was surest of, as photos."""
    said, top = answers.probabilities.argmax(axis=1), answers.probabilities.max(axis=1)
    wrong = np.flatnonzero(said != answers.labels)
    if not len(wrong):
        return "<p>None: every photo was answered right.</p>"
    worst = _spread(wrong[np.argsort(-top[wrong], kind="stable")], answers.groups)
    pixels, _ = run.arrays(e.split)
    labels = run.info.labels
    cards = []
    for i in worst:
        of_truth = answers.probabilities[i, answers.labels[i]]
        said_name, is_name = escape(labels[said[i]]), escape(labels[answers.labels[i]])
        cards.append(
            f'<figure><img src="{data_address(pixels[i])}" alt="" loading=lazy '
            f'title="{escape(answers.files[i])}"><figcaption><b><bdi>{said_name}</bdi></b> '
            f"{top[i]:.0%}<br>is <bdi>{is_name}</bdi> "
            f"<span class=faint>{of_truth:.0%}</span></figcaption></figure>"
        )
    return (
        f"<p>{len(wrong)} of {e.n} answers are wrong; these were given with the most confidence, "
        f"at most {PER_GROUP} of a group. Look for wrong labels here first.</p>"
        f"<div class=photos>{''.join(cards)}</div>"
    )


def _spread(order: NDArray[np.int64], groups: tuple[str, ...]) -> list[int]:
    """The first MISTAKES indices, leaving out a group's third and further photo."""
    shown: Counter[str] = Counter()
    chosen: list[int] = []
    for i in order.tolist():
        shown[groups[i]] += 1
        if shown[groups[i]] <= PER_GROUP and len(chosen) < MISTAKES:
            chosen.append(i)
    return chosen


def _calibration_words(e: Evaluation) -> str:
    u = e.unknown
    foreign = (
        f" Of {u.foreign} foreign photos, {u.caught_foreign:.0%} become unknown."
        if u.foreign is not None and u.caught_foreign is not None
        else ""
    )
    return (
        f"<p>Temperature {e.temperature:.2f}, fitted on the validation photos. Answers below "
        f"{u.threshold:.2f} count as unknown: that keeps {u.kept_right:.0%} of the right answers, "
        f"catches {u.caught_wrong:.0%} of the wrong ones, and {u.accuracy_of_kept:.1%} of the "
        f"answers still given are right.{foreign}</p>"
    )


def _recipe(run: Run) -> str:
    import msgspec

    info = run.info
    table = msgspec.to_builtins(info.recipe)
    table |= {f"augment.{key}": value for key, value in table.pop("augment").items()}
    items = "".join(f"<tr><th>{escape(k)}<td>{escape(str(v))}" for k, v in table.items())
    packages = ", ".join(f"{name} {version}" for name, version in info.packages.items())
    kept = info.result.best_epoch if info.result else 0
    return (
        f"<p>Recipe {escape(info.recipe_name)}, seed {info.seed}, epoch {kept} kept (best "
        f"validation macro-F1). Data fingerprint <code>{info.data_fingerprint[:16]}</code>. "
        f"{escape(packages)}.</p><details><summary>Every parameter</summary>"
        f"<table class=narrow>{items}</table></details>"
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _row(drawings: list[str]) -> str:
    return f"<div class=row>{''.join(drawings)}</div>"


def _bar(share: float) -> str:
    return f'<span class=bar style="--share:{share:.3f}">{share:.0%}</span>'


def _span(interval: Interval) -> str:
    return f"{interval.low:.1%} – {interval.high:.1%}"
