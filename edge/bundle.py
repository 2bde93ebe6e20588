"""Model bundles, ``NAME-VERSION.wtr``: write, read, verify (docs/bundle.md).

Reading trusts nothing: sizes before contents, the signature before the manifest, hashes before any
member is used; each refusal has its own error, and nothing half-read is ever returned.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge import manifest as manifest_form
from edge.errors import (
    BundleFormatError,
    BundleIntegrityError,
    BundleMembersError,
    BundleSignatureError,
    BundleTooLargeError,
)
from edge.manifest import FileEntry, Manifest
from edge.signing import PublicKey, verify_any

if TYPE_CHECKING:
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
_SIGNATURE_BYTES = 64


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
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        for name, data in contents.items():
            _add(zipped, name, data)
    if archive.tell() > MAX_BUNDLE_BYTES:
        raise BundleTooLargeError(f"the bundle would have {archive.tell()} bytes")
    _write_atomically(path, archive.getbuffer())
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
    data = _read_file(Path(path))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as zipped:
            infos = _check_directory(zipped, data)
            text = zipped.read(infos[MANIFEST])
            signature = zipped.read(infos[SIGNATURE]) if SIGNATURE in infos else None
            if signature is not None and len(signature) != _SIGNATURE_BYTES:
                raise BundleSignatureError(f"{SIGNATURE} has {len(signature)} bytes, not 64")
            keys = tuple(trusted_keys)
            signed_by = verify_any(keys, signature, text).fingerprint if keys else None
            manifest = manifest_form.parse(text)
            _check_members(manifest, set(infos) - {MANIFEST, SIGNATURE})
            members = _read_members(zipped, infos, manifest)
    except zipfile.BadZipFile as error:
        raise BundleFormatError(f"{path}: not a readable bundle: {error}") from error
    except (zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        # What zipfile raises on damaged members, unknown methods and encryption.
        raise BundleFormatError(f"{path}: a member cannot be read: {error}") from error
    return Bundle(
        manifest=manifest,
        model=members.pop(MODEL),
        edgetpu_model=members.pop(EDGETPU_MODEL, None),
        goldens=members,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        signed=signature is not None,
        signed_by=signed_by,
    )


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BUNDLE_BYTES + 1)
    except OSError as error:
        raise BundleFormatError(f"{path}: {error.strerror}") from error
    if len(data) > MAX_BUNDLE_BYTES:
        raise BundleTooLargeError(f"{path}: more than {MAX_BUNDLE_BYTES} bytes")
    if not data.startswith(b"PK\x03\x04"):
        raise BundleFormatError(f"{path}: not a model bundle (no zip archive)")
    return data


def _check_directory(zipped: zipfile.ZipFile, data: bytes) -> dict[str, zipfile.ZipInfo]:
    """Check names, sizes and forms of all members before any is read."""
    infos = zipped.infolist()
    if len(infos) > MAX_MEMBERS:
        raise BundleTooLargeError(f"{len(infos)} members; at most {MAX_MEMBERS} are allowed")
    named = {info.filename: info for info in infos}
    if len(named) != len(infos):
        raise BundleMembersError("two members have the same name")
    for info in infos:
        if info.orig_filename != info.filename or not _is_member_name(info.filename):
            raise BundleMembersError(f"unexpected member {info.orig_filename!r}")
        if info.flag_bits & 1 or info.compress_type not in (
            zipfile.ZIP_STORED,
            zipfile.ZIP_DEFLATED,
        ):
            raise BundleFormatError(f"{info.filename}: encrypted or of an unknown compression")
    if MANIFEST not in named:
        raise BundleMembersError(f"{MANIFEST} is missing")
    _check_sizes({info.filename: info.file_size for info in infos})
    if (
        zipped.comment
        or infos[0].header_offset != 0
        or sum(i.compress_size for i in infos) > len(data)
    ):
        raise BundleFormatError("the archive holds bytes that belong to no member")
    return named


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


def _read_members(
    zipped: zipfile.ZipFile, infos: Mapping[str, zipfile.ZipInfo], manifest: Manifest
) -> dict[str, bytes]:
    members = {}
    for name, entry in manifest.files.items():
        if infos[name].file_size != entry.size:
            raise BundleIntegrityError(
                f"{name} has {infos[name].file_size} bytes; the manifest says {entry.size}"
            )
        try:
            members[name] = zipped.read(infos[name])
        except zipfile.BadZipFile as error:
            raise BundleIntegrityError(f"{name} is damaged: {error}") from error
        if (
            len(members[name]) != entry.size
            or hashlib.sha256(members[name]).hexdigest() != entry.sha256
        ):
            raise BundleIntegrityError(f"{name} is not what the manifest says (SHA-256 differs)")
    return members


def _add(zipped: zipfile.ZipFile, name: str, data: bytes) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = len(packer.compress(data)) + len(packer.flush())
    info = zipfile.ZipInfo(name, _TIMESTAMP)
    info.create_system = 3
    info.external_attr = 0o644 << 16
    worth_it = packed <= len(data) * (1 - MIN_SAVING)
    info.compress_type = zipfile.ZIP_DEFLATED if worth_it else zipfile.ZIP_STORED
    zipped.writestr(info, data, compresslevel=9)


def _write_atomically(path: Path, data: memoryview) -> None:
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
