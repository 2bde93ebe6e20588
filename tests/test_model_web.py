"""One request to a web server: where it leads, what it is told, what is too long."""

from __future__ import annotations

import socket
import threading

import pytest
from servers import Scripted, answer
from test_model_fetch import DATA

from edge.config import Update
from edge.errors import ConfigError, StoppedError, UnreachableError
from edge.updates.fetch import Source, fetch

LIMITS = Update(timeout_seconds=5.0, attempts=1)


def get(url, folder, limits=LIMITS, **options):
    """Fetch at once."""
    return fetch(Source(url=url), folder, limits, wait=lambda _: None, **options).read_bytes()


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
            with pytest.raises(UnreachableError, match="leads on and on, more than 5 times"):
                get(url, tmp_path)
        assert len(server.asked) == 6


def test_a_usual_port_is_not_told(tmp_path, monkeypatch):
    """As browsers do: some servers know themselves by their plain name only."""
    with Scripted(lambda _: [answer(DATA)]) as server:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert get("http://localhost/a", tmp_path) == DATA
        assert b"\r\nHost: localhost\r\n" in server.asked[0]


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
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(UnreachableError, match=r"connecting to 127\.0\.0\.1 failed"):
        get(f"http://127.0.0.1:{port}/a", tmp_path)


def test_a_name_takes_no_longer_than_its_seconds(tmp_path, monkeypatch):
    """And a stop is seen meanwhile."""
    hanging = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: hanging.wait(20) and [])
    monkeypatch.setattr("edge.updates.http_get.STEP_SECONDS", 0.01)
    limits = Update(timeout_seconds=0.03, attempts=1)
    try:
        said = r"looking models\.example up took longer than 0\.03 s"
        with pytest.raises(UnreachableError, match=said):
            get("https://models.example/a", tmp_path, limits)
        looks = iter([False] * 3)
        with pytest.raises(StoppedError):
            get("https://models.example/a", tmp_path, stop=lambda: next(looks, True))
    finally:
        hanging.set()


def test_tls_takes_no_longer_than_its_seconds(tmp_path):
    """A server that never answers in it."""
    with Scripted(lambda _: server.silence(), hears=False) as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(UnreachableError, match=r"TLS took longer than 0\.03 s"):
            get(url, tmp_path, Update(timeout_seconds=0.03, attempts=1))


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
    fields = {f"X-{i}": "y" * 1000 for i in range(60)}
    with Scripted(lambda _: [answer(DATA, **fields)]) as server:
        assert get(server.url, tmp_path) == DATA
