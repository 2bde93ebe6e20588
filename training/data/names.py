"""Names of classes and groups that are probably not what was meant."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator

from training.data.dataset import Dataset, Finding
from training.data.words import some

_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".replace(" ", "|")
_ODD_LABEL = re.compile(
    rf"#[A-Z/0]+[!?]?|[=@].*|n/?a|nan|null|nil|undefined|-+|\?+|"
    rf"\d{{1,2}}[-/ ]({_MONTHS})[a-z]*|({_MONTHS})[a-z]*[-/ ]\d{{1,4}}|"
    r"\d{4}-\d\d-\d\d( .*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}",
    re.I,
)


def is_broken(label: str) -> bool:
    """Whether a name does not stay on its line, or holds what nobody sees or types."""
    return any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in label)


def odd_names(dataset: Dataset) -> Iterator[Finding]:
    """What is odd about the names of classes and groups."""
    yield from _look_alike(dataset)
    yield from _spreadsheet(dataset)
    yield from _groups_alike(dataset)


def _plain(text: str) -> str:
    """What is left of a name without case, blanks, hyphens and underscores; numbers by value."""
    try:
        return f"{float(text):g}" if text.isascii() and "_" not in text else _letters(text)
    except ValueError:
        return _letters(text)


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).casefold())


def _alike(names: Iterable[str]) -> list[str]:
    """Names that differ only in case, blanks and the like: ``'a' and 'A'`` for each such set."""
    found = defaultdict(set)
    for name in names:
        found[_plain(name)].add(name)
    return [" and ".join(map(repr, sorted(same))) for same in found.values() if len(same) > 1]


def _spreadsheet(dataset: Dataset) -> Iterator[Finding]:
    """Classes that are called as spreadsheets write empty cells, errors, formulas and dates."""
    odd = [label for label in dataset.classes if _ODD_LABEL.fullmatch(label)]
    if odd:
        yield Finding(
            "warning",
            "odd-label",
            "names of classes that look like an empty cell, an error, a formula or a date of a "
            f"spreadsheet: {some(list(map(repr, odd)), 12)}",
            "They are learned as classes; correct the table, or leave the photos out.",
        )


def _groups_alike(dataset: Dataset) -> Iterator[Finding]:
    """Groups whose names are almost the same: two of them may be one plant."""
    alike = _alike(example.group for example in dataset.examples if example.group)
    if alike:
        yield Finding(
            "warning",
            "same-group",
            f"groups whose names are almost the same: {some(alike)}",
            "They may end up on both sides of a split; give them one name if they are one.",
        )


def _look_alike(dataset: Dataset) -> Iterator[Finding]:
    """Classes whose names differ only in case, blanks, hyphens or underscores."""
    alike = _alike(dataset.classes)
    if alike:
        yield Finding(
            "warning",
            "same-name",
            f"classes whose names are almost the same: {'; '.join(alike)}",
            "They are learned as different ones; give them one name if they are one.",
        )
