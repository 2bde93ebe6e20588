"""Change the code in small ways, one at a time, and see that a test fails each time.

`make mutants ONLY="delivery"`. Each argument is a file here, NAME.toml: what is changed, which
tests are to notice, and which changes are accepted though none does, and why. The tree itself is
never changed. Ends with an error where a change goes unnoticed that is not accepted there, and
where one is accepted that is noticed or no longer exists.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tomllib
from pathlib import Path

from changes import read
from children import Children

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run; 1: something is to be mended."""
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("rooms", nargs="*", help="names of the files here; all of them if none")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project")
    parser.add_argument("--match", default="", help="only changes with this text in their name")
    parser.add_argument("--again", action="store_true", help="only what was unnoticed last time")
    parser.add_argument("--list", action="store_true", help="name the changes, and try none")
    parser.add_argument("--every", type=int, default=1, help="one change of so many")
    asked = parser.parse_args()
    known = sorted(path.stem for path in (asked.root / "tests/mutants").glob("*.toml"))
    if strange := [room for room in asked.rooms if room not in known]:
        print(f"no room {', '.join(strange)}; there are: {', '.join(known)}")
        return 2
    bad = [room for room in asked.rooms or known if not _room(room, asked)]
    if bad:
        print(f"to be mended: {', '.join(bad)}")
    return 1 if bad else 0


def _room(name: str, asked: argparse.Namespace) -> bool:
    """Try the changes of one room; False: something is to be mended."""
    config = tomllib.loads((asked.root / f"tests/mutants/{name}.toml").read_text())
    accepted = {
        f"{path} {change}": one["why"]
        for path in config["modules"]
        for one in config.get("accepted", [])
        if one["module"] == path
        for change in one["changes"]
    }
    memory = asked.root / f"mutants-out/{name}.json"
    before = set(json.loads(memory.read_text())) if asked.again and memory.exists() else None
    tries, there = [], set()
    for path in config["modules"]:
        source = read(asked.root / path)
        for change in source.changes:
            full = f"{path} {change.name}"
            there.add(full)
            if asked.match in full and (before is None or full in before):
                tries.append((path, source, change))
    tries = tries[:: asked.every]
    if asked.list:
        print(*(f"{path} {change.name}" for path, _, change in tries), sep="\n")
        return True
    started = time.monotonic()
    children = Children(asked.root, config["tests"], config["seconds"])
    found = children.unnoticed([(source, change) for _, source, change in tries])
    names = {id(change): f"{path} {change.name}" for path, _, change in tries}
    unnoticed = [names[id(change)] for _, change in found]
    _table(config["modules"], list(names.values()), unnoticed, accepted)
    print(f"{name}: {len(tries)} changes in {time.monotonic() - started:.0f} s", flush=True)
    memory.parent.mkdir(exist_ok=True)
    memory.write_text(json.dumps(unnoticed))
    new = [one for one in unnoticed if one not in accepted]
    gone = [one for one in accepted if one not in there]
    whole = before is None and not asked.match and asked.every == 1
    needless = [one for one in accepted if one in there and one not in unnoticed] if whole else []
    _say(f"{name}: no test notices", new)
    _say(f"{name}: accepted, but there is no such change any more", gone)
    _say(f"{name}: accepted, but a test notices it", needless)
    return not (new or gone or needless)


def _table(
    modules: list[str], tried: list[str], unnoticed: list[str], accepted: dict[str, str]
) -> None:
    """Print for each module how many changes were noticed, of how many that are not accepted."""
    for module in modules:
        mine = [one for one in tried if one.startswith(f"{module} ")]
        missed = [one for one in unnoticed if one.startswith(f"{module} ")]
        equal = sum(one in accepted for one in missed)
        if count := len(mine) - equal:
            noticed = len(mine) - len(missed)
            print(f"{module}: {noticed} of {count} ({noticed / count:.0%}), {equal} more accepted")


def _say(what: str, names: list[str]) -> None:
    if names:
        print(f"== {what}:", *names, sep="\n")


if __name__ == "__main__":
    sys.exit(main())
