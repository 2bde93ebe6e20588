"""Bundles from a web server that breaks off, ignores ranges, changes its file, leads elsewhere."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from downloads import DATA, LIMITS
from servers import Scripted, answer

from edge.errors import DownloadError, StoppedError
from edge.updates.fetch import Source, fetch


class Server(ThreadingHTTPServer):
    """Serves DATA well, until told otherwise."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.data = DATA
        self.next_data: bytes | None = None
        self.asked: list[str | None] = []
        self.ranges = self.tags = True
        self.breaks, self.breaks_after, self.leads_to, self.refuses = 0, 20_000, "", 0
        self.url = f"http://127.0.0.1:{self.server_port}/new.wtr"


class Handler(BaseHTTPRequestHandler):
    """Serves the server's data as its switches say."""

    server: Server

    def do_GET(self):
        """Answer, perhaps with a part, perhaps not to the end."""
        self.server.asked.append(self.headers.get("Range"))
        if self.server.leads_to or self.server.refuses:
            self.send_response(302 if self.server.leads_to else self.server.refuses)
            self.send_header("Location", self.server.leads_to)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data, start = self.server.data, 0
        tag = f'"{hashlib.sha256(data).hexdigest()[:8]}"'
        asked, same = self.headers.get("Range"), self.headers.get("If-Range") in (None, tag)
        if asked and same and self.server.ranges:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if self.server.tags:
            self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        end = min(len(data), start + self.server.breaks_after) if self.server.breaks else len(data)
        # Before the last byte is out: the test may go on, and set these anew, once it has it.
        self.server.breaks -= 1 if self.server.breaks else 0
        if self.server.next_data is not None:
            self.server.data, self.server.next_data = self.server.next_data, None
        self.wfile.write(data[start:end])

    def log_message(self, *_):
        """Log nothing."""


@pytest.fixture
def server():
    """A web server on the loopback that serves DATA well."""
    made = Server()
    thread = threading.Thread(target=made.serve_forever, args=[0.01])
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def get(server, folder, **options):
    """Fetch without pauses."""
    source = Source(url=server.url, **options)
    return fetch(source, folder, LIMITS, wait=lambda _: None).read_bytes()


def test_a_download_goes_on_where_it_broke_off(server, tmp_path):
    """Fourteen breaks, no byte fetched twice."""
    server.breaks = 14
    assert get(server, tmp_path) == DATA
    assert server.asked == [None, *[f"bytes={20_000 * n}-" for n in range(1, 15)]]


def test_a_server_that_ignores_ranges_is_read_from_the_start(server, tmp_path):
    """The whole comes, and replaces what was there."""
    server.breaks, server.ranges = 2, False
    assert get(server, tmp_path) == DATA


@pytest.mark.parametrize("size", [len(DATA), 100, 500_000])
def test_a_file_that_changes_midway_is_fetched_whole(server, tmp_path, size):
    """Never half of one and half of the other."""
    server.breaks, server.next_data = 1, DATA[:4] + random.Random(4).randbytes(size - 4)
    changed = server.next_data
    assert get(server, tmp_path) == changed


def test_without_a_validator_nothing_is_joined_unless_the_hash_is_known(server, tmp_path):
    """No ETag, no date: the download begins again; with a hash it goes on."""
    server.breaks, server.tags = 1, False
    assert get(server, tmp_path) == DATA
    assert server.asked == [None, None]
    server.breaks, server.asked = 1, []
    assert get(server, tmp_path, sha256=hashlib.sha256(DATA).hexdigest()) == DATA
    assert server.asked == [None, "bytes=20000-"]


def test_another_run_goes_on_with_what_is_on_disk(server, tmp_path):
    """After a stop in the middle."""
    server.breaks = 1
    part = tmp_path / "url.part"
    with pytest.raises(StoppedError):
        fetch(
            Source(url=server.url),
            tmp_path,
            LIMITS,
            stop=lambda: part.exists() and part.stat().st_size > 0,
            wait=lambda _: None,
        )
    here = part.stat().st_size
    server.asked.clear()
    assert get(server, tmp_path) == DATA
    assert server.asked == [f"bytes={here}-"]


def test_what_is_here_outlives_a_want_of_descriptors(server, tmp_path, monkeypatch):
    """While nobody knows what the bytes on disk are, they stay, and the next attempt asks again."""
    server.breaks = 1
    part, real, refused = tmp_path / "url.part", os.open, list[object]()
    with pytest.raises(StoppedError):
        fetch(Source(url=server.url), tmp_path, LIMITS, stop=part.exists, wait=lambda _: None)
    here = part.stat().st_size
    server.asked.clear()

    def short(path, *arguments, **options):
        if Path(path).name == "url.json" and len(refused) < 2:
            refused.append(path)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", short)
    assert get(server, tmp_path) == DATA
    assert len(refused) == 2
    assert server.asked == [f"bytes={here}-"]


