"""A download, attempt by attempt: what is asked, waited for, kept, given up, and how it is told."""

from __future__ import annotations

import hashlib
import json
import os
from http.client import HTTPResponse

import msgspec
import pytest
from downloads import DATA, LIMITS, REST, START, get, names
from servers import Scripted, answer

from edge.errors import DownloadError, StoreError, UnreachableError
from edge.updates.fetch import Source, check_source, forget

SHA256 = hashlib.sha256(DATA).hexdigest()


def test_what_is_asked(tmp_path):
    """The whole, unpacked; then the rest, as long as it is of the same."""
    answers = iter([START, answer(DATA[1000:], "206 Part", Content_Range=REST, ETag='"a"')])
    with Scripted(lambda _: [next(answers)]) as server:
        assert get(server, tmp_path) == DATA
        host = f"127.0.0.1:{server.port}"
        head = [b"GET /new.wtr HTTP/1.1", f"Host: {host}".encode(), b"Accept-Encoding: identity"]
        first, second = (set(one.rstrip().split(b"\r\n")) for one in server.asked)
    assert first == {*head, b"User-Agent: wheatear"}
    assert second == first | {b"Range: bytes=1000-", b'If-Range: "a"'}
    assert names(tmp_path) == ["url.json", "url.part"]
    facts = json.loads((tmp_path / "url.json").read_bytes())
    assert (facts["validator"], facts["total"]) == ('"a"', len(DATA))
    assert server.url not in (tmp_path / "url.json").read_text()


def test_with_a_hash_the_rest_is_asked_for_without_more(tmp_path):
    """What comes is held against it later."""
    answers = iter(
        [
            answer(DATA[:1000], length=len(DATA)),
            answer(DATA[1000:], "206 Part", Content_Range=REST),
        ]
    )
    with Scripted(lambda _: [next(answers)]) as server:
        assert get(server, tmp_path, sha256=SHA256) == DATA
        assert b"Range: bytes=1000-" in server.asked[1]
        assert b"If-Range" not in server.asked[1]


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": '"' + "x" * 198 + '"'},
        {"ETag": 'W/"a"', "Last_Modified": "Thu, 01 Jan 2026 00:00:00 GMT"},
        {"Last_Modified": "Thu, 01 Jan 2026 00:00:00 GMT"},
    ],
)
def test_what_tells_one_content_from_another_is_sent_back(headers, tmp_path):
    """A strong tag of two hundred characters at most, else the date."""
    answers = iter(
        [
            answer(DATA[:1000], length=len(DATA), **headers),
            answer(DATA[1000:], "206 Part", Content_Range=REST, **headers),
        ]
    )
    expected = headers.get("Last_Modified") or headers["ETag"]
    with Scripted(lambda _: [next(answers)]) as server:
        assert get(server, tmp_path) == DATA
        assert f"If-Range: {expected}\r\n".encode() in server.asked[1]


def test_a_tag_that_is_too_long_is_not_sent_back(tmp_path):
    """Nothing is joined then."""
    answers = iter([answer(DATA[:9], length=len(DATA), ETag="x" * 201), answer(DATA)])
    with Scripted(lambda _: [next(answers)]) as server:
        assert get(server, tmp_path) == DATA
        assert b"Range" not in server.asked[1]


def test_what_is_here_of_another_address_is_dropped(tmp_path):
    """Of another hash or size, too; facts that cannot be read are none."""
    with Scripted(lambda _: [START]) as server, pytest.raises(UnreachableError):
        get(server, tmp_path, msgspec.structs.replace(LIMITS, attempts=1), sha256="0" * 64)
    assert (tmp_path / "url.part").stat().st_size == 1000
    for damage in (None, b"{"):
        if damage is not None:
            (tmp_path / "url.part").write_bytes(DATA[:1000])
            (tmp_path / "url.json").write_bytes(damage)
        with Scripted(lambda _: [answer(DATA)]) as server:
            assert get(server, tmp_path, sha256=SHA256) == DATA
            assert b"Range" not in server.asked[0]
            assert len(server.asked) == 1


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
def test_a_size_that_was_asked_for_is_held(size, tmp_path):
    """Where the server tells one, and where it does not."""
    with Scripted(lambda _: [answer(DATA)]) as server:
        said = rf"has {len(DATA)} bytes; {size} were asked for"
        with pytest.raises(UnreachableError, match=said):
            get(server, tmp_path, size=size)
        assert names(tmp_path) == []
    with Scripted(lambda _: [answer(DATA)]) as server:
        assert get(server, tmp_path, size=len(DATA)) == DATA


def untold(data):
    """An answer that ends with its connection."""
    return b"HTTP/1.1 200 OK\r\n\r\n" + data


def test_an_answer_without_a_size_has_no_more_than_was_asked_for(tmp_path):
    """Up to that it is taken."""
    with Scripted(lambda _: [untold(DATA)]) as server:
        assert get(server, tmp_path, size=len(DATA)) == DATA
    forget(tmp_path)
    with (
        Scripted(lambda _: [untold(DATA)]) as server,
        pytest.raises(DownloadError, match=f"sends more than {len(DATA) - 1} bytes"),
    ):
        get(server, tmp_path, size=len(DATA) - 1)


