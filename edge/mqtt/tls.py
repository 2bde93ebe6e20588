"""TLS towards the broker: whom the device trusts, and who it is."""

from __future__ import annotations

import ssl

from edge.config import Tls
from edge.errors import ConfigError
from edge.text.pipes import refuse_pipe


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Build the TLS context. Raises ConfigError naming the file that cannot be used."""
    try:
        if tls.ca:
            refuse_pipe(tls.ca)
        context = ssl.create_default_context(cafile=tls.ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"broker.tls.ca: cannot use {tls.ca}: {error}; give a PEM file"
        ) from error
    if tls.certificate and tls.key:
        try:
            refuse_pipe(tls.certificate)
            refuse_pipe(tls.key)
            context.load_cert_chain(tls.certificate, tls.key, _no_passphrase)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"broker.tls.certificate: cannot use {tls.certificate} with {tls.key}: {error}; "
                "give a PEM certificate and its key, without a passphrase"
            ) from error
    return context


def _no_passphrase() -> bytes:
    """Answer for OpenSSL, which would ask on the terminal and wait."""
    return b""