def test_attempts_that_bring_nothing_are_given_up(server, tmp_path):
    """Three in a row, each told by what went wrong."""
    server.breaks, server.breaks_after = 100, 0
    with pytest.raises(DownloadError, match="3 attempts in a row"):
        get(server, tmp_path)
    assert len(server.asked) == 3


def test_refusals_and_other_schemes_are_final(server, tmp_path):
    """404, a redirect to a file, ftp, a size that is not the one announced: one request each."""
    server.refuses = 404
    with pytest.raises(DownloadError, match="404"):
        get(server, tmp_path)
    server.leads_to = "file:///etc/passwd"
    with pytest.raises(DownloadError, match=r"redirects to what is refused.*only http and https"):
        get(server, tmp_path)
    server.leads_to, server.refuses = "", 0
    with pytest.raises(DownloadError, match="5 were asked for"):
        get(server, tmp_path, size=5)
    assert len(server.asked) == 3
    with pytest.raises(DownloadError, match="only http and https"):
        fetch(Source(url="ftp://127.0.0.1/x"), tmp_path, LIMITS)


@pytest.mark.parametrize("tag", ['"\u00e9"', '"' + "x" * 300 + '"', '"a\tb"', 'W/"weak"'])
def test_an_etag_that_cannot_be_sent_back_joins_nothing(tag, tmp_path):
    """The download begins again, and is not wedged by it."""
    pieces = iter([DATA[:1000]])

    def script(_):
        return [answer(next(pieces, DATA), length=len(DATA), ETag=tag)]

    with Scripted(script) as server:
        assert get(server, tmp_path) == DATA
    assert not any(b"If-Range" in one or b"Range" in one for one in server.asked)


@pytest.mark.parametrize(
    "part",
    [
        "bytes 5-298999/300000",
        "bytes 1000-299999/300001",
        "bytes 1000-299999",
        "1000-299999/300000",
        "",
    ],
)
def test_another_part_than_was_asked_for_is_never_joined(part, tmp_path):
    """What is here is dropped, and the whole fetched."""
    answers = iter(
        [
            answer(DATA[:1000], length=len(DATA), ETag='"a"'),
            answer(DATA[:-1000], "206 Partial Content", Content_Range=part, ETag='"a"'),
        ]
    )
    with Scripted(lambda _: [next(answers, answer(DATA))]) as server:
        assert get(server, tmp_path) == DATA
    assert [b"Range:" in one for one in server.asked] == [False, True, False]


def test_a_part_without_the_size_of_the_whole_is_joined(tmp_path):
    """A server need not know how long the file is."""
    answers = iter(
        [
            answer(DATA[:1000], length=len(DATA), ETag='"a"'),
            answer(DATA[1000:], "206 Partial", Content_Range="bytes 1000-299999/*", ETag='"a"'),
        ]
    )
    with Scripted(lambda _: [next(answers)]) as server:
        assert get(server, tmp_path) == DATA


def test_what_is_here_whole_is_not_asked_for_again(tmp_path):
    """After a power cut between the download and the proof."""
    with Scripted(lambda _: [answer(DATA, ETag='"a"')]) as server:
        assert get(server, tmp_path) == get(server, tmp_path) == DATA
    assert len(server.asked) == 1


def test_a_file_that_changes_all_the_time_is_given_up(tmp_path):
    """Also where each attempt gets a little further than all before."""
    pieces = iter(range(1000, len(DATA), 1000))

    def script(_):
        size = next(pieces)
        return [answer(DATA[:size], length=len(DATA), ETag=f'"{size}"')]

    with Scripted(script) as server, pytest.raises(DownloadError):
        get(server, tmp_path)
    assert len(server.asked) == LIMITS.attempts + 2


def test_a_range_that_is_no_more_begins_the_download_anew(tmp_path):
    """416: the file became shorter than what is here."""
    answers = iter(
        [
            answer(DATA[:1000], length=len(DATA), ETag='"a"'),
            answer(b"", "416 Range Not Satisfiable"),
            answer(DATA[:500], ETag='"b"'),
        ]
    )
    with Scripted(lambda _: [next(answers)]) as server:
        assert get(server, tmp_path) == DATA[:500]
    assert [b"Range:" in one for one in server.asked] == [False, True, False]
