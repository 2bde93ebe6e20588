"""What a device tells web servers and requesters: no secret, and no more than they need."""

from __future__ import annotations

import base64
import json
import subprocess
import sys

import certificates
import msgspec
import pytest
from devices import photos
from downloads import DATA, LIMITS, SECRET, get_at, served
from servers import Scripted, answer, nobody
from test_model_updates import QUICK, broker, field  # noqa: F401 - fixtures
from test_models import Place, command

from edge.config import Update
from edge.errors import ConfigError, DownloadError, UnreachableError
from edge.text.url import parse, shown
from edge.updates.fetch import Source, fetch
from edge.updates.jobs import Job, public
from edge.updates.server_access import Access


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://models.example/a-1.0.wtr", "https://models.example/a-1.0.wtr"),
        ("https://u:hunter2@Models.example:8443/a.wtr?t=hunter2#hunter2", None),
        ("http://hunter2@127.0.0.1:80/a", "http://127.0.0.1/a"),
        ("https://models.example/a;s=hunter2", "https://models.example/a"),
        ("https://[::1]:1/a?hunter2", "https://[::1]:1/a"),
        ("https://u:12/hunter2@models.example/a", "https://u:12/..."),
        ("https://u:hunter2/x@models.example/a", "the address"),
        ("https://models.example/a?hunter2\n", "the address"),
        ("ftp://u:hunter2@models.example/a", "the address"),
        ("data:hunter2", "the address"),
        ("https://[hunter2/a", "the address"),
        ("https://models.example./a", "https://models.example/a"),
        ("https://models.example", "https://models.example/"),
    ],
)
def test_no_secret_of_an_address_is_shown(url, expected):
    """User, password, query, fragment; what cannot be taken apart is not shown at all."""
    assert shown(url) == (expected or "https://models.example:8443/a.wtr")


def test_a_long_address_is_cut():
    """Two hundred characters tell enough."""
    assert shown("https://models.example/" + "a" * 178).endswith("aaa...")
    assert shown("https://models.example/" + "a" * 177).endswith("aaaaaa")


@pytest.fixture
def secure(tmp_path):
    """Certificates, and what makes a server of them."""
    return certificates.server(tmp_path / "certificates")


def test_a_token_goes_to_its_hosts_only(tmp_path, secure):
    """Over https, and along no redirect, not even to another server that would get it itself."""
    ca, context = secure
    (tmp_path / "token").write_text(f"{SECRET}\n")
    with (
        Scripted(served, context) as last,
        Scripted(lambda _: [answer(b"", "302 Found", Location=last.url)], context) as first,
    ):
        hosts = tuple(f"127.0.0.1:{one.port}" for one in (first, last))
        settings = {"ca": ca, "token_file": tmp_path / "token", "hosts": hosts}
        assert get_at(first.url, tmp_path, **settings) == DATA
        assert get_at(last.url, tmp_path, **settings) == DATA
        assert get_at(last.url, tmp_path, **settings, login_hosts=hosts[:1]) == DATA
    header = f"Authorization: Bearer {SECRET}\r\n".encode()
    assert [header in request for request in first.asked] == [True]
    assert [header in request for request in last.asked] == [False, True, False]


def test_a_server_of_another_authority_gets_nothing(tmp_path, secure):
    """Its certificate is checked before anything is sent; https never leads to http."""
    ca, context = secure
    with Scripted(served, context) as server:
        for other in (ca.with_name("stranger.pem"), None):
            with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
                get_at(server.url, tmp_path, ca=other)
        assert server.asked == []
        with pytest.raises(ConfigError, match=r"model\.update\.ca: .*none\.pem"):
            get_at(server.url, tmp_path, ca=ca.with_name("none.pem"))
        assert get_at(server.url, tmp_path, ca=ca) == DATA
    with (
        Scripted(served) as plain,
        Scripted(lambda _: [answer(b"", "302 Found", Location=plain.url)], context) as server,
        pytest.raises(UnreachableError, match="over plain http"),
    ):
        get_at(server.url, tmp_path, ca=ca)


def test_a_password_comes_from_its_file(tmp_path):
    """Basic, in UTF-8; an empty or missing file is an error with the setting's name."""
    file = tmp_path / "password"
    file.write_text("p\u00e4ss\nsecond line", "utf-8")
    with Scripted(served) as server:
        settings = {"username": "cam", "password_file": file}
        settings["hosts"] = (f"127.0.0.1:{server.port}",)
        get_at(server.url, tmp_path, **settings)
        login = base64.b64encode("cam:p\u00e4ss".encode())
        assert b"Authorization: Basic " + login in server.asked[0]
        file.write_text("\n")
        with pytest.raises(ConfigError, match=r"password_file: the first line .* write one"):
            get_at(server.url, tmp_path, **settings)
        file.unlink()
        with pytest.raises(ConfigError, match="cannot read"):
            get_at(server.url, tmp_path, **settings)


