"""Templates made into pages: each one file that needs no other, whatever stands in a name."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

TREE = Path(__file__).parents[2]
"""The folder of `training` and `quantize`: templates lie beside the code that fills them."""


def render(template: str, **values: object) -> str:
    """The page; the same bytes from the same values.

    Text is escaped. Only what is ``Markup`` already, as figures are, stays as it is.

    Args:
        template: Its path below the tree, such as ``training/data/check.html``.
        values: What it names; a name that it lacks is an error.
    """
    return environment().get_template(template).render(values)


@cache
def environment() -> Environment:
    """What fills templates: strict about names, escaping all values."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TREE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    style = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    environment.globals["style"] = Markup(style)
    environment.filters["percent"] = percent
    return environment


def percent(share: float, places: int = 0) -> str:
    """0.1234 -> "12%", with more places where asked for."""
    return f"{share:.{places}%}"
