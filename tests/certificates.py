"""Certificates for tests."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path
from typing import Any

import pytest


def authority(folder: Path) -> Path:
    """Make an authority of its own, and certificates for 127.0.0.1 by it and by a stranger."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.datetime.now(datetime.UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key

    def usage(ca: bool) -> Any:
        others = "content_commitment key_encipherment data_encipherment key_agreement"
        no = dict.fromkeys([*others.split(), "encipher_only", "decipher_only"], False)
        return x509.KeyUsage(digital_signature=True, key_cert_sign=ca, crl_sign=ca, **no)

    def certify(
        name: str, issuer: Any = None, issuer_key: Any = None, ca: bool = False
    ) -> tuple[Any, Any]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        cert = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            # Python 3.13 holds certificates to RFC 5280: key identifiers and key usage.
            .add_extension(identifier(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    (issuer_key or key).public_key()
                ),
                critical=False,
            )
            .add_extension(usage(ca), critical=True)
            .sign(issuer_key or key, hashes.SHA256())
        )
        (folder / f"{name}.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return subject, key

    issuer, key = certify("ca", ca=True)
    certify("server", issuer, key)
    certify("client", issuer, key)
    certify("stranger", ca=True)
    return folder


def server(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Make a folder of certificates; give its authority, and what makes a server of the rest."""
    folder.mkdir()
    authority(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return folder / "ca.pem", context
