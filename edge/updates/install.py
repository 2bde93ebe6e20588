"""The way of a bundle into the store: checked, proved, kept, and named in the record as the one to
run, on probation. Up to the last step the model before goes on as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from edge.errors import (
    BundleError,
    DowngradeError,
    OtherModelError,
    SameVersionError,
    StoppedError,
    StoreError,
    UpdateBusyError,
    UpdateError,
    os_errors_as,
)
from edge.messages.base import MAX_BUNDLE_BYTES
from edge.messages.updates import ModelEntry, Probation, UpdatePhase
from edge.model.bundle.bundle import read_bundle
from edge.model.bundle.versions import newer
from edge.updates.proof import Proof, prove_apart
from edge.updates.record import Record

if TYPE_CHECKING:
    from datetime import datetime

    from edge.config import Model
    from edge.updates.store import Store

Announce = Callable[[UpdatePhase, Proof | None], None]
"""Called when a phase begins, with what is known of the new model."""


_PIECE_BYTES = 1 << 20


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """A model that the record names as the one to run."""

    id: str
    entry: ModelEntry
    labels_added: tuple[str, ...]
    """Classes that the model before did not have."""
    labels_removed: tuple[str, ...]


def factory(model: Model) -> ModelEntry | None:
    """The entry of the configured bundle; None where it cannot be read."""
    assert model.bundle is not None
    with contextlib.suppress(BundleError):
        bundle = read_bundle(model.bundle)
        return ModelEntry(
            name=bundle.manifest.name,
            version=bundle.manifest.version,
            sha256=bundle.sha256,
            bytes=bundle.size,
            labels=bundle.labels,
        )
    return None


def current(store: Store, model: Model) -> ModelEntry | None:
    """The entry of the current model; None where there is none."""
    record = store.read()
    return factory(model) if record.current is None else record.models[record.current]


def wanted_name(model: Model, current: ModelEntry | None) -> str | None:
    """The name that bundles must have: as configured, else that of the configured bundle, else
    (where that cannot be read) of the current one; None: nothing is known, and any is taken.
    """
    if model.name is not None:
        return model.name
    known = factory(model) or current
    return known.name if known is not None else None


def bring(store: Store, file: BinaryIO) -> Path:
    """Copy a file from elsewhere to where installing begins. Raises UpdateError, StoreError."""
    target = store.incoming / "file.part"
    try:
        with os_errors_as(StoreError, f"cannot copy {file.name} to {target}"):
            _check_size(file.name, os.fstat(file.fileno()).st_size)
            target.unlink(missing_ok=True)  # another user's, it could not be written to
            with target.open("xb") as copied:
                while piece := file.read(_PIECE_BYTES):  # a pipe tells no size, and a file may grow
                    _check_size(file.name, copied.tell() + len(piece))
                    copied.write(piece)
    except (UpdateError, StoreError):
        with contextlib.suppress(OSError):
            target.unlink()
        raise
    return target


def _check_size(name: str, size: int) -> None:
    if size > MAX_BUNDLE_BYTES:
        raise UpdateError(
            f"{name} has {size} bytes or more; a bundle has {MAX_BUNDLE_BYTES} at most"
        )


def check_keys(model: Model) -> None:
    """See that not anybody's model is taken over the network. Raises UpdateError."""
    if not model.trusted_keys and not model.update.unsigned:
        raise UpdateError(
            "model.trusted_keys is empty: anybody's model would be taken. Name the key that signs "
            "yours, or set model.update.unsigned = true"
        )


def check_free(store: Store) -> None:
    """See that no model is on probation. Raises UpdateBusyError, StoreError."""
    record = store.change(lambda record: record)
    if record.probation is not None:
        raise UpdateBusyError(
            f"{record.current} is on probation; wait until it is confirmed, or roll back"
        )


