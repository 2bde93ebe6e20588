"""Addresses on the web: taken apart, and made fit to be shown."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

PORTS = {"https": 443, "http": 80}
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_PLAIN = re.compile(r"[!-~]+")
_SHOWN = 200
"""Characters of an address that go into a message."""


class Url(NamedTuple):
    """An http or https address, taken apart."""

    scheme: str
    host: str
    """In small letters, without the brackets of IPv6 and a last dot."""
    port: int
    target: str
    """Path and query, as a server is asked for it."""
    login: str | None
    """``name:password`` that stood in the address."""

    @property
    def origin(self) -> tuple[str, str, int]:
        """What is the same server."""
        return self.scheme, self.host, self.port


def parse(text: str) -> Url:
    """Take an address apart. Raises ValueError, with no part of it in the text."""
    if not _PLAIN.fullmatch(text) or "\\" in text:
        raise ValueError("write characters other than plain letters, digits and signs as %..")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("it is not a web address, such as https://models.example/a.wtr") from None
    if parts.scheme not in PORTS:
        raise ValueError("only http and https are fetched")
    host = (parts.hostname or "").removesuffix(".")
    if not _is_host(host) or port == 0:
        raise ValueError("it names no host, such as https://models.example/a.wtr")
    login = None
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Url(parts.scheme, host, port or PORTS[parts.scheme], target, login)


def follow(base: str, location: str) -> str:
    """The address that a redirect leads to. Raises ValueError, whose text shows none of it."""
    try:
        return urljoin(base, location)
    except ValueError:
        raise ValueError("it does not lead to a web address") from None


def shown(text: str) -> str:
    """Make an address fit to be shown: without user, password, query and fragment, which may be
    secret. What is no plain web address shows nothing but that.
    """
    try:
        url = parse(text)
    except ValueError:
        return "the address"
    path = url.target.partition("?")[0].partition(";")[0]
    if "@" in path:  # a password with a slash in it ends up here
        path = "/..."
    host = f"[{url.host}]" if ":" in url.host else url.host
    port = "" if url.port == PORTS[url.scheme] else f":{url.port}"
    whole = f"{url.scheme}://{host}{port}{path}"
    return whole if len(whole) <= _SHOWN else whole[:_SHOWN] + "..."


def _is_host(host: str) -> bool:
    if ":" in host:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            return False
        return True
    return len(host) <= 253 and bool(_NAME.fullmatch(host))
