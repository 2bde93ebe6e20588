"""One request to a web server: where it leads, what it is told, what is too long."""

from __future__ import annotations

import itertools
import socket
import threading

import certificates
import msgspec
import pytest
from downloads import DATA
from servers import Scripted, answer, nobody

from edge.config import Update
from edge.errors import ConfigError, UnreachableError
from edge.updates.fetch import Source, fetch

LIMITS = Update(timeout_seconds=60.0, attempts=1)


def get(url, folder, limits=LIMITS, **options):
    """Fetch at once."""
    return fetch(Source(url=url), folder, limits, wait=lambda _: None, **options).read_bytes()


def head_of(size, length):
    """The head of an answer, of so many bytes, for a body of `length` bytes."""
    fields = {f"X-{i}": "y" * 990 for i in range(size // 1000 - 1)}
    short = answer(b"", length=length, X="", **fields)
    return answer(b"", length=length, X="y" * (size - len(short)), **fields)


@pytest.mark.parametrize(("leads", "good"), [(5, True), (6, False)])
def test_five_redirects_are_followed(leads, good, tmp_path):
    """One after the other, each to another place on the server; the sixth is one too many."""

    def script(request):
        number = int(request.split()[1].rpartition(b"=")[2] or 0)
        if number < leads:
            return [answer(b"", "302 Found", Location=f"/a?n={number + 1}")]
        return [answer(DATA)]

    with Scripted(script) as server:
        url = f"http://127.0.0.1:{server.port}/a?n=0"
        if good:
            assert get(url, tmp_path) == DATA
        else:
            with pytest.raises(UnreachableError, match="redirects more than 5 times"):
                get(url, tmp_path)
        assert len(server.asked) == 6


def test_a_usual_port_is_not_told(tmp_path, monkeypatch):
    """As browsers do: some servers know themselves by their plain name only."""
    with Scripted(lambda _: [answer(DATA)]) as server:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert get("http://localhost/a", tmp_path) == DATA
        assert b"\r\nHost: localhost\r\n" in server.asked[0]


def test_nor_is_that_of_https(tmp_path, monkeypatch):
    """It has one of its own."""
    ca, context = certificates.server(tmp_path / "certificates")
    with Scripted(lambda _: [answer(DATA)], context) as server:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        limits = msgspec.structs.replace(LIMITS, ca=ca)
        assert get("https://127.0.0.1/a", tmp_path, limits) == DATA
        assert b"\r\nHost: 127.0.0.1\r\n" in server.asked[0]


def test_a_name_that_is_not_known_is_said(tmp_path, monkeypatch):
    """As the system says it, or as it could not even be asked for."""
    for error in (socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long")):

        def fail(*_arguments, error=error, **_options):
            raise error

        monkeypatch.setattr(socket, "getaddrinfo", fail)
        with pytest.raises(UnreachableError, match=r"OSError: .*(not known|too long)"):
            get("https://models.example/a", tmp_path)


def test_a_server_that_is_not_there_is_said(tmp_path):
    """With its address; all that it stands for are tried."""
    with (
        nobody() as port,
        pytest.raises(UnreachableError, match=r"connecting to 127\.\S+ failed"),
    ):
        get(f"http://127.0.0.1:{port}/a", tmp_path)


def test_an_authority_that_is_none_is_said(tmp_path):
    """With its setting."""
    (tmp_path / "ca.pem").write_text("nothing")
    with (
        Scripted(lambda _: []) as server,
        pytest.raises(ConfigError, match=r"model\.update\.ca: .* holds no certificate authority"),
    ):
        get(
            server.url.replace("http:", "https:"),
            tmp_path,
            Update(attempts=1, ca=tmp_path / "ca.pem"),
        )


def test_a_head_has_an_end(tmp_path):
    """64 kB of it are enough; whatever comes in the room of the body is the body's."""
    with Scripted(lambda _: [head_of(65_536, len(DATA)) + DATA]) as server:
        assert get(server.url, tmp_path) == DATA


def test_a_head_is_not_too_long_for_how_it_comes(tmp_path):
    """What is read beyond it, as it comes along, counts for the body."""
    begun, read, looks = threading.Event(), threading.Event(), itertools.count()
    whole = head_of(60_000, len(DATA)) + DATA

    def script(_):
        yield whole[:1000]
        begun.set()
        read.wait(20)
        yield whole[1000:]

    def stop():
        if begun.is_set() and next(looks) == 2:
            read.set()
        return False

    with Scripted(script) as server:
        assert get(server.url, tmp_path, stop=stop) == DATA


@pytest.mark.parametrize("safe", [False, True])
def test_a_head_of_a_byte_more_is_too_much(safe, tmp_path):
    """Than the 64 kB that it may have."""
    ca, context = certificates.server(tmp_path / "certificates")
    with (
        Scripted(lambda _: [head_of(65_537, 0)], context if safe else None) as server,
        pytest.raises(UnreachableError, match="too much for an answer"),
    ):
        get(server.url, tmp_path, msgspec.structs.replace(LIMITS, ca=ca))
