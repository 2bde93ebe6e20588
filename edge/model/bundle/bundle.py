"""Model bundles, ``NAME-VERSION.wtr``: write, read, verify (docs/bundle.md).

Reading trusts nothing: sizes before contents, the signature before the manifest, hashes before any
member is used; each refusal has its own error, and nothing half-read is ever returned.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from edge.errors import (
    BundleIntegrityError,
    BundleMembersError,
    BundleTooLargeError,
)
from edge.messages.base import MAX_BUNDLE_BYTES
from edge.model.bundle import manifest as manifest_form
from edge.model.bundle.manifest import FileEntry, Manifest
from edge.model.bundle.unpack import (
    EDGETPU_MODEL,
    MANIFEST,
    MODEL,
    SIGNATURE,
    UNKNOWN_RULE,
    Content,
    Unpacked,
    check_sizes,
    is_member_name,
    unpack,
)

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from edge.model.bundle.signing import PublicKey

__all__ = (
    "EDGETPU_MODEL",
    "MANIFEST",
    "MODEL",
    "SIGNATURE",
    "SUFFIX",
    "UNKNOWN_RULE",
    "Bundle",
    "file_name",
    "read_bundle",
    "verify",
    "write_bundle",
)

SUFFIX = ".wtr"
#: A member is deflated only if that saves this share: inflating costs time at every start.
MIN_SAVING = 0.25

_TIMESTAMP = (1980, 1, 1, 0, 0, 0)


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that was read whole and verified."""

    manifest: Manifest
    model: bytes
    edgetpu_model: bytes | None
    goldens: dict[str, bytes]
    """PNG files by member name, as the manifest's goldens name them."""
    sha256: str
    """Of the bundle file."""
    size: int
    """Of the bundle file, bytes."""
    signed: bool
    """A signature is present; only ``signed_by`` says that it was verified."""
    signed_by: str | None
    """Fingerprint of the trusted key that signed it."""
    unknown_rule: bytes | None = None
    """Arrays of the rule that the manifest describes."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Label ids in the order of the model's outputs."""
        return tuple(label.id for label in self.manifest.labels)

    @property
    def members(self) -> dict[str, bytes]:
        """All that it holds beside the manifest and its signature, by name."""
        optional = {EDGETPU_MODEL: self.edgetpu_model, UNKNOWN_RULE: self.unknown_rule}
        there = {name: data for name, data in optional.items() if data is not None}
        return {MODEL: self.model, **self.goldens, **there}


def file_name(manifest: Manifest) -> str:
    """The bundle's conventional file name, ``NAME-VERSION.wtr``."""
    return f"{manifest.name}-{manifest.version}{SUFFIX}"


def write_bundle(
    path: Path,
    manifest: Manifest,
    members: Mapping[str, bytes],
    signing_key: Ed25519PrivateKey | None = None,
) -> Manifest:
    """Write a bundle whole or not at all; give the manifest with its ``files`` filled in.

    Same inputs, same bytes (with the same zlib). ``members`` holds the model and the goldens.

    Raises:
        BundleMembersError: ``members`` and the manifest's goldens do not fit together.
        BundleTooLargeError: a member is beyond the limits that reading sets.
        OSError: the file cannot be written.
    """
    files = {
        name: FileEntry(size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in sorted(members.items())
    }
    complete = msgspec.structs.replace(manifest, files=files)
    text = manifest_form.encode(complete)
    manifest_form.parse(text)  # what this software could not read, it does not write
    _check_members(complete, set(members))
    contents = {MANIFEST: text}
    if signing_key is not None:
        contents[SIGNATURE] = signing_key.sign(text)
    contents |= {name: members[name] for name in files}
    check_sizes({name: len(data) for name, data in contents.items()})
    packed = _pack(contents)
    if len(packed) > MAX_BUNDLE_BYTES:
        raise BundleTooLargeError(f"the bundle would have {len(packed)} bytes")
    _write_atomically(path, packed)
    return complete


def read_bundle(path: Path | str, trusted_keys: Sequence[PublicKey] = ()) -> Bundle:
    """Read and verify a bundle; with ``trusted_keys``, one of them must have signed it.

    Raises:
        BundleFormatError: unreadable, no zip, an unknown schema version, a wrong manifest.
        BundleMembersError: members missing, unexpected, doubled or with unsafe names.
        BundleTooLargeError: beyond the size limits.
        BundleIntegrityError: sizes or hashes differ from the manifest.
        BundleSignatureError: a signature is needed, and absent, wrong or by another key.
        RuntimeUnavailableError: a signature is to be verified and cryptography is missing.
    """
    return verify(unpack(path), trusted_keys)


def verify(unpacked: Unpacked, trusted_keys: Sequence[PublicKey] = ()) -> Bundle:
    """Verify what was unpacked: the signature, then the manifest, then each member against it.

    Raises:
        BundleError: as for :func:`read_bundle`.
        RuntimeUnavailableError: a signature is to be verified and cryptography is missing.
    """
    members = dict(unpacked.members)
    text = members.pop(MANIFEST).data
    signature = members.pop(SIGNATURE).data if SIGNATURE in members else None
    signed_by = None
    if trusted_keys:
        from edge.model.bundle.signing import verify_any

        signed_by = verify_any(tuple(trusted_keys), signature, text).fingerprint
    manifest = manifest_form.parse(text)
    _check_members(manifest, set(members))
    for name, content in members.items():
        _check_content(name, content, manifest.files[name])
    data = {name: content.data for name, content in members.items()}
    return Bundle(
        manifest=manifest,
        model=data.pop(MODEL),
        edgetpu_model=data.pop(EDGETPU_MODEL, None),
        unknown_rule=data.pop(UNKNOWN_RULE, None),
        goldens=data,
        sha256=unpacked.sha256,
        size=unpacked.size,
        signed=signature is not None,
        signed_by=signed_by,
    )


def _check_members(manifest: Manifest, present: set[str]) -> None:
    """Hold members, ``files`` and goldens against each other."""
    needed = {MODEL} | {golden.file for golden in manifest.goldens}
    if manifest.unknown is not None:
        needed.add(UNKNOWN_RULE)
    allowed = needed | {EDGETPU_MODEL}
    for name in sorted(needed | set(manifest.files)):
        if name not in present or name not in manifest.files:
            raise BundleMembersError(f"{name} is missing")
    for name in sorted(present):
        if name not in allowed or name not in manifest.files or not is_member_name(name):
            raise BundleMembersError(f"unexpected member {name!r}")


def _check_content(name: str, content: Content, entry: FileEntry) -> None:
    """Hold a member against its entry in the manifest."""
    if len(content.data) != entry.size:
        raise BundleIntegrityError(
            f"{name} has {len(content.data)} bytes; the manifest says {entry.size}"
        )
    if content.sha256 != entry.sha256:
        raise BundleIntegrityError(f"{name} is not what the manifest says (SHA-256 differs)")


def _pack(contents: Mapping[str, bytes]) -> bytes:
    """Zip the members in the given order, all dated alike."""
    import io
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        for name, data in contents.items():
            packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
            packed = len(packer.compress(data)) + len(packer.flush())
            info = zipfile.ZipInfo(name, _TIMESTAMP)
            info.create_system = 3  # Unix, wherever it is written
            info.external_attr = 0o644 << 16
            worth_it = packed <= len(data) * (1 - MIN_SAVING)
            info.compress_type = zipfile.ZIP_DEFLATED if worth_it else zipfile.ZIP_STORED
            zipped.writestr(info, data, compresslevel=9)
    return file.getvalue()


def _write_atomically(path: Path, data: bytes) -> None:
    import tempfile

    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
