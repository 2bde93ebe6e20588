"""Servers that hold a download up, in every way: it ends, is said, and leaves nothing behind."""

from __future__ import annotations

import itertools
import socket
import threading
import time

import msgspec
import pytest
from downloads import DATA
from servers import Scripted, answer

from edge.config import Update
from edge.errors import DownloadError, StoppedError, UnreachableError, UpdateExpiredError
from edge.updates.fetch import Source, fetch

QUICK = Update(
    timeout_seconds=0.4,
    attempts=2,
    least_bytes_per_second=1000.0,
    least_window_seconds=0.3,
    download_seconds=20.0,
)
PATIENT = msgspec.structs.replace(QUICK, attempts=1000, download_seconds=0.5)
HEAD = b"HTTP/1.1 200 OK\r\n"


def get(server, folder, limits=QUICK, **options):
    """Fetch without pauses."""
    source = Source(url=server.url, **options)
    return fetch(source, folder, limits, wait=lambda _: None).read_bytes()


def trickled_head(server):
    """Headers that never end, a byte at a time."""
    return lambda _: itertools.chain([HEAD], server().trickle(b"X"))


def trickled_body(server):
    """A body a byte at a time."""
    return lambda _: itertools.chain(
        [answer(b"", length=100_000), b"PK\x03\x04"], server().trickle(b"x")
    )


def trickled_chunks(server):
    """Chunks without an end, a byte each."""
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nPK\x03\x04\r\n"
    return lambda _: itertools.chain([head], server().trickle(b"1\r\nx\r\n"))


def trickled_trailers(server):
    """The whole, and then trailers without an end."""
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nPK\x03\x04\r\n0\r\n"
    return lambda _: itertools.chain([head], server().trickle(b"X: y\r\n"))


def silent(server):
    """A connection that nothing comes over."""
    return lambda _: server().silence()


def silent_body(server):
    """A body that stays away."""
    return lambda _: itertools.chain([answer(b"PK\x03\x04", length=9000)], server().silence())


def endless_continue(_server):
    """Answers that only promise another one."""
    return lambda _: itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n")


def endless_line(_server):
    """A status line without an end."""
    return lambda _: itertools.repeat(b"HTTP/1.1 200 " + b"O" * 9000)


def endless_trailers(_server):
    """Trailers without an end, at full speed."""
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nPK\x03\x04\r\n0\r\n"
    return lambda _: itertools.chain([head], itertools.repeat(b"X: " + b"y" * 9000 + b"\r\n"))


def unavailable(_server):
    """Asks to be left alone for ten years."""
    return lambda _: [answer(b"", "503 Later", Retry_After="315360000")]


def too_many(_server):
    """The same, politely."""
    return lambda _: [answer(b"", "429 Too Many", Retry_After="9" * 400)]


def redirects(_server):
    """Leads to itself for ever."""
    return lambda _: [answer(b"", "302 Found", Location="/again")]


def wrong_range(_server):
    """Sends half, and then another part than was asked for."""

    def script(request):
        if b"Range:" not in request:
            return [answer(DATA[:1000], length=len(DATA), ETag='"a"')]
        return [answer(DATA[5:], "206 Partial", Content_Range=f"bytes 5-{len(DATA) - 1}/300000")]

    return script


def longer_claim(_server):
    """Announces more than comes, also of the rest."""

    def script(request):
        if b"Range:" not in request:
            return [answer(DATA, length=len(DATA) + 9, ETag='"a"')]
        return [answer(b"", "206 Partial", 9, Content_Range="bytes 300000-300008/300009")]

    return script


def changing(_server):
    """Another file each time, and never whole."""
    count = itertools.count()
    return lambda _: [answer(DATA[:1000], length=len(DATA), ETag=f'"{next(count)}"')]


def html(_server):
    """A proxy that wants a login."""
    return lambda _: [answer(b"<html>log in</html>", Content_Type="text/html")]


def packed(_server):
    """Packed, though that was not asked for."""
    return lambda _: [answer(DATA, Content_Encoding="gzip")]


def no_http(_server):
    """Something else listens there."""
    return lambda _: [b"SSH-2.0-OpenSSH_9.2\r\n"]


def empty(_server):
    """Nothing in it."""
    return lambda _: [answer(b"")]


def slammed(_server):
    """Closes at once."""
    return lambda _: []


def partial(_server):
    """A part that nobody asked for."""
    return lambda _: [answer(DATA, "206 Partial", Content_Range="bytes 0-299999/300000")]


BAD = [
    trickled_head,
    trickled_body,
    trickled_chunks,
    trickled_trailers,
    silent,
    silent_body,
    endless_continue,
    endless_line,
    endless_trailers,
    unavailable,
    too_many,
    redirects,
    wrong_range,
    longer_claim,
    changing,
    html,
    packed,
    no_http,
    empty,
    slammed,
    partial,
]


@pytest.mark.parametrize("kind", BAD, ids=lambda kind: kind.__name__)
def test_a_server_that_holds_a_download_up_is_given_up(kind, tmp_path):
    """After so many attempts, and not only at the end of all patience."""
    made: list[Scripted] = []
    with Scripted(kind(lambda: made[0])) as server:
        made.append(server)
        with pytest.raises(DownloadError):
            get(server, tmp_path)
        assert len(server.asked) <= 12


