"""Which photo each row of a table means: names as Windows, Macs and spreadsheets write them."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath


class Names:
    """The photos below a folder, found by names that may be written another way.

    A name that is a file's own always means that file. Otherwise backslashes, folders in front
    (absolute paths), absent folders (only a file's name), another case of letters, letters composed
    in another way (Unicode) and a missing suffix are understood, as long as only one photo can be
    meant.
    """

    def __init__(self, root: Path, files: Iterable[str]) -> None:
        self._root = root
        self._paths: dict[str, list[str]] = defaultdict(list)
        self._names: dict[str, list[str]] = defaultdict(list)
        for file in files:
            for key in {_folded(file), _folded(str(PurePosixPath(file).with_suffix("")))}:
                self._paths[key].append(file)
                self._names[PurePosixPath(key).name].append(file)

    def find(self, written: str) -> str | None:
        """Path of the one photo that is meant, below the folder; None where none or several are."""
        for name in dict.fromkeys((written, written.strip())):
            if not name.startswith("/") and (self._root / name).is_file():
                return name
        parts = PurePosixPath(_folded(written.strip().replace("\\", "/"))).parts
        tails = [self._paths.get("/".join(parts[i:]), []) for i in range(len(parts))]
        if len(parts) == 1:
            tails.append(self._names.get(parts[0], []))
        found = next((files for files in tails if files), [])
        return found[0] if len(found) == 1 else None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