def test_nothing_is_larger_than_a_bundle(tmp_path, monkeypatch):
    """Neither what is announced nor what comes; exactly as large is taken."""
    monkeypatch.setattr("edge.updates.fetch.MAX_BUNDLE_BYTES", len(DATA))
    with Scripted(lambda _: [answer(DATA)]) as server:
        assert get(server, tmp_path) == DATA
        forget(tmp_path)
        check_source(Source(url=server.url, size=len(DATA)), LIMITS)
        with pytest.raises(DownloadError, match=f"a bundle has {len(DATA)} at most"):
            check_source(Source(url=server.url, size=len(DATA) + 1), LIMITS)
    with (
        Scripted(lambda _: [answer(DATA + b"x")]) as server,
        pytest.raises(UnreachableError, match=f"{len(DATA)} are the limit"),
    ):
        get(server, tmp_path)
    with (
        Scripted(lambda _: [untold(DATA + b"x")]) as server,
        pytest.raises(DownloadError, match=f"sends more than {len(DATA)} bytes"),
    ):
        get(server, tmp_path)


def test_how_far_it_is_is_told_with_each_piece(tmp_path):
    """From where it went on, up to the whole."""
    answers = iter([START, answer(DATA[1000:], "206 Part", Content_Range=REST, ETag='"a"')])
    told = []
    with Scripted(lambda _: [next(answers)]) as server:
        get(server, tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told[0] == (1000, len(DATA))
    assert told[-1] == (len(DATA), len(DATA))
    assert {total for _, total in told} == {len(DATA)}
    assert sorted(told) == told


def test_the_first_bytes_tell_a_bundle_however_they_come(tmp_path):
    """One by one; what is shorter than them is none."""
    pieces = [answer(b"", length=len(DATA)), *(DATA[i : i + 1] for i in range(4)), DATA[4:]]
    with Scripted(lambda _: pieces) as server:
        assert get(server, tmp_path) == DATA
    forget(tmp_path)
    with (
        Scripted(lambda _: [answer(b"PK\x03", Content_Type="text/x")]) as server,
        pytest.raises(UnreachableError, match=r"what comes is not a bundle \(text/x\)"),
    ):
        get(server, tmp_path)


def test_bytes_that_come_one_by_one_are_on_disk_as_they_are_told(tmp_path, monkeypatch):
    """But for the first four, which tell that it is a bundle; never more than 64 KiB at once."""
    real, asked = HTTPResponse.read1, []

    def read1(self, most=-1):
        asked.append(most)
        return real(self, 1 if len(asked) <= 7 else most)

    monkeypatch.setattr(HTTPResponse, "read1", read1)
    part, seen = tmp_path / "url.part", []
    with Scripted(lambda _: [answer(DATA)]) as server:
        get(server, tmp_path, progress=lambda done, _: seen.append((done, part.stat().st_size)))
    assert seen[:4] == [(4, 4), (5, 5), (6, 6), (7, 7)]
    assert seen[-1] == (len(DATA), len(DATA))
    assert set(asked) == {64 << 10}


def test_a_disk_that_refuses_is_told(tmp_path):
    """What cannot be removed, and what cannot be written."""
    (tmp_path / "url.part").mkdir()
    with Scripted(lambda _: [answer(DATA)]) as server:
        with pytest.raises(StoreError, match=r"cannot remove .*url\.part: Is a directory"):
            get(server, tmp_path)
        (tmp_path / "url.part").rmdir()
        (tmp_path / "url.json.new").mkdir()
        with pytest.raises(StoreError, match=r"cannot write .*url\.json: .*; make room"):
            get(server, tmp_path)
        assert not (tmp_path / "url.part").exists()


def test_what_has_come_is_forgotten(tmp_path):
    """All of it, and nothing else."""
    for name in ("url.json", "url.json.new", "url.part", "upload.part"):
        (tmp_path / name).write_bytes(b"x")
    forget(tmp_path)
    assert names(tmp_path) == ["upload.part"]
    forget(tmp_path)


def test_what_may_not_be_fetched_is_not_asked_for(tmp_path):
    """Neither by its address nor by its size."""
    with pytest.raises(UnreachableError, match="only http and https"):
        check_source(Source(url="ftp://models.example/a"), LIMITS)
    with (
        Scripted(lambda _: [answer(DATA)]) as server,
        pytest.raises(DownloadError, match="a bundle has"),
    ):
        get(server, tmp_path, size=10**12)
    assert server.asked == []


def test_a_download_that_is_refused_later_leaves_nothing(tmp_path):
    """What had come is of no use to anybody."""
    answers = iter([START, answer(b"", "410 Gone")])
    with Scripted(lambda _: [next(answers)]) as server, pytest.raises(UnreachableError):
        get(server, tmp_path)
    assert names(tmp_path) == []


def test_what_is_whole_and_may_be_another_by_now_is_asked_for_again(tmp_path):
    """Nothing tells it from what the server has."""
    with Scripted(lambda _: [answer(DATA)]) as server:
        assert get(server, tmp_path) == get(server, tmp_path) == DATA
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (answer(DATA, Content_Encoding="gzip"), r"comes compressed \('gzip'\)"),
        (answer(b""), "nothing came; 3 attempts"),
        (untold(b""), "nothing came; 3 attempts"),
    ],
)
def test_what_is_no_bundle_is_refused(given, said, tmp_path):
    """Packed, though that was not asked for; empty."""
    with Scripted(lambda _: [given]) as server, pytest.raises(UnreachableError, match=said):
        get(server, tmp_path)


def test_what_has_come_is_on_disk(tmp_path, monkeypatch):
    """Piece by piece as it is told, and synced at the end."""
    part, synced, real = tmp_path / "url.part", {}, os.fsync

    def fsync(fd):
        path = os.readlink(f"/proc/self/fd/{fd}")
        synced[path] = os.fstat(fd).st_size
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    seen = []
    with Scripted(lambda _: [answer(DATA)]) as server:
        get(server, tmp_path, progress=lambda done, _: seen.append(part.stat().st_size == done))
    assert all(seen)
    assert synced[str(part)] == len(DATA)
