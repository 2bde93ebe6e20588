"""Model bundles, ``NAME-VERSION.wtr``: write, read, verify (docs/bundle.md).

Reading trusts nothing: sizes before contents, the signature before the manifest, hashes before any
member is used; each refusal has its own error, and nothing half-read is ever returned.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from edge import archive
from edge import manifest as manifest_form
from edge.errors import (
    BundleFormatError,
    BundleIntegrityError,
    BundleMembersError,
    BundleTooLargeError,
)
from edge.manifest import FileEntry, Manifest
from edge.signing import PublicKey, verify_any

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
MODEL = "model.tflite"
EDGETPU_MODEL = "model_edgetpu.tflite"
SUFFIX = ".wtr"

#: Limits, in bytes where not said otherwise. The models meant are 0.1 to 10 MB.
MAX_BUNDLE_BYTES = 64 << 20
MAX_MEMBER_BYTES = 64 << 20
MAX_TOTAL_BYTES = 128 << 20
MAX_MANIFEST_BYTES = 1 << 20
MAX_MEMBERS = 64
#: A member is deflated only if that saves this share: inflating costs time at every start.
MIN_SAVING = 0.1

_GOLDEN = re.compile(r"golden/[A-Za-z0-9][A-Za-z0-9_-]{0,63}\.png")
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

    @property
    def labels(self) -> tuple[str, ...]:
        """Label ids in the order of the model's outputs."""
        return tuple(label.id for label in self.manifest.labels)


def file_name(manifest: Manifest) -> str:
    """Give the bundle's conventional file name, ``NAME-VERSION.wtr``."""
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
    _check_sizes({name: len(data) for name, data in contents.items()})
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
    data = _read_file(path)
    members = archive.directory(data)
    _check_names_and_sizes(members)
    text = archive.read(data, members.pop(MANIFEST))
    signature = archive.read(data, members.pop(SIGNATURE)) if SIGNATURE in members else None
    keys = tuple(trusted_keys)
    signed_by = verify_any(keys, signature, text).fingerprint if keys else None
    manifest = manifest_form.parse(text)
    _check_members(manifest, set(members))
    contents = {name: _verified(data, members[name], manifest.files[name]) for name in members}
    return Bundle(
        manifest=manifest,
        model=contents.pop(MODEL),
        edgetpu_model=contents.pop(EDGETPU_MODEL, None),
        goldens=contents,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        signed=signature is not None,
        signed_by=signed_by,
    )


def _read_file(path: Path | str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BUNDLE_BYTES + 1)
    except OSError as error:
        raise BundleFormatError(f"{path}: {error.strerror}") from error
    if len(data) > MAX_BUNDLE_BYTES:
        raise BundleTooLargeError(f"{path}: more than {MAX_BUNDLE_BYTES} bytes")
    return data


def _check_names_and_sizes(members: Mapping[str, archive.Member]) -> None:
    """Check what the archive's directory says, before any member is read."""
    if len(members) > MAX_MEMBERS:
        raise BundleTooLargeError(f"{len(members)} members; at most {MAX_MEMBERS} are allowed")
    for name in members:
        if not _is_member_name(name):
            raise BundleMembersError(f"unexpected member {name!r}")
    if MANIFEST not in members:
        raise BundleMembersError(f"{MANIFEST} is missing")
    _check_sizes({name: member.size for name, member in members.items()})


def _is_member_name(name: str) -> bool:
    return name in (MANIFEST, SIGNATURE, MODEL, EDGETPU_MODEL) or bool(_GOLDEN.fullmatch(name))


def _check_sizes(sizes: Mapping[str, int]) -> None:
    for name, size in sizes.items():
        limit = MAX_MANIFEST_BYTES if name in (MANIFEST, SIGNATURE) else MAX_MEMBER_BYTES
        if size > limit:
            raise BundleTooLargeError(f"{name} has {size} bytes; the limit is {limit}")
    if sum(sizes.values()) > MAX_TOTAL_BYTES:
        raise BundleTooLargeError(f"members of more than {MAX_TOTAL_BYTES} bytes together")


def _check_members(manifest: Manifest, present: set[str]) -> None:
    """Hold members, ``files`` and goldens against each other."""
    needed = {MODEL} | {golden.file for golden in manifest.goldens}
    allowed = needed | {EDGETPU_MODEL}
    for name in sorted(needed | set(manifest.files)):
        if name not in present or name not in manifest.files:
            raise BundleMembersError(f"{name} is missing")
    for name in sorted(present):
        if name not in allowed or name not in manifest.files or not _is_member_name(name):
            raise BundleMembersError(f"unexpected member {name!r}")


def _verified(data: bytes, member: archive.Member, entry: FileEntry) -> bytes:
    """Read a member and hold it against its entry in the manifest."""
    if member.size != entry.size:
        raise BundleIntegrityError(
            f"{member.name} has {member.size} bytes; the manifest says {entry.size}"
        )
    content = archive.read(data, member)
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise BundleIntegrityError(f"{member.name} is not what the manifest says (SHA-256 differs)")
    return content


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
