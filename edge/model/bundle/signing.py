"""Ed25519 keys of model bundles: load, make, fingerprint, sign, verify.

Reading keys needs no extra package; signing and verifying import ``cryptography`` when called.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import msgspec

from edge.errors import BundleSignatureError, ConfigError, RuntimeUnavailableError, os_errors_as
from edge.system.optional_packages import load

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

#: DER of SubjectPublicKeyInfo for Ed25519 up to the 32 key bytes (RFC 8410, section 4).
_SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")
_MAX_KEY_BYTES = 1 << 16
_FORM = "cryptography.hazmat.primitives.serialization"
_ED25519 = "cryptography.hazmat.primitives.asymmetric.ed25519"


class PublicKey(msgspec.Struct, frozen=True):
    """An Ed25519 public key."""

    raw: bytes
    """32 bytes."""

    @property
    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the 32 key bytes."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether ``signature`` (64 bytes) is this key's over ``message``.

        Raises:
            RuntimeUnavailableError: cryptography is not installed.
        """
        invalid = _cryptography("cryptography.exceptions").InvalidSignature
        try:
            _cryptography(_ED25519).Ed25519PublicKey.from_public_bytes(self.raw).verify(
                signature, message
            )
        except (invalid, ValueError):
            return False
        return True


def verify_any(keys: tuple[PublicKey, ...], signature: bytes | None, message: bytes) -> PublicKey:
    """Return which of the trusted ``keys`` signed ``message``.

    Raises:
        BundleSignatureError: no signature, or by none of these keys.
        RuntimeUnavailableError: cryptography is not installed.
    """
    known = ", ".join(key.fingerprint for key in keys)
    if signature is None:
        raise BundleSignatureError(
            f"the bundle is not signed, and only bundles signed by {known} are trusted"
        )
    for key in keys:
        if key.verify(signature, message):
            return key
    raise BundleSignatureError(
        f"the signature is wrong, or made with another key; trusted keys: {known}"
    )


def load_public_key(path: Path | str) -> PublicKey:
    """Read a public key file: PEM (SubjectPublicKeyInfo) or the raw 32 bytes.

    Raises:
        ConfigError: the file cannot be read or holds something else.
    """
    with os_errors_as(ConfigError, f"public key {path}"), open(path, "rb") as file:
        data = file.read(_MAX_KEY_BYTES)
    return PublicKey(data if len(data) == 32 else _from_pem(data, path))


def _from_pem(data: bytes, path: Path | str) -> bytes:
    if b"PRIVATE KEY" in data:
        raise ConfigError(f"{path} is a private key; a device needs the public one")
    import base64
    import binascii

    lines = [line.strip() for line in data.splitlines()]
    try:
        body = lines[lines.index(b"-----BEGIN PUBLIC KEY-----") + 1 :]
        body = body[: body.index(b"-----END PUBLIC KEY-----")]
        der = base64.b64decode(b"".join(body), validate=True)
    except (ValueError, binascii.Error) as error:
        raise ConfigError(f"{path} is not a public key in PEM form, nor 32 raw bytes") from error
    if len(der) != len(_SPKI_PREFIX) + 32 or not der.startswith(_SPKI_PREFIX):
        raise ConfigError(f"{path} is not an Ed25519 public key")
    return der[len(_SPKI_PREFIX) :]


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """Read an unencrypted PKCS#8 PEM private key, to sign with.

    Raises:
        ConfigError: the file cannot be read or holds something else.
        RuntimeUnavailableError: cryptography is not installed.
    """
    form = _cryptography(_FORM)
    with os_errors_as(ConfigError, f"private key {path}"):
        data = path.read_bytes()
    try:
        key = form.load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"private key {path} is not an unencrypted PEM key: {error}") from error
    if not isinstance(key, _cryptography(_ED25519).Ed25519PrivateKey):
        raise ConfigError(f"{path} is not an Ed25519 private key")
    found: Ed25519PrivateKey = key
    return found


def generate(private_path: Path, public_path: Path) -> PublicKey:
    """Make a key pair; the private file is readable by its owner only. Never overwrites.

    Raises:
        ConfigError: one of the files exists or cannot be written.
        RuntimeUnavailableError: cryptography is not installed.
    """
    form = _cryptography(_FORM)
    key: Ed25519PrivateKey = _cryptography(_ED25519).Ed25519PrivateKey.generate()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    public = key.public_key().public_bytes(
        form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
    )
    if public_path.exists():
        raise ConfigError(f"{public_path} exists; keys are never overwritten")
    _write_new(private_path, private, 0o600)
    _write_new(public_path, public, 0o644)
    return public_key(key)


def public_key(private: Ed25519PrivateKey) -> PublicKey:
    """The public half of a private key."""
    return PublicKey(private.public_key().public_bytes_raw())


def _cryptography(module: str) -> Any:  # noqa: ANN401
    return load(module, RuntimeUnavailableError, "a signature", "pip install 'cryptography>=43'")


def _write_new(path: Path, data: bytes, mode: int) -> None:
    with os_errors_as(ConfigError, f"{path}"):
        try:
            opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError as error:
            raise ConfigError(f"{path} exists; keys are never overwritten") from error
        with os.fdopen(opened, "wb") as file:
            file.write(data)
