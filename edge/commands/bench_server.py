"""``wheatear bench --serve``: times models that come over stdin, for a desktop that needs times.

The desktop starts it over SSH and keeps it. First comes a line that says who answers (`Hello`).
Then, as often as wanted, a line with a `Request` and the bytes of the models that are new, each
answered with a line (`Answer`). Models stay in memory and end with the connection; nothing is
written to a disk. End of input ends it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from errno import EADDRINUSE
from socket import AF_UNIX, socket
from time import sleep
from typing import BinaryIO

import msgspec

from edge.commands.console import Console
from edge.errors import ConfigError, WheatearError
from edge.model.runtimes import installed
from edge.model.timing import Hello, Request, TimingAnswer, measure
from edge.system.board import board
from edge.text.json_text import from_json
from edge.text.printable import encoded

#: Between looks whether another service still measures.
WAIT_SECONDS = 0.2


def serve(source: BinaryIO, console: Console, runtime: str, threads: int) -> int:
    """Answer requests until ``source`` ends.

    Raises:
        ConfigError: no such runtime, or what comes is no request.
        RuntimeUnavailableError: the interpreter is not installed.
    """
    name, version = installed(runtime)
    hello = Hello(board=board(), runtime=name, runtime_version=version)
    console.out(encoded(hello).decode())
    held: dict[str, bytes] = {}
    decoder = msgspec.json.Decoder(Request)
    while line := source.readline():
        try:
            request = from_json(line, decoder)
            # What the last request named and this one does not is let go: memory stays small.
            known = {**held, **_receive(source, request)}
            held = {sha256: known[sha256] for sha256 in request.models}
        except EOFError:
            break
        except (ValueError, KeyError) as error:  # msgspec's errors are ValueErrors
            raise ConfigError(f"--serve: stdin is not a request for times ({error})") from error
        console.out(encoded(_answer(held, request, name, threads)).decode())
    return 0


@contextmanager
def _turn() -> Iterator[None]:
    """Wait until no other service on this machine measures: at once, both would be wrong.

    After a broken connection that is the former one, which learns of it when it answers. A name in
    the abstract namespace (unix(7)) is a lock that leaves no file and ends with its process.
    """
    with socket(AF_UNIX) as lock:
        while True:
            try:
                lock.bind("\0wheatear-bench")
                break
            except OSError as error:
                if error.errno != EADDRINUSE:
                    raise
                sleep(WAIT_SECONDS)
        yield


def _receive(source: BinaryIO, request: Request) -> dict[str, bytes]:
    found = {}
    for parcel in request.parcels:
        model = source.read(parcel.size)
        if len(model) < parcel.size:
            raise EOFError
        if hashlib.sha256(model).hexdigest() != parcel.sha256:
            raise ValueError(f"a model has another SHA-256 than {parcel.sha256}")
        found[parcel.sha256] = model
    return found


def _answer(
    held: Mapping[str, bytes], request: Request, runtime: str, threads: int
) -> TimingAnswer:
    models = [held[sha256] for sha256 in request.models]
    try:
        with _turn():
            return TimingAnswer(
                times=measure(models, request.rounds, request.pictures, runtime, threads)
            )
    except WheatearError as error:
        return TimingAnswer(error=str(error))
