"""Packages that only some devices have: imported when used, and whatever fails then is named."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from edge.errors import WheatearError

SYSTEM_PACKAGES = "/usr/lib/python3/dist-packages"
"""Where Debian and Raspberry Pi OS put what apt installs for Python."""


def load(name: str, error: type[WheatearError], use: str, install: str) -> Any:  # noqa: ANN401
    """Import a module; `use` says what needs it, `install` is the command that brings it.

    An import runs the package's own code and loads its libraries, so it can fail in any way: a
    package built for another NumPy raises ImportError, ValueError or AttributeError.

    Raises `error`: it cannot be imported, why, and the cure.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name and (name + ".").startswith(missing.name + "."):
            raise error(f"{use} needs {name.partition('.')[0]}; {install}") from missing
        raise error(
            f"{use}: {name} is there, but not {missing.name}, which it needs; {install}"
        ) from missing
    except Exception as reason:
        text = " ".join(str(reason).split())[:300]
        raise error(
            f"{use}: {name} cannot be imported ({type(reason).__name__}: {text}); {_cure(name)}"
        ) from reason


def _cure(name: str) -> str:
    """What helps: a NumPy that comes before the system's, where that is the trouble."""
    import numpy

    ours, theirs = numpy.__version__, _version("numpy", [SYSTEM_PACKAGES])
    if theirs and _major(theirs) < _major(ours):
        return (
            f"this environment's NumPy {ours} stands before the system's {theirs}, for which the "
            f"system's packages are built: {sys.executable} -m pip install 'numpy<{_major(ours)}'"
        )
    return f"`{sys.executable} -c 'import {name}'` shows all of it"


def _version(name: str, folders: Iterable[str]) -> str | None:
    from importlib.metadata import distributions  # takes long, and is for errors only

    found = next(iter(distributions(name=name, path=list(folders))), None)
    return found.version if found else None


def _major(version: str) -> int:
    return int(version.partition(".")[0])
