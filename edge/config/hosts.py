"""Lists of web servers."""

from __future__ import annotations

from typing import NamedTuple

from edge.text.url import PORTS, Url, parse


class Pattern(NamedTuple):
    """An entry of a list of hosts."""

    host: str
    """With a dot in front: all below it."""
    port: int | None
    """None: the scheme's own."""

    def fits(self, url: Url) -> bool:
        """Whether it stands for this server."""
        if url.port != (self.port or PORTS[url.scheme]):
            return False
        return url.host.endswith(self.host) if self.host[0] == "." else url.host == self.host


def pattern(text: str) -> Pattern:
    """Read an entry of a list of hosts. Raises ValueError."""
    below = text.startswith("*.")
    plain = text.removeprefix("*.")
    if set(plain) & set("*/?#@"):
        raise ValueError(
            f'"{text}" is not a host such as "models.example", "*.models.example:8443"'
        )
    bare = plain.count(":") > 1 and not plain.startswith("[")
    try:
        url = parse(f"https://[{plain}]/" if bare else f"https://{plain.lower()}/")
    except ValueError:
        raise ValueError(
            f'"{text}" is not a host such as "models.example", "*.models.example:8443"'
        ) from None
    given = not bare and plain.rpartition("]")[2].count(":") > 0
    return Pattern(f".{url.host}" if below else url.host, url.port if given else None)
