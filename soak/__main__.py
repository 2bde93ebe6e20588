"""Let faults happen to the real program, and report whether anything was lost (docs/soak.md)."""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from edge.config.explain import docstrings
from edge.system.files import write_whole
from edge.text.refusals import refusal
from soak.scenario import SCENARIOS, Options, Round, load, together

console = Console()


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario, as it stands in ``NAME.json``."""

    name: str
    what: str
    options: Options
    """Of which only those that this scenario looks at matter."""
    measured: str
    machine: str
    seconds: float
    rounds: tuple[Round, ...]
    """Finished ones; a later start goes on behind them."""
    asked: int
    """Rounds that the options ask for."""
    total: Round

    @property
    def passed(self) -> bool:
        """All rounds were played and nothing was wrong."""
        return len(self.rounds) == self.asked and not self.total.problems


def run(name: str, out: Path, options: Options) -> Result:
    """Play the rounds of a scenario that are not in ``OUT/NAME.json`` yet."""
    scenario, path = load(name), out / f"{name}.json"
    asked, rounds, seconds = scenario.rounds(options), [], 0.0
    if path.exists():
        try:
            known = msgspec.json.decode(path.read_bytes(), type=Result)
        except msgspec.DecodeError as error:
            sys.exit(f"{path}: no result of this version ({refusal(error)}); delete it")
        if known.options == options:
            rounds, seconds = list(known.rounds), known.seconds
        else:
            console.print(f"{name}: {path} has other options; it is replaced", highlight=False)
    result = _result(name, options, rounds, asked, seconds)
    while len(rounds) < asked:
        folder = out / f"{name}-{len(rounds)}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        started = time.monotonic()
        one = scenario.play(len(rounds), folder, options)
        seconds += time.monotonic() - started
        rounds.append(one)
        if not one.problems:
            shutil.rmtree(folder)
        else:
            console.print(f"[red]{folder} is kept[/red]", *one.problems, sep="\n  ")
        result = _result(name, options, rounds, asked, seconds)
        write_whole(path, msgspec.json.format(msgspec.json.encode(result), indent=2))
        said = ", ".join(f"{count:,} {what}" for what, count in result.total.counts.items())
        console.print(f"{name} {len(rounds)}/{asked} ({seconds:.0f} s): {said}", highlight=False)
    return result


def _result(name: str, options: Options, rounds: list[Round], asked: int, seconds: float) -> Result:
    return Result(
        name=name,
        what=(load(name).__doc__ or "").strip().splitlines()[0],
        options=options,
        measured=time.strftime("%Y-%m-%d"),
        machine=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        seconds=round(seconds, 1),
        rounds=tuple(rounds),
        asked=asked,
        total=together(rounds),
    )


def table(results: list[Result]) -> Table:
    """Show what came out, a line for each scenario."""
    columns = ("scenario", "counted", "seconds", "as promised")
    shown = Table(*columns, title="soak", title_justify="left")
    for result in results:
        counted = [f"{count:,} {what}" for what, count in result.total.counts.items()]
        counted += [f"{value:,.4g} {what}" for what, value in result.total.largest.items()]
        verdict = (
            "yes" if result.passed else f"[red]no: {len(result.total.problems)} problems[/red]"
        )
        shown.add_row(result.name, ", ".join(counted), f"{result.seconds:.0f}", verdict)
    return shown


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m soak",
        description=__doc__,
        epilog="Interrupt it as you like: finished rounds are kept, and the next start goes on.",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("soak-out"),
        help="folder for results, a file for each scenario [soak-out]",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=SCENARIOS,
        default=SCENARIOS,
        metavar="NAME",
        help=f"scenarios, of {', '.join(SCENARIOS)} [all]",
    )
    meanings = docstrings(Options)
    for name, default in msgspec.to_builtins(Options()).items():
        meaning = f"{meanings[name].rstrip('.')} [{default}]"
        parser.add_argument(
            f"--{name}", type=type(default), default=default, metavar="N", help=meaning
        )
    return parser.parse_args()


def main() -> int:
    """Run what was asked for; 0 where everything was as promised."""
    chosen = vars(_options())
    out, only = chosen.pop("out"), chosen.pop("only")
    options = Options(**chosen)
    out.mkdir(parents=True, exist_ok=True)
    results = []
    try:
        for name in only:
            result = run(name, out, options)
            results.append(result)
    except KeyboardInterrupt:
        console.print("interrupted: the same command goes on from here")
        return 130
    finally:
        console.print(table(results))
        for result in results:
            if report := getattr(load(result.name), "report", None):
                console.print(report(result.rounds), highlight=False, soft_wrap=True)
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
