"""Why no connection came about, in words, and what to do."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from datetime import UTC, datetime


def unreachable(address: str, error: Exception) -> str:
    """In words, why no connection could be opened, and what to do."""
    if isinstance(error, socket.gaierror) and error.errno in _NO_DNS:
        return f"the name of {address} cannot be looked up now ({error.strerror}); check the " + (
            "network and DNS"
        )
    if isinstance(error, socket.gaierror):
        return f"the name of {address} is unknown ({error.strerror}); check broker.host and DNS"
    if isinstance(error, UnicodeError):
        return f"{address} is not the name of a computer ({error}); check broker.host"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{address} shows a certificate that is not trusted ({error.verify_message}); " + (
            f"the clock here says {datetime.now(UTC):%Y-%m-%d %H:%M} UTC: set it where that is "
            "wrong, else renew the certificate"
            if error.verify_code in _DATES
            else "check broker.tls.ca, the name in broker.host and the clock"
        )
    if isinstance(error, ssl.SSLError):
        return f"no TLS with {address} ({error.reason}); check broker.port and broker.tls"
    if isinstance(error, ConnectionRefusedError):
        return f"nobody listens on {address}; check broker.port, and that the broker runs"
    if isinstance(error, ConnectionResetError):
        return f"{address} closed the connection at once; check broker.port and broker.tls"
    if isinstance(error, TimeoutError):
        return f"{address} cannot be reached in time; check the network and broker.host"
    if isinstance(error, OSError) and error.errno in _NO_WAY:
        return f"no route to {address} ({error.strerror}); check the network and broker.host"
    return f"cannot connect to {address}: {error}"


_NO_DNS = {socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM}
_DATES = {9, 10}
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL."""
_NO_WAY = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL}
_OTHER_END = {errno.ECONNRESET, errno.EPIPE}
_CERTIFICATE = re.compile(r"certificate|unknown ca|handshake failure|access denied")


def broken_off(failure: str) -> str | None:
    """In words, why an open connection ended, by what paho logged of the socket; None: the
    other end closed it.

    Under TLS 1.3 a server refuses the device's certificate when the connection is open already.
    """
    if alert := re.search(r"\[SSL: \w*ALERT\w*\] (?:\w+ )?alert ([\w ]+?) \(", failure):
        name = alert[1]
        if _CERTIFICATE.search(name):
            return (
                f"it does not take this device's certificate ({name}); check "
                "broker.tls.certificate, its dates, who signed it, and the clock"
            )
        return f"it ended TLS ({name}); look at its log"
    number = re.search(r"\[Errno (\d+)\] (.+)", failure)
    if number and int(number[1]) not in _OTHER_END:
        return f"the network failed ({number[2]})"
    return None
