"""Which web servers a device asks, and which of them it tells a password. Pure.

A request may name any address, so that whoever may ask could have the device knock on doors that
only it can reach. Names are checked before they are looked up, and what they stand for afterwards.
"""

from __future__ import annotations

import base64
import ipaddress
from typing import TYPE_CHECKING

from edge.config.hosts import pattern
from edge.config.section import first_line
from edge.errors import ConfigError
from edge.text.url import Url

if TYPE_CHECKING:
    from edge.config import Update

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses as IPv6 networks reach them (RFC 6052)."""
_METADATA = ipaddress.IPv6Address("fd00:ec2::254")


class Access:
    """What ``model.update`` says of servers. Raises ConfigError where a secret cannot be read."""

    def __init__(self, settings: Update) -> None:
        self._hosts = [pattern(one) for one in settings.hosts]
        self._login_hosts = [pattern(one) for one in settings.login_hosts] or self._hosts
        self._plain_http = settings.plain_http
        self._header = _header(settings)

    def check(self, url: Url) -> None:
        """See that this server may be asked, before it is looked up. Raises ValueError."""
        if url.scheme == "http" and not self._plain_http and not is_here(url.host):
            raise ValueError(
                "only https is fetched from other machines; model.update.plain_http allows http"
            )
        if self._hosts and not self._named(url):
            raise ValueError("this server is not in model.update.hosts of the device")
        if (address := _address(url.host)) is not None and not self.reaches(url, address):
            raise ValueError(
                "nothing is fetched from this address; name hosts of the local network in "
                "model.update.hosts"
            )

    def reaches(self, url: Url, found: Address) -> bool:
        """Whether requests may go to the address that a server's name stands for."""
        address = _unwrapped(found)
        if address.is_loopback:
            return is_here(url.host)
        if address.is_link_local or address.is_multicast or address.is_unspecified:
            return False
        if address.is_reserved or address == _METADATA:
            return False
        return address.is_global or self._named(url)

    def login(self, url: Url, first: Url) -> str | None:
        """The ``Authorization`` for a server that `first` led to; None: it gets none.

        A password goes to the server that was asked for only, never along a redirect to another,
        and never in the clear over a network.
        """
        if url.origin != first.origin or (url.scheme == "http" and not is_here(url.host)):
            return None
        if first.login is not None:
            return _basic(first.login)
        return self._header if any(one.fits(url) for one in self._login_hosts) else None

    def _named(self, url: Url) -> bool:
        return any(one.fits(url) for one in self._hosts)


def is_here(host: str) -> bool:
    """Whether a host is this machine, by its plain name or address."""
    if host == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one; any other address as it is."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or address


def _header(settings: Update) -> str | None:
    if settings.token_file is not None:
        return f"Bearer {_secret(settings, 'token_file')}"
    if settings.username is not None:
        return _basic(f"{settings.username}:{_secret(settings, 'password_file')}")
    return None


def _secret(settings: Update, name: str) -> str:
    setting, file = f"model.update.{name}", getattr(settings, name)
    secret = first_line(file, setting)
    if not secret or not secret.isprintable() or (name == "token_file" and not secret.isascii()):
        raise ConfigError(f"{setting}: the first line of {file} is not a secret; write one")
    return secret


def _basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode("ascii")
