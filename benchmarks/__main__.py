"""Measure every promised figure beside what it is compared with.

With `table` in place of the folder, write the results that are there into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import harness, table


def main() -> int:
    """Measure, print and write the table; 1 where a target is missed, 2 where a run failed."""
    options = _options(sys.argv[1:])
    out: Path = options.out
    if options.data == "table":
        print(table.write(out))
        return 0
    chosen = harness.Options(
        out=out.resolve(),
        seeds=options.seeds,
        runs=options.runs.resolve() if options.runs else None,
        again=options.again,
        tiny=options.tiny,
    )
    failed, missed = [], []
    for name in options.only or harness.BENCHMARKS:
        print(f"== {name}", flush=True)
        try:
            result = harness.run(name, Path(options.data).expanduser().resolve(), chosen)
        except Exception as error:  # one benchmark that cannot run must not hide the others
            print(f"{name} FAILED: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            failed.append(name)
            continue
        print(table.rows([result]), flush=True)
        missed += [figure.name for figure in result.figures if figure.met is False]
    if missed:
        print(f"targets missed: {'; '.join(missed)}", file=sys.stderr)
    if failed:
        print(f"not measured: {', '.join(failed)}", file=sys.stderr)
    return 2 if failed else int(bool(missed))


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("data", help="folder with jute_pest/, coral_models/ ..., or 'table'")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=harness.BENCHMARKS,
        metavar="NAME",
        help="of all: " + ", ".join(harness.BENCHMARKS),
    )
    parser.add_argument("--seeds", type=int, default=3, help="training runs for accuracy")
    parser.add_argument("--out", type=Path, default=Path("bench-out"), help="where JSON goes")
    parser.add_argument("--runs", type=Path, help="folder with finished runs (seed-0, seed-1, ...)")
    parser.add_argument("--again", action="store_true", help="measure what is known already too")
    parser.add_argument("--tiny", action="store_true", help="smallest sizes, to try the code")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
