"""The documents as a site with search, for `make docs`: build/docs/index.html.

It reads the same Markdown that is read without it. A link or a heading that is not there is an
error. What it makes asks nobody for anything: no fonts, no scripts from elsewhere.
"""

from pathlib import Path
from typing import Any

project = "Wheatear"
author = "the Wheatear maintainers"
extensions = ["myst_parser"]
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**.md"]
exclude_patterns = [".venv", "build"]
root_doc = "docs/site/index"
source_suffix = {".md": "markdown"}
nitpicky = True
suppress_warnings = ["toc.not_included"]  # records are reached from their index

myst_heading_anchors = 4  # headings are linked by the names that they have elsewhere

html_theme = "furo"
html_title = "Wheatear"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}


def setup(app: Any) -> None:  # noqa: ANN401 - Sphinx is here only where the site is built
    """Have the first page open at the top of the site, not three folders down."""
    app.connect("build-finished", _front_door)


def _front_door(app: Any, error: Exception | None) -> None:  # noqa: ANN401
    if error is None:
        door = '<!doctype html><meta http-equiv="refresh" content="0; url=README.html">'
        (Path(app.outdir) / "index.html").write_text(f"{door}<title>Wheatear</title>\n")
