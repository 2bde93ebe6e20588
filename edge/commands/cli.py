"""The ``wheatear`` command: the only place of the device program that prints and exits.

Exit status: 0 all went well; 1 something was refused or failed, told in one line on stderr; 2 the
command line is wrong; 130 interrupted.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from edge import __version__
from edge.commands.console import open_missing
from edge.commands.option_types import above_zero, numbers, path, seconds, seconds_or_none
from edge.errors import WheatearError


class Terminal:
    """Where a command says things; commands print nothing themselves."""

    def out(self, text: str) -> None:
        """Print a line of results to stdout, at once."""
        print(text, flush=True)

    def err(self, text: str) -> None:
        """Print a line of trouble to stderr."""
        print(f"wheatear: {text}", file=sys.stderr, flush=True)


class HelpFormatter(argparse.HelpFormatter):
    """Asks the system for the terminal's width; argparse would load archivers to do so."""

    def __init__(self, prog: str) -> None:
        """Take the width from COLUMNS, the terminal, or 80."""
        try:
            columns = int(os.environ.get("COLUMNS") or os.get_terminal_size().columns)
        except (OSError, ValueError):
            columns = 80
        super().__init__(prog, width=columns - 2)


class Command(NamedTuple):
    """A subcommand; its function is imported when it is called."""

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    function: str
    """``module:function``, called with (arguments, Console), giving the exit status."""


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose a model and a runtime."""
    model = parser.add_argument_group("model")
    model.add_argument("--bundle", metavar="FILE", help="model bundle, NAME-VERSION.wtr")
    model.add_argument("--model", metavar="FILE", help="TFLite classifier without bundle")
    _add_runtime(model)
    other = parser.add_argument_group("for --model")
    other.add_argument("--labels", metavar="FILE", help="class names: one a line, or a table")
    other.add_argument("--mean", type=numbers, default=(), metavar="N[,N,N]", help="pixel levels")
    other.add_argument("--std", type=numbers, default=(), metavar="N[,N,N]", help="pixel levels")
    other.add_argument(
        "--crop",
        choices=("stretch", "centre", "pad"),
        default="stretch",
        help="how a picture is made to fit the input (default stretch)",
    )
    other.add_argument(
        "--background",
        choices=("none", "add", "drop"),
        default="none",
        help="add: the first score has no label; drop: the first label has no score",
    )
    other.add_argument(
        "--output",
        choices=("auto", "logits", "probabilities"),
        default="auto",
        help="what the scores are (default: as the model ends)",
    )


def _add_runtime(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--runtime", default="litert", help="litert, tflite_runtime, edgetpu, fake, auto"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument(
        "--trusted-key",
        action="append",
        default=[],
        type=path,
        metavar="FILE",
        help="Ed25519 public key that must have signed the bundle; may be repeated",
    )


def add_classify(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``wheatear classify``."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="a picture, or a folder of them")
    parser.add_argument("--top", type=int, default=3, help="alternatives to list (default 3)")
    view = parser.add_argument_group("parts of each picture, as [view] in the configuration")
    view.add_argument("--tiles", metavar="CxR|N", help="columns x rows, or N pixels a side")
    view.add_argument("--overlap", type=float, metavar="N", help="share of a tile (default 0.2)")
    view.add_argument(
        "--region",
        type=numbers,
        action="append",
        default=[],
        metavar="L,T,R,B",
        help="box to look at, as shares of the picture; may be repeated",
    )
    view.add_argument("--mask", metavar="FILE", help="picture, black where the model must not look")
    view.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="LABEL",
        help="background, such as an empty leaf: no finding; may be repeated",
    )
    view.add_argument("--draw", metavar="FOLDER", help="draw tiles, mask and findings into files")
    add_model(parser)


def add_bench(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``wheatear bench``."""
    parser.add_argument(
        "images", nargs="*", metavar="IMAGE", help="pictures, or folders; default: a made-up one"
    )
    parser.add_argument("--runs", type=int, metavar="N", help="pictures to time (default 100)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    add_model(parser)
    bare = parser.add_argument_group("several bare models, in turn, without pictures")
    bare.add_argument("--models", nargs="+", default=[], metavar="FILE", help="TFLite files")
    bare.add_argument("--rounds", type=int, metavar="N", help="passes over all (default 15)")
    bare.add_argument("--pictures", type=int, metavar="N", help="a round (default 10)")
    bare.add_argument(
        "--serve",
        action="store_true",
        help="time what comes over stdin, for python -m quantize ... --on",
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``wheatear run``."""
    add_config(parser)
    parser.add_argument("--once", action="store_true", help="replay the folder once, then end")
    parser.add_argument(
        "--drain-timeout",
        type=seconds_or_none,
        metavar="SECONDS",
        help="after the last picture, wait this long for the broker (default: until stopped)",
    )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="how much to log on stderr (default info)",
    )


def add_request(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``wheatear request``."""
    parser.add_argument("device", metavar="DEVICE", help="id, the second part of its topics")
    parser.add_argument(
        "verb",
        metavar="VERB",
        help="such as status, config/get or restart; after an unknown one all are listed",
    )
    parser.add_argument(
        "parameters",
        nargs="*",
        default=[],  # else argparse counts them among what is missing
        metavar="KEY=VALUE",
        help="parameters of the verb: JSON or text, @FILE for the text of a file",
    )
    parser.add_argument(
        "--broker",
        default="localhost",
        metavar="HOST[:PORT]",
        help="address of the device's broker (default localhost)",
    )
    parser.add_argument("--username", metavar="NAME", help="your user name at the broker")
    parser.add_argument(
        "--password-file", type=path, metavar="FILE", help="has your password in its first line"
    )
    parser.add_argument(
        "--tls", action="store_true", help="use TLS; trust the system's certificate authorities"
    )
    parser.add_argument(
        "--ca", type=path, metavar="FILE", help="use TLS; trust this certificate authority"
    )
    parser.add_argument(
        "--base", default="wheatear", metavar="TOPIC", help="the device's broker.base_topic"
    )
    parser.add_argument(
        "--token-file", type=path, metavar="FILE", help="the device's requests.token_file"
    )
    parser.add_argument(
        "--transaction", metavar="TEXT", help="name of this request (default: drawn at random)"
    )
    parser.add_argument(
        "--unchecked", action="store_true", help="also send what this program does not know"
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=30.0,
        metavar="SECONDS",
        help="wait this long for an answer (default 30)",
    )


def add_schema(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``wheatear schema``."""
    other = parser.add_mutually_exclusive_group()
    other.add_argument(
        "--markdown", action="store_true", help="the topics reference (docs/topics.md) instead"
    )
    other.add_argument(
        "--asyncapi", action="store_true", help="the AsyncAPI 3 document (docs/asyncapi.json)"
    )
    other.add_argument(
        "--settings", action="store_true", help="every setting (docs/device/settings.md)"
    )
    other.add_argument(
        "--requests", action="store_true", help="every request (docs/device/verbs.md)"
    )


def add_models(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands of ``wheatear model``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    add_config(_add(actions, "list", "list the models in the store, and which one runs"))
    install = _add(actions, "install", "check, try and use a new model")
    install.add_argument("source", metavar="FILE-OR-URL", help='"-": a URL from stdin')
    install.add_argument("--sha256", metavar="HEX", help="hash that the file must have")
    install.add_argument(
        "--allow-downgrade", action="store_true", help="also take an older or equal version"
    )
    add_config(install)
    add_config(_add(actions, "cancel", "end an update that a request began, or drop an upload"))
    add_config(_add(actions, "rollback", "go back to the previous model"))
    verify = _add(actions, "verify", "load a bundle here and run its golden pictures")
    verify.add_argument("file", type=path, metavar="FILE", help="the bundle")
    verify.add_argument("--json", action="store_true", help="one JSON object")
    verify.add_argument("--config", type=path, metavar="FILE", help="take runtime and keys from it")
    _add_runtime(verify)
    verify.add_argument("--memory-bytes", type=above_zero, metavar="N", help="take no more memory")
    verify.add_argument("--seconds", type=seconds, metavar="N", help="take no longer")


def add_outbox(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands of ``wheatear outbox``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, what in (
        ("list", "list the messages set aside because the broker does not take them"),
        ("release", "send them again"),
        ("discard", "delete them for good"),
    ):
        action = _add(actions, name, what)
        if name != "list":
            action.add_argument("ids", nargs="*", default=[], metavar="ID", help="as listed")
            action.add_argument("--all", action="store_true", help="all of them")
        add_config(action)


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a configuration."""
    parser.add_argument(
        "--config", type=path, required=True, metavar="FILE", help="the device's config.toml"
    )


PURPOSE = "Classify what a camera sees, and publish it over MQTT; nothing seen is lost."
EPILOG = "`wheatear COMMAND -h` shows what a command takes."

COMMANDS = (
    Command("run", "run the device", add_run, "edge.commands.run:main"),
    Command("check", "try every part of a configuration", add_config, "edge.commands.check:main"),
    Command(
        "request", "send a device a request over MQTT", add_request, "edge.commands.request:main"
    ),
    Command("model", "keep, try and change models", add_models, "edge.commands.model:main"),
    Command("outbox", "look at dead letters", add_outbox, "edge.commands.outbox:main"),
    Command("schema", "print the messages' JSON Schema", add_schema, "edge.commands.schema:main"),
    Command(
        "classify", "classify pictures: JSON lines", add_classify, "edge.commands.classify:main"
    ),
    Command(
        "bench", "measure decode, preprocess and invoke", add_bench, "edge.commands.bench:main"
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; give the exit status."""
    open_missing()
    arguments = _parse(sys.argv[1:] if argv is None else argv)
    module, _, name = arguments.function.partition(":")
    console = Terminal()
    _spare()
    if isinstance(sys.stdout, io.TextIOWrapper):  # it may be ASCII
        sys.stdout.reconfigure(errors="backslashreplace")
    if level := getattr(arguments, "log_level", None):
        import logging

        from edge.commands.log_handler import LineHandler

        logging.basicConfig(
            level=level.upper(),
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
            handlers=[LineHandler(sys.stderr.fileno())],
        )
    try:
        status: int = getattr(import_module(module), name)(arguments, console)
    except WheatearError as error:
        console.err(str(error))
        return 1
    except ImportError as error:
        console.err(
            f"a package that wheatear needs cannot be imported: {error}; install all of them "
            f"again: "
            f"{sys.executable} -m pip install --force-reinstall with the wheel's file"
        )
        return 1
    except MemoryError:
        console.err("there is not enough memory; stop other programs, or allow more (MemoryMax)")
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our lines has closed (``| head``). Keep the interpreter's own flush at exit
        # from failing again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _spare() -> None:
    """Spare the start what no command needs.

    NumPy's linear algebra starts a thread per CPU when imported, which nothing here ever uses: on
    two CPUs that took a sixth of the time to the first result. Importing makes thousands of
    objects that stay; looking among them for garbage every 700 finds none.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.set_threshold(50_000, 10, 10)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = parser_of(argv)
    arguments, left = parser.parse_known_args(argv)
    # argparse ends a list of words at the first option; those behind it are left over.
    words = getattr(arguments, "parameters", None)
    if left and (words is None or any(word.startswith("-") for word in left)):
        parser.error(f"unrecognized arguments: {' '.join(left)}")
    if words is not None:
        words += left
    return arguments


def parser_of(argv: Sequence[str]) -> argparse.ArgumentParser:
    """Build the parser; of the commands, only the one that is asked for."""
    parser = argparse.ArgumentParser(
        prog="wheatear", description=PURPOSE, epilog=EPILOG, formatter_class=HelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"wheatear {__version__}")
    subparsers = parser.add_subparsers(prog="wheatear", metavar="COMMAND", required=True)
    asked = [command for command in COMMANDS if command.name in argv[:1]]
    for command in asked or COMMANDS:
        subparser = _add(subparsers, command.name, command.help)
        command.add_arguments(subparser)
        subparser.set_defaults(function=command.function)
    return parser


def _add(actions: Any, name: str, what: str) -> argparse.ArgumentParser:  # noqa: ANN401 - private
    """Add a command that says `what` it does."""
    text = f"{what[0].upper()}{what[1:]}."
    added: argparse.ArgumentParser = actions.add_parser(
        name, help=what, description=text, formatter_class=HelpFormatter
    )
    return added
