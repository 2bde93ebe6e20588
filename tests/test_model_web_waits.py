"""What one request to a web server waits for, and for how long: looks at it move the clock."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading

import certificates
import pytest
from servers import Scripted, answer

from edge.config import Update
from edge.errors import StoppedError
from edge.updates.download_pace import BrokenError, Pace
from edge.updates.http_get import Web
from edge.updates.server_access import Access

LONG = 10_000.0
MUCH = 8_000_000
"""More bytes than a connection takes that nobody reads from."""


class Looks:
    """A clock that goes on by a second with each look at the pace while `running` says so.

    However slow the machine is: what is waited for without end takes its seconds, and no more.
    """

    def __init__(self, running=lambda: True):
        self.seconds, self._running = 0.0, running

    def look(self):
        """Do not stop."""
        self.seconds += self._running()
        return False

    def web(self, timeout, ca=None):
        """A client that goes by this clock; its servers may be silent for `timeout` seconds."""
        limits = Update(timeout_seconds=timeout, download_seconds=LONG)
        return Web(Access(limits), Pace(limits, self.look, now=lambda: self.seconds), timeout, ca)


def ask(web, url, **headers):
    """What the answer says."""
    with web.get(url, headers) as reply:
        return reply.read()


@pytest.fixture
def short(monkeypatch):
    """Have looks come fast."""
    monkeypatch.setattr("edge.updates.http_get.STEP_SECONDS", 0.01)


@pytest.fixture
def hanging(monkeypatch):
    """Have names be looked up in vain until the test is over."""
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(60) and [])
    yield
    over.set()


@pytest.mark.usefixtures("short", "hanging")
def test_a_name_takes_no_longer_than_its_seconds():
    """The program could end meanwhile."""
    looks = Looks()
    with pytest.raises(BrokenError, match=r"looking models\.example up took longer than 3 s"):
        ask(looks.web(3.0), "https://models.example/a")
    assert looks.seconds == 3
    assert {one.daemon for one in threading.enumerate() if one.name == "names"} == {True}


@pytest.mark.usefixtures("short", "hanging")
def test_a_stop_is_seen_while_a_name_is_looked_up():
    """It is not asked for again and again first."""
    looks = iter([False] * 3)
    pace = Pace(Update(download_seconds=LONG), lambda: next(looks, True))
    with pytest.raises(StoppedError):
        ask(Web(Access(Update()), pace, LONG), "https://models.example/a")


def test_a_stop_counts_more_than_what_fails_then(monkeypatch):
    """As it may come of the stop."""
    looked, failed = threading.Event(), threading.Event()

    def stop():
        stopped = failed.is_set()
        looked.set()
        return stopped

    def fail(*_, **__):
        looked.clear()
        assert looked.wait(20)
        failed.set()
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    pace = Pace(Update(download_seconds=LONG), stop)
    with pytest.raises(StoppedError):
        ask(Web(Access(Update()), pace, LONG), "https://models.example/a")


@pytest.mark.usefixtures("short")
def test_all_addresses_of_a_name_together_take_no_longer_than_one_would(monkeypatch):
    """None of them answers; the last is told."""
    looking = []

    def found(*_, **__):
        looking.append(threading.current_thread())
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)] * 4

    with contextlib.ExitStack() as stack:
        hangs = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = hangs.getsockname()
        stack.enter_context(socket.create_connection(address))  # all that it has room for
        monkeypatch.setattr(socket, "getaddrinfo", found)
        looks = Looks(lambda: bool(looking) and not looking[0].is_alive())
        with pytest.raises(BrokenError, match=r"connecting to 127\.0\.0\.1 took longer than 2 s"):
            ask(looks.web(8.0), f"http://localhost:{address[1]}/a")
    assert 8 <= looks.seconds <= 9, "one look may be at the name still"


@pytest.mark.usefixtures("short")
def test_tls_takes_no_longer_than_its_seconds():
    """A server that never answers in it."""
    with Scripted(lambda _: server.silence(), hears=False) as server:
        url = server.url.replace("http:", "https:")
        looks = Looks(lambda: bool(server.asked))
        with pytest.raises(BrokenError, match="TLS took longer than 3 s"):
            ask(looks.web(3.0), url)


@pytest.mark.usefixtures("short")
def test_a_server_that_takes_no_request_is_left():
    """After its seconds without a byte."""
    with Scripted(lambda _: server.silence(), hears=False) as server:
        looks = Looks(lambda: bool(server.asked))
        with pytest.raises(BrokenError, match="30 s without a byte"):
            ask(looks.web(30.0), server.url, much="x" * MUCH)


@pytest.mark.usefixtures("short")
def test_a_server_that_takes_a_request_late_gets_all_of_it():
    """What did not fit at once follows."""
    late, number, taken = threading.Event(), itertools.count(), bytearray()
    much = "0123456789" * (MUCH // 10)

    def stop():
        if next(number) == 10:
            late.set()
        return False

    def serve(listening):
        connection, _ = listening.accept()
        with connection:
            assert late.wait(20)
            while not taken.endswith(b"\r\n\r\n"):
                taken.extend(connection.recv(1 << 20))
            connection.sendall(answer(b"there"))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=[listening], daemon=True)
        thread.start()
        limits = Update(download_seconds=LONG)
        web = Web(Access(limits), Pace(limits, stop, now=lambda: 0.0), LONG)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/a"
        assert ask(web, url, much=much) == b"there"
        thread.join(20)
    assert b"\r\nmuch: %s\r\n" % much.encode() in taken


@pytest.mark.parametrize("safe", [False, True])
@pytest.mark.parametrize("hears", [False, True])
def test_it_is_looked_now_and_then_only(safe, hears, tmp_path):
    """At a server that does not take the request, though it says something, or does not answer."""
    ca, context = certificates.server(tmp_path / "certificates")
    number = itertools.count()
    limits = Update(timeout_seconds=0.4)

    def script(_):
        yield b"" if hears else b"busy"
        yield from server.silence()

    with Scripted(script, context if safe else None, hears=hears) as server:
        web = Web(Access(limits), Pace(limits, lambda: next(number) < 0), LONG, ca)
        with pytest.raises(BrokenError, match=r"0\.4 s without a byte"):
            ask(web, server.url, much="" if hears else "x" * MUCH)
    assert next(number) < 100