@pytest.mark.parametrize(
    "kind", [trickled_head, trickled_body, silent, unavailable, changing], ids=lambda k: k.__name__
)
@pytest.mark.parametrize("rate", [0.0, 1000.0])
def test_a_download_is_over_when_its_time_is(kind, rate, tmp_path):
    """Whatever the server does, and nothing of it stays."""
    limits = msgspec.structs.replace(PATIENT, least_bytes_per_second=rate)
    made: list[Scripted] = []
    with Scripted(kind(lambda: made[0])) as server:
        made.append(server)
        with pytest.raises(UpdateExpiredError, match=r"download_seconds = 0\.5"):
            fetch(Source(url=server.url), tmp_path, limits, wait=lambda _: time.sleep(0.01))
    assert not list(tmp_path.iterdir())


def test_seconds_of_earlier_runs_count(tmp_path):
    """A download that was taken up again and again has no more time than another."""
    with Scripted(lambda _: [answer(DATA)]) as server:
        with pytest.raises(UpdateExpiredError):
            fetch(Source(url=server.url), tmp_path, QUICK, spent=20.0)
        assert not server.asked
        assert fetch(Source(url=server.url), tmp_path, QUICK, spent=10.0).read_bytes() == DATA


@pytest.mark.parametrize("kind", [trickled_head, silent, silent_body], ids=lambda k: k.__name__)
def test_a_stop_does_not_wait_for_the_server(kind, tmp_path):
    """However long that may be silent."""
    limits = msgspec.structs.replace(QUICK, timeout_seconds=3600.0, least_window_seconds=3600.0)
    made: list[Scripted] = []
    with Scripted(kind(lambda: made[0])) as server:
        made.append(server)
        with pytest.raises(StoppedError):
            fetch(Source(url=server.url), tmp_path, limits, stop=lambda: bool(server.asked))


@pytest.mark.parametrize("stop", [True, False])
def test_a_handshake_that_stalls_is_given_up(stop, tmp_path):
    """TLS that is never answered: after its seconds, and at once where the device stops."""
    limits = msgspec.structs.replace(QUICK, timeout_seconds=3600.0 if stop else 0.4)
    made: list[Scripted] = []
    with Scripted(lambda _: made[0].silence(), hears=False) as server:
        made.append(server)
        server.url = server.url.replace("http:", "https:")
        with pytest.raises(StoppedError if stop else UnreachableError):
            fetch(
                Source(url=server.url),
                tmp_path,
                limits,
                stop=lambda: stop and bool(server.asked),
                wait=lambda _: None,
            )


@pytest.mark.parametrize("stop", [True, False])
def test_a_resolver_that_hangs_is_left_behind(stop, tmp_path, monkeypatch):
    """The name is looked up on a thread of its own."""
    hanging = threading.Event()
    asked = threading.Event()

    def hang(*_arguments, **_options):
        asked.set()
        hanging.wait()
        raise OSError("gone")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    limits = msgspec.structs.replace(QUICK, timeout_seconds=3600.0 if stop else 0.4)
    try:
        with pytest.raises(StoppedError if stop else UnreachableError):
            fetch(
                Source(url="https://models.example/a.wtr"),
                tmp_path,
                limits,
                stop=lambda: stop and asked.is_set(),
                wait=lambda _: None,
            )
    finally:
        hanging.set()


def test_a_server_that_asks_to_be_left_alone_is_for_a_while_only(tmp_path):
    """Ten years are five minutes; a few seconds are what they are."""
    answers = iter([("503 Later", "315360000"), ("429 Later", "40"), ("503 Later", "soon")])

    def script(_):
        status, after = next(answers, ("", ""))
        return [answer(b"", status, Retry_After=after) if status else answer(DATA)]

    with Scripted(script) as server:
        waited: list[float] = []
        limits = msgspec.structs.replace(QUICK, attempts=5)
        fetch(Source(url=server.url), tmp_path, limits, wait=waited.append)
    assert 342 <= sum(waited) <= 344.6  # 300, 40, and half to all of a backoff of 4


def test_a_shorter_claim_gives_what_was_claimed(tmp_path):
    """The rest belongs to no answer; the hash or the proof refuse what is missing."""
    with Scripted(lambda _: [answer(DATA, length=1000)]) as server:
        assert get(server, tmp_path) == DATA[:1000]


def test_a_download_given_up_can_be_gone_on_with(tmp_path):
    """What came stays for another try."""
    broken = [True]

    def script(request):
        if b"Range: bytes=1000-" in request:
            if broken[0]:
                return []
            rest = f"bytes 1000-{len(DATA) - 1}/{len(DATA)}"
            return [answer(DATA[1000:], "206 Partial", Content_Range=rest, ETag='"a"')]
        return [answer(DATA[:1000], length=len(DATA), ETag='"a"')]

    with Scripted(script) as server:
        with pytest.raises(DownloadError, match="2 attempts in a row"):
            get(server, tmp_path)
        broken[0] = False
        before = len(server.asked)
        assert get(server, tmp_path) == DATA
        assert len(server.asked) == before + 1
