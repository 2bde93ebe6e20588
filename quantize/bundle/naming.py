"""Name and version of a bundle: from its file's name, NAME-VERSION.wtr, unless they are given."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from edge.errors import QuantizeError
from edge.model.bundle.bundle import SUFFIX
from edge.model.bundle.manifest import Name, Version
from edge.model.bundle.versions import key

DEFAULT_VERSION = "1.0.0"

_VERSION = (
    r"v?(?P<version>\d+(?:\.\d+)+(?:[-.]?[A-Za-z][0-9A-Za-z]*(?:[.-][0-9A-Za-z]+)*)?"
    r"(?:\+[0-9A-Za-z.-]+)?)"
)
_NAMED = re.compile(rf"(?P<name>.+)-{_VERSION}")


def identity(out: Path, name: str = "", version: str = "") -> tuple[str, str]:
    """The name and version for the manifest of the bundle `out`; if empty, from the file's name.

    A version in a file's name has a dot in it: ``pests-1.1.0-rc.1``, ``mobilenet-0.25-2.0``;
    ``camera-2`` is a name. Without one it is DEFAULT_VERSION.

    Raises:
        QuantizeError: they contradict the file's name, or no manifest takes them.
    """
    found = _NAMED.fullmatch(out.stem)
    if found is None:
        name = name or _plain(out.stem)
        version = version or DEFAULT_VERSION
    else:
        in_file = _plain(found["name"])
        name = _same("--name", name, in_file, out, name == in_file)
        same = bool(version) and key(version) == key(found["version"])
        version = _same("--version", version, found["version"], out, same)
    if not name:
        raise QuantizeError(f"--out {out}: gives no name for the bundle; add --name")
    _check("--name", name, Name, "small letters, digits, and - _ . between them, at most 64")
    _check("--version", version, Version, "letters, digits, and . + - between them, at most 64")
    return name, version


def checked_out(out: Path) -> Path:
    """The bundle's path, refused before hours of work if it cannot be written.

    Raises:
        QuantizeError: another ending, or no folder.
    """
    if out.suffix != SUFFIX:
        raise QuantizeError(f"--out {out}: a bundle's name ends in {SUFFIX}")
    if not out.parent.is_dir():
        raise QuantizeError(f"--out {out}: there is no folder {out.parent}")
    return out


def _same(option: str, given: str, in_file: str, out: Path, same: bool) -> str:
    if given and not same:
        raise QuantizeError(
            f"{option} {given} contradicts --out {out.name}, which says {in_file}; leave {option} "
            "out, or name the file otherwise"
        )
    return given or in_file


def _plain(text: str) -> str:
    """What a manifest takes as a name: small letters, digits, dots, dashes."""
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower())[:64].strip("-._")


def _check(option: str, value: str, kind: Any, allowed: str) -> None:  # noqa: ANN401 - Annotated
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        raise QuantizeError(f"{option} {value!r}: give {allowed}") from None