def test_the_check_of_a_device_tells_of_a_secret_that_is_missing(tmp_path):
    """Before the first update asks for it."""
    file = tmp_path / "password"
    settings = f'username = "cam"\npassword_file = "{file}"\nhosts = ["models.example"]'
    place = Place(tmp_path, f"[model.update]\n{settings}")
    photos(tmp_path / "photos", 1)
    check = [sys.executable, "-m", "edge", "check", "--config", str(place.path)]
    told = subprocess.run(check, capture_output=True, text=True, check=False, timeout=60)
    assert "model.update.password_file: cannot read" in told.stdout + told.stderr
    file.write_text(SECRET)
    told = subprocess.run(check, capture_output=True, text=True, check=False, timeout=60)
    assert "model.update" not in told.stdout + told.stderr
    assert SECRET not in told.stdout + told.stderr


def test_no_password_goes_in_the_clear_over_a_network():
    """Not even where plain http is allowed."""
    access = Access(Update(plain_http=True))
    plain, safe = parse("http://u:p@models.example/"), parse("https://u:p@models.example/")
    assert access.login(plain, plain) is None
    assert access.login(safe, safe) == "Basic dTpw"


def test_a_requester_does_not_learn_what_listens_where(tmp_path):
    """Closed, silent, no web server, no such file, something else there: one sentence."""
    texts = set()

    def why(url, **options):
        with pytest.raises(DownloadError) as told:
            fetch(
                Source(url=url, **options),
                tmp_path,
                msgspec.structs.replace(LIMITS, timeout_seconds=0.2, attempts=1),
                wait=lambda _: None,
            )
        job = Job(update="u", source=Source(url=url), sha256=None, allow_downgrade=False)
        text = public(told.value, job)
        texts.add(text.replace(shown(url), "URL"))
        assert public(told.value, msgspec.structs.replace(job, source=None)) == str(told.value)

    with nobody() as port:
        why(f"http://127.0.0.1:{port}/a")
    for script in (
        lambda _: [answer(b"", "404 Not Found")],
        lambda _: [answer(b"", "401 Unauthorized")],
        lambda _: [answer(b"", "500 Broken")],
        lambda _: [answer(b"", "204 No Content")],
        lambda _: [answer(b"", "302 Found", Location="http://10.0.0.1/")],
        lambda _: [answer(b"{}", Content_Type="application/json")],
        lambda _: [b"SSH-2.0-OpenSSH_9.2\r\n"],
        lambda _: [],
        lambda _: server.silence(),  # noqa: B023  # the one that it is the script of
    ):
        server: Scripted
        with Scripted(script) as server:
            why(server.url)
            why(server.url.replace("http:", "https:"))
    with Scripted(lambda _: [answer(DATA)]) as server:
        why(server.url, size=5)
    assert len(texts) == 1
    assert "URL cannot be fetched" in texts.pop()


def test_no_secret_and_no_detail_leaves_the_device(field):  # noqa: F811
    """Whatever goes over MQTT, the log that is asked for, the local log, what stays on disk."""
    camera = field()
    camera.start()
    camera.sees_with("1")

    def script(request):
        if b"GET /there" in request:
            return [answer(b"", "404 Not Found")]
        return [answer(b"", "302 Found", Location=f"/there?{SECRET}")]

    with Scripted(script) as server:
        url = f"http://u:{SECRET}@127.0.0.1:{server.port}/new.wtr?key={SECRET}#{SECRET}"
        assert camera.ask("model/install", url=url)["status"] == "ok"
        reason = camera.ends("refused", None)["reason"]
    assert reason.startswith(f"http://127.0.0.1:{server.port}/new.wtr cannot be fetched")
    refused = camera.ask("model/install", url=f"ftp://u:{SECRET}@a.example/?{SECRET}")["error"]
    assert refused["kind"] == "UnreachableError"
    lines = [line["text"] for line in camera.ask("log", level="debug")["data"]["lines"]]
    assert any(reason in line for line in lines)
    assert not any("Not Found" in line for line in lines)
    camera.ask("models")
    told = camera.stop()
    assert "404 Not Found" in told
    assert SECRET not in told
    for message in camera.subscriber.messages:
        if "/request/" not in message.topic:
            assert SECRET.encode() not in message.payload, message.topic
    for file in camera.place.folder.rglob("*"):
        if file.is_file():
            assert SECRET.encode() not in file.read_bytes(), file


def test_the_command_reads_an_address_from_stdin(tmp_path):
    """So that no list of processes shows it; people at the device are told why."""
    place = Place(tmp_path, "[model.update]\nunsigned = true")
    data = place.bundle("2").read_bytes()
    with Scripted(
        lambda r: [answer(data) if SECRET.encode() in r else answer(b"", "403 No")]
    ) as server:
        taken = command("install", "-", "--config", place.path, text=f"{server.url}?{SECRET}\n")
        assert taken.returncode == 0, taken.stderr
        refused = command("install", server.url, "--config", place.path)
    assert "on probation" in refused.stderr
    place.confirm()
    with Scripted(lambda _: [answer(b"", "403 No")]) as server:
        refused = command("install", f"{server.url}?{SECRET}", "--config", place.path)
    assert refused.stderr.strip().endswith(f"{server.url}: 403 No")
    assert json.loads(place.store.record_path.read_bytes())["current"].startswith("colours-2")