def check_hash(file: Path, sha256: str | None) -> None:
    """Hold a file against the hash that was asked for. Raises UpdateError, StoreError."""
    if sha256 is None:
        return
    with os_errors_as(StoreError, f"cannot read {file}"), open(file, "rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != sha256:
        raise UpdateError(f"the file has SHA-256 {found}, not {sha256} as asked for")


def install(
    store: Store,
    model: Model,
    incoming: Path,
    *,
    sha256: str | None = None,
    allow_downgrade: bool = False,
    update: str | None = None,
    announce: Announce = lambda _phase, _proof: None,
    stop: Callable[[], bool] = lambda: False,
) -> Installed:
    """Install a file that lies in the store's ``incoming``; call within ``store.installing()``.

    The file is gone afterwards, unless `stop` ended it.

    Raises:
        ProofError: it is no sound bundle, is not signed as it must be, or does not prove itself.
        OtherModelError: it has another name than this device takes.
        DowngradeError: it is not newer, and `allow_downgrade` is not given.
        UpdateError: it runs already, or is not what was asked for.
        StoppedError: `stop` ended it.
        StoreError: the disk refuses.
    """
    check_free(store)
    try:
        check_hash(incoming, sha256)
        announce("proving", None)
        proof = prove_apart(incoming, model, stop)
        announce("proving", proof)
        before = current(store, model)
        _check_name(proof, wanted_name(model, before))
        _check_version(proof, before, allow_downgrade)
        announce("switching", proof)
        id = store.add(incoming, proof)
    except StoppedError:
        raise
    except BaseException:
        with contextlib.suppress(OSError):
            incoming.unlink()
        raise
    entry = _entry(proof)
    store.change(lambda record: _named(record, id, entry, update))
    with contextlib.suppress(OSError):
        incoming.unlink()
    store.prune()
    known = set(before.labels) if before else set()
    return Installed(
        id=id,
        entry=entry,
        labels_added=tuple(one for one in entry.labels if one not in known),
        labels_removed=tuple(sorted(known - set(entry.labels))),
    )


def roll_back(store: Store, reason: str, now: datetime) -> Record:
    """Go back to the previous model, or to the factory's where there is none.

    Raises:
        UpdateError: the factory model runs already.
        StoreError: the disk refuses.
    """

    def change(record: Record) -> Record:
        if record.current is None:
            raise UpdateError("the factory model runs; there is none to roll back to")
        return record.returned(reason, now)

    return store.change(change)


def _entry(proof: Proof) -> ModelEntry:
    return ModelEntry(**{name: getattr(proof, name) for name in ModelEntry.__struct_fields__})


def _named(record: Record, id: str, entry: ModelEntry, update: str | None) -> Record:
    """Name a model as the one to run; it goes to the end of the order of arrival."""
    models = {one: known for one, known in record.models.items() if one != id}
    return msgspec.structs.replace(
        record,
        models={**models, id: entry},
        previous=record.current,
        current=id,
        probation=Probation(),
        update=update,
    )


def _check_name(proof: Proof, wanted: str | None) -> None:
    if wanted is not None and proof.name != wanted:
        raise OtherModelError(
            f"it is {proof.name} {proof.version}, and this device takes models named {wanted} "
            "only; set model.name to change to another one"
        )


def _check_version(proof: Proof, before: ModelEntry | None, allow_downgrade: bool) -> None:
    if before is None or proof.name != before.name:
        return
    if proof.sha256 == before.sha256:
        raise UpdateError(f"{proof.name} {proof.version} ({proof.sha256[:12]}) runs already")
    if allow_downgrade or newer(proof.version, than=before.version):
        return
    if not newer(before.version, than=proof.version):
        raise SameVersionError(
            f"{proof.name} {proof.version} is not newer than {before.version}, which runs, and has "
            f"other contents ({proof.sha256[:12]}, not {before.sha256[:12]}); give it a higher "
            "version, or ask with allow_downgrade if it is meant"
        )
    raise DowngradeError(
        f"{proof.name} {proof.version} is not newer than {before.version}, which runs; ask "
        "with allow_downgrade if it is meant"
    )
