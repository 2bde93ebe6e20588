"""Which web servers a device asks for models, what it tells them, and what it tells others."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import json
import socket
import subprocess
import sys

import certificates
import msgspec
import pytest
from devices import photos
from servers import Scripted, answer, nobody
from test_model_fetch import DATA
from test_model_updates import QUICK, broker, field  # noqa: F401 - fixtures
from test_models import Place, command

from edge.config import Update, parse_config
from edge.errors import ConfigError, DownloadError, UnreachableError
from edge.text.url import parse, shown
from edge.updates.fetch import Source, fetch
from edge.updates.jobs import Job, public
from edge.updates.server_access import Access

LIMITS = Update(timeout_seconds=60.0, attempts=2)
SECRET = "hunter2"


def get(url, folder, **settings):
    """Fetch without pauses."""
    limits = msgspec.structs.replace(LIMITS, **settings)
    return fetch(Source(url=url), folder, limits, wait=lambda _: None).read_bytes()


def served(_request):
    """Answer with DATA."""
    return [answer(DATA)]


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


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://models.example/a",
        "data:application/zip;base64,UEsDBA==",
        "unix:/run/docker.sock",
        "http+unix://%2Frun%2Fdocker.sock/a",
        "//models.example/a",
        "models.example/a",
        "",
        "https://",
        "https:///a",
        "https://models.example:99999/a",
        "https://models.example:0/a",
        "https://models.example:x/a",
        "https://models.exa mple/a",
        "https://models.example/a b",
        "https://models.example/a\r\nX: y",
        "https://models.example\\@127.0.0.1/a",
        "https://mod\u00e9ls.example/a",
        "https://[::1/a",
        "https://[127.0.0.1]/a",
        "https://-x.example/a",
        "https://" + "a" * 64 + ".example/a",
        "https://" + "a." * 130 + "example/a",
        "http://models.example/a",
        "http://169.254.169.254/latest/meta-data",
        "https://169.254.169.254/latest/meta-data",
        "https://[fe80::1]/a",
        "https://[::ffff:169.254.169.254]/a",
        "https://[64:ff9b::a9fe:a9fe]/a",
        "https://[64:ff9b::7f00:1]/a",
        "https://[2002:7f00:1::]/a",
        "https://[fd00:ec2::254]/a",
        "https://0.0.0.0/a",
        "https://[::]/a",
        "https://224.0.0.1/a",
        "https://255.255.255.255/a",
        "https://192.168.1.5/a",
        "https://10.0.0.1/a",
        "https://100.100.100.200/a",
        "https://[fd00::1]/a",
    ],
)
def test_such_addresses_are_refused_before_anything_is_asked(url, tmp_path, monkeypatch):
    """Other schemes, no hosts, plain http, addresses that are not of the public network."""
    monkeypatch.setattr(socket, "socket", None)
    monkeypatch.setattr(socket, "getaddrinfo", None)
    with pytest.raises(UnreachableError):
        get(url, tmp_path)


def test_listed_hosts_are_the_only_ones():
    """By name, suffix and port; an address of the local network, too. No list lifts the rest."""
    access = Access(
        Update(
            hosts=(
                "Models.example",
                "*.farm.example:8443",
                "192.168.1.5",
                "[fd00::5]:444",
                "fd00::6",
                "169.254.169.254",
                "fd00:ec2::254",
                "127.0.0.1:8000",
            )
        )
    )
    for url in (
        "https://models.example/a",
        "https://models.example.:443/a",
        "https://a.b.farm.example:8443/a",
        "https://192.168.1.5/a",
        "https://[fd00::5]:444/a",
        "https://[fd00::6]/a",
        "http://127.0.0.1:8000/a",
    ):
        access.check(parse(url))
    for url, said in {
        "https://other.example/a": "not in model.update.hosts",
        "https://models.example:444/a": "not in model.update.hosts",
        "https://xmodels.example/a": "not in model.update.hosts",
        "https://models.example.evil/a": "not in model.update.hosts",
        "https://farm.example:8443/a": "not in model.update.hosts",
        "https://evilfarm.example:8443/a": "not in model.update.hosts",
        "https://a.farm.example/a": "not in model.update.hosts",
        "https://192.168.1.6/a": "not in model.update.hosts",
        "http://127.0.0.1:8001/a": "not in model.update.hosts",
        "http://models.example/a": "only https",
        "https://169.254.169.254/a": "not fetched from",
        "https://[fd00:ec2::254]/a": "not fetched from",
    }.items():
        with pytest.raises(ValueError, match=said):
            access.check(parse(url))


def test_plain_http_has_to_be_allowed():
    """Off this device; its default port is its own."""
    access = Access(Update(plain_http=True, hosts=("models.example",)))
    access.check(parse("http://models.example/a"))
    access.check(parse("https://models.example/a"))
    with pytest.raises(ValueError, match="not in"):
        access.check(parse("http://models.example:443/a"))


@pytest.mark.parametrize(
    ("host", "found", "reached"),
    [
        ("models.example", "93.184.216.34", True),
        ("models.example", "2606:2800:220:1::1", True),
        ("models.example", "64:ff9b::5db8:d822", True),
        ("models.example", "127.0.0.1", False),
        ("models.example", "::1", False),
        ("models.example", "::ffff:127.0.0.1", False),
        ("models.example", "10.0.0.1", False),
        ("models.example", "169.254.169.254", False),
        ("models.example", "fe80::1%eth0", False),
        ("models.example", "0.0.0.0", False),
        ("localhost", "127.0.0.1", True),
        ("localhost", "::1", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("localhost", "10.0.0.1", False),
        ("farm.example", "10.0.0.1", True),
        ("farm.example", "127.0.0.1", False),
        ("farm.example", "169.254.1.1", False),
    ],
)
def test_what_a_name_stands_for_is_checked(host, found, reached):
    """Whoever owns a name could have it stand for this device, or for its network."""
    access = Access(Update())
    if host == "farm.example":
        access = Access(Update(hosts=("farm.example",)))
    assert access.reaches(parse(f"https://{host}/"), ipaddress.ip_address(found)) is reached


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "models.example"])
def test_names_that_lead_back_here_are_refused(host, tmp_path, monkeypatch):
    """However this device is written; nothing is connected to."""
    if host == "models.example":
        family = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 443))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [family])
    with Scripted(served) as server, pytest.raises(UnreachableError, match="stands for"):
        get(f"https://{host}:{server.port}/a", tmp_path)
    assert server.asked == []


@pytest.mark.parametrize(
    "addresses", [("10.0.0.1", "127.0.0.9", "127.0.0.1"), ("127.0.0.1", "127.0.0.9")]
)
def test_an_address_that_refuses_gives_way_to_another(addresses, tmp_path, monkeypatch):
    """As a name may stand for several: the first that may be asked and answers is it."""
    with Scripted(served) as server:
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, server.port))
            for address in addresses
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert get(f"http://localhost:{server.port}/a", tmp_path) == DATA


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("file:///etc/passwd", "only http and https"),
        ("http://169.254.169.254/", "only https"),
        ("http://u:hunter2@models.example/?hunter2", "only https"),
        ("https://10.0.0.1/", "not fetched from"),
        ("//[hunter2", "leads to no web address"),
        ("", "on and on"),
    ],
)
def test_redirects_follow_the_same_rules(location, said, tmp_path):
    """And show no secret."""
    with (
        Scripted(lambda _: [answer(b"", "302 Found", Location=location)]) as server,
        pytest.raises(UnreachableError, match=said) as told,
    ):
        get(f"{server.url}?{SECRET}", tmp_path)
    assert SECRET not in str(told.value)
    assert len(server.asked) == (6 if location == "" else 1)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_on_the_same_server_is_followed_and_logged_in(code, tmp_path):
    """User and password of the address go along, as they are asked for there."""

    def script(request):
        if request.startswith(b"GET /new.wtr?a=b HTTP"):
            return [answer(b"", f"{code} There", Location="/there.wtr")]
        return [answer(DATA)]

    with Scripted(script) as server:
        url = f"http://us%3Aer:p%40ss@127.0.0.1:{server.port}/new.wtr?a=b#c"
        assert get(url, tmp_path) == DATA
    login = b"Authorization: Basic " + base64.b64encode(b"us:er:p@ss")
    assert [login in request for request in server.asked] == [True, True]
    assert b"GET /there.wtr" in server.asked[1]
    assert f"Host: 127.0.0.1:{server.port}\r\n".encode() in server.asked[0]


def test_a_plain_redirect_to_another_server_is_not_followed(tmp_path):
    """Also where both may be asked."""
    with (
        Scripted(served) as other,
        Scripted(lambda _: [answer(b"", "302 Found", Location=other.url)]) as server,
        pytest.raises(UnreachableError, match="by plain http"),
    ):
        get(server.url, tmp_path)
    assert other.asked == []


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
        assert get(first.url, tmp_path, **settings) == DATA
        assert get(last.url, tmp_path, **settings) == DATA
        assert get(last.url, tmp_path, **settings, login_hosts=hosts[:1]) == DATA
    header = f"Authorization: Bearer {SECRET}\r\n".encode()
    assert [header in request for request in first.asked] == [True]
    assert [header in request for request in last.asked] == [False, True, False]


def test_a_server_of_another_authority_gets_nothing(tmp_path, secure):
    """Its certificate is checked before anything is sent; https never leads to http."""
    ca, context = secure
    with Scripted(served, context) as server:
        for other in (ca.with_name("stranger.pem"), None):
            with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
                get(server.url, tmp_path, ca=other)
        assert server.asked == []
        with pytest.raises(ConfigError, match=r"model\.update\.ca: .*none\.pem"):
            get(server.url, tmp_path, ca=ca.with_name("none.pem"))
        assert get(server.url, tmp_path, ca=ca) == DATA
    with (
        Scripted(served) as plain,
        Scripted(lambda _: [answer(b"", "302 Found", Location=plain.url)], context) as server,
        pytest.raises(UnreachableError, match="by plain http"),
    ):
        get(server.url, tmp_path, ca=ca)


def test_a_password_comes_from_its_file(tmp_path):
    """Basic, in UTF-8; an empty or missing file is an error with the setting's name."""
    file = tmp_path / "password"
    file.write_text("p\u00e4ss\nsecond line", "utf-8")
    with Scripted(served) as server:
        settings = {"username": "cam", "password_file": file}
        settings["hosts"] = (f"127.0.0.1:{server.port}",)
        get(server.url, tmp_path, **settings)
        login = base64.b64encode("cam:p\u00e4ss".encode())
        assert b"Authorization: Basic " + login in server.asked[0]
        file.write_text("\n")
        with pytest.raises(ConfigError, match=r"password_file: the first line .* write one"):
            get(server.url, tmp_path, **settings)
        file.unlink()
        with pytest.raises(ConfigError, match="cannot read"):
            get(server.url, tmp_path, **settings)


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


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"username": "a"}, "username has no password"),
        ({"password_file": "p"}, "is nobody's"),
        ({"username": "a", "password_file": "p", "token_file": "t"}, "both set; keep one"),
        ({"token_file": "t"}, "login_hosts is empty"),
        ({"hosts": ["https://a.example"]}, r"hosts\[0\] = .* no host such as"),
        ({"hosts": ["a.example", "*"]}, r"hosts\[1\]"),
        ({"hosts": ["*.*.example"]}, r"hosts\[0\]"),
        ({"hosts": [""]}, r"hosts\[0\]"),
        ({"hosts": ["a.example:0"]}, r"hosts\[0\]"),
        ({"login_hosts": ["u@a.example"]}, r"login_hosts\[0\]"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, said, tmp_path):
    """By name, before anything is asked."""
    raw = {"model": {"bundle": "m", "update": settings}, "camera": {"kind": "folder", "path": "p"}}
    with pytest.raises(ConfigError, match=said):
        parse_config(raw, tmp_path)
    with contextlib.suppress(KeyError):
        del raw["model"]["update"]
    parse_config(raw, tmp_path)


def test_proxies_of_the_environment_are_not_used(tmp_path, monkeypatch):
    """What is asked for comes from where it was asked."""
    with Scripted(served) as proxy, Scripted(served) as server:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        assert get(server.url, tmp_path) == DATA
    assert proxy.asked == []


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
        lambda _: server.silence(),
    ):
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
    assert not any("404" in line for line in lines)
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
