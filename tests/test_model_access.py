"""Which web servers a device asks for models, what it tells them, and what it tells others."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import socket

import pytest
from downloads import DATA, SECRET, get_at, served
from servers import Scripted, answer
from test_model_updates import QUICK, broker, field  # noqa: F401 - fixtures

from edge.config import Update, parse_config
from edge.errors import ConfigError, UnreachableError
from edge.text.url import parse
from edge.updates.server_access import Access


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
        get_at(url, tmp_path)


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
        "https://169.254.169.254/a": "nothing is fetched from",
        "https://[fd00:ec2::254]/a": "nothing is fetched from",
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
        get_at(f"https://{host}:{server.port}/a", tmp_path)
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
        assert get_at(f"http://localhost:{server.port}/a", tmp_path) == DATA


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("file:///etc/passwd", "only http and https"),
        ("http://169.254.169.254/", "only https"),
        ("http://u:hunter2@models.example/?hunter2", "only https"),
        ("https://10.0.0.1/", "nothing is fetched from"),
        ("//[hunter2", "does not lead to a web address"),
        ("", "redirects more than"),
    ],
)
def test_redirects_follow_the_same_rules(location, said, tmp_path):
    """And show no secret."""
    with (
        Scripted(lambda _: [answer(b"", "302 Found", Location=location)]) as server,
        pytest.raises(UnreachableError, match=said) as told,
    ):
        get_at(f"{server.url}?{SECRET}", tmp_path)
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
        assert get_at(url, tmp_path) == DATA
    login = b"Authorization: Basic " + base64.b64encode(b"us:er:p@ss")
    assert [login in request for request in server.asked] == [True, True]
    assert b"GET /there.wtr" in server.asked[1]
    assert f"Host: 127.0.0.1:{server.port}\r\n".encode() in server.asked[0]


def test_a_plain_redirect_to_another_server_is_not_followed(tmp_path):
    """Also where both may be asked."""
    with (
        Scripted(served) as other,
        Scripted(lambda _: [answer(b"", "302 Found", Location=other.url)]) as server,
        pytest.raises(UnreachableError, match="over plain http"),
    ):
        get_at(server.url, tmp_path)
    assert other.asked == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"username": "a"}, "username has no password"),
        ({"password_file": "p"}, "has no user name"),
        ({"username": "a", "password_file": "p", "token_file": "t"}, "both set; keep one"),
        ({"token_file": "t"}, "login_hosts is empty"),
        ({"hosts": ["https://a.example"]}, r"hosts\[0\] = .* is not a host such as"),
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
        assert get_at(server.url, tmp_path) == DATA
    assert proxy.asked == []
