"""Nonsense for all that reads what others wrote: bundles, settings, pictures, requests.

Good inputs are mutated: bits, bytes, numbers, pieces cut out, doubled, swapped and mixed. Whatever
comes of it must be read, or be refused with an error of edge/errors.py.
"""

from __future__ import annotations

import io
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import get_args

import msgspec

from edge.cameras.photo import facts
from edge.config import Requests as RequestSettings
from edge.config import load_config
from edge.errors import RequestError, WheatearError
from edge.messages.requests import VERBS, Response, VerbName
from edge.model.bundle.bundle import read_bundle
from edge.model.image.preprocessing import decode
from edge.mqtt.packets import Incoming
from edge.mqtt.requests import RequestServer
from edge.system.clock import SystemClock
from edge.system.counters import Counters
from soak.device import CONFIG, TREE, bundle, picture
from soak.scenario import Options, Round, chance, quiet

INPUTS_A_ROUND = 50_000
_TOKENS = (
    *(b"0", b"-1", b"1e999", b"nan", b"inf", b"9" * 30, b"null", b"true", b"[]", b"{}", b'""'),
    *(b"\x00", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"../", b"\n", b"'", b'"', b"="),
    *(b"[[a]]", b"\xc3\x28", "\u0130\u202e".encode(), b"1979-05-27", b"0x1F", b"[" * 300),
)
_VERBS: tuple[VerbName, ...] = get_args(VerbName)
_REQUESTS = [
    b'{"transaction": "42"}',
    b'{"transaction": "a", "token": "secret", "changes": {"decision": {"agreeing_frames": 3}}}',
    b'{"transaction": "1", "url": "http://x/y.wtr", "sha256": "' + b"0" * 64 + b'", "size": 1000}',
    b'{"transaction": "2", "sha256": "' + b"f" * 64 + b'", "offset": 0, "data": "AAAA"}',
    b'{"transaction": "3", "lines": 20, "level": "warning"}',
]
Target = Callable[[bytes], object]
"""Reads bytes; raises WheatearError where they are no good."""


def rounds(options: Options) -> int:
    """Fifty thousand inputs a round."""
    return -(-options.inputs // INPUTS_A_ROUND)


def play(number: int, folder: Path, options: Options) -> Round:
    """Feed one round of nonsense to every target in turn."""
    random = chance(options, "fuzz", number)
    count = min(INPUTS_A_ROUND, options.inputs - number * INPUTS_A_ROUND)
    refused, problems, started = 0, [], time.monotonic()
    with _memory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow, of headers that make no sense
        targets = list(made(Path(scratch)).items())
        for turn in range(count):
            name, (seeds, read) = targets[turn % len(targets)]
            data = mutated(random, seeds)
            try:
                read(data)
            except WheatearError:
                refused += 1
            except Exception as error:
                kept = folder / f"{name}-{turn}"
                kept.write_bytes(data)
                problems.append(f"{kept}: {type(error).__name__}: {error}")
    rate = count / (time.monotonic() - started)
    return Round(
        counts={"inputs": count, "refused": refused, "read": count - refused - len(problems)},
        largest={"inputs/s": rate},
        problems=tuple(problems[:20]),
    )


def made(folder: Path) -> dict[str, tuple[list[bytes], Target]]:
    """Make, by name, good inputs and what reads them."""
    file = folder / "input"

    def from_file(read: Callable[[Path], object]) -> Target:
        def target(data: bytes) -> object:
            file.write_bytes(data)
            return read(file)

        return target

    good = bundle(folder / "model.wtr").read_bytes()
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = members.pop("manifest.json")

    def around(data: bytes) -> object:
        file.write_bytes(_zipped({"manifest.json": data, **members}))
        return read_bundle(file)

    annotated = TREE / "firmware-config" / "config.toml"
    settings = CONFIG.format(port=1883, camera="", broker="", more="").encode()
    everything = _uncommented(annotated.read_text("utf-8")).encode()
    photos = [picture("leaf"), picture("leaf", "PNG"), picture("leaf", "BMP"), _with_exif()]
    return {
        "bundle": ([good], from_file(read_bundle)),
        "manifest": ([manifest], around),
        "configuration": ([settings, everything], from_file(load_config)),
        "picture": (photos, decode),
        "header": (photos, facts),
        "request": (_REQUESTS, asked()),
    }


def asked() -> Target:
    """Return what takes a request to any verb, and checks the one answer that must come."""
    device = "wheatear/cam-1"
    given = {"allow": _VERBS, "max_bytes": 4_096, "unnumbered": True}
    settings = msgspec.convert(given, RequestSettings)

    def target(data: bytes) -> object:
        verb = [*_VERBS, "unknown"][len(data) % (len(_VERBS) + 1)]
        # A device of its own for each: answers to refusals are bounded.
        requests = RequestServer(settings, device, Counters(), SystemClock(), lambda: None)
        for one in VERBS.values():
            requests.on(one, msgspec.to_builtins)
        with quiet():
            requests.carry_out(Incoming(f"{device}/request/{verb}", data))
        (answer,) = requests.answers()
        response = msgspec.json.decode(answer.payload, type=Response)
        if response.error is None:
            return response
        if response.error.kind not in {one.__name__ for one in RequestError.__subclasses__()}:
            raise AssertionError(f"the answer is {response.error}")
        raise RequestError(response.error.message)

    return target


def mutated(random: Random, seeds: list[bytes]) -> bytes:
    """One of the seeds with one to five mutations."""
    data = bytearray(random.choice(seeds))
    for _ in range(random.randint(1, 5)):
        at = random.randrange(len(data) + 1)
        size = random.choice((1, 2, 4, 16, random.randint(1, 200)))
        kind = random.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << random.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = random.randrange(256)
        elif kind == 2:
            data[at : at + size] = b""
        elif kind == 3:
            data[at:at] = data[at : at + size]
        elif kind == 4:
            token = random.choice(_TOKENS)
            data[at : at + random.choice((0, len(token)))] = token
        elif kind == 5:
            other = random.choice(seeds)
            start = random.randrange(len(other))
            data[at : at + size] = other[start : start + size]
        else:
            data[at : at + size] = random.randbytes(size)
    return bytes(data)


def _memory() -> tempfile.TemporaryDirectory[str]:
    """Make a folder in memory where there is one: some disks sync a file that is written anew."""
    shared = Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None)


def _zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def _uncommented(text: str) -> str:
    """The annotated configuration with its settings switched on."""
    lines = []
    for line in text.splitlines():
        bare = line.removeprefix("# ").removeprefix("#")
        setting = "=" in bare and bare.split("=")[0].strip().replace("_", "").isalnum()
        lines.append(bare if setting or bare.startswith("[") else line)
    return "\n".join(lines)


def _with_exif() -> bytes:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769).update({0x9003: "2026:06:01 12:00:00", 0x9011: "+02:00", 0x9291: "12"})
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 1.5), 3: "E", 4: (13.0, 24.0, 0.0)})
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()
