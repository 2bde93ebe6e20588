"""The folder that holds models::

models.json                       the record
bundles/NAME-VERSION-SHA256.wtr   verified bundles (the first 12 digits of the hash)
incoming/                         what is on its way, and not yet believed
lock, install.lock                held while the record changes; while an update is under way
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge.errors import ConfigError, ShortageError, StoreError, UpdateBusyError, os_errors_as
from edge.messages.updates import ModelEntry
from edge.model.bundle.bundle import SUFFIX
from edge.system.files import put_aside, sync_folder
from edge.system.service_user import become_owner
from edge.updates import record as records
from edge.updates.proof import Proof
from edge.updates.record import Record

if TYPE_CHECKING:
    from edge.config import Config

log = logging.getLogger(__name__)


RECORD = "models.json"


def bundle_path(folder: Path, model: str) -> Path:
    """The bundle of a model in a store."""
    return folder / "bundles" / f"{model}{SUFFIX}"


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s cannot be removed: %s", file, error.strerror or error)


class Store:
    """Models on disk, in use by several threads and processes at once.

    `keep` and `max_bytes` bound the bundles; the current and the previous one always stay.

    Raises:
        StoreError: the folder cannot be made.
    """

    def __init__(self, folder: Path, keep: int = 4, max_bytes: int = 200_000_000) -> None:
        self.folder, self._keep, self._max_bytes = folder, keep, max_bytes
        self.record_path = folder / RECORD
        self.bundles, self.incoming = folder / "bundles", folder / "incoming"
        cure = "; give this user the right to, or change model.store"
        with os_errors_as(StoreError, f"cannot make {folder}", cure):
            for one in (folder, self.bundles, self.incoming):
                one.mkdir(parents=True, exist_ok=True)

    def read(self) -> Record:
        """Read the record. Raises StoreError where it is damaged."""
        return records.read(self.record_path)

    def change(self, change: Callable[[Record], Record]) -> Record:
        """Replace the record by what `change` makes of it, with nobody in between; on disk on
        return. A damaged record is set aside, and the change starts from the factory model.

        Raises:
            StoreError: the disk refuses; the record is as before, or the new one is there and may
                not survive a cut of the power.
        """
        with self.locked():
            before = self._sound()
            after = change(before)
            if after != before:
                records.write(self.record_path, after)
            return after

    def _sound(self) -> Record:
        try:
            return self.read()
        except StoreError as error:
            if isinstance(error.__cause__, ShortageError):
                raise
            log.error(
                "%s; it is kept as %s, and the configured bundle is used",
                error,
                records.set_aside(self.record_path),
            )
            return Record()

    def path(self, model: str) -> Path:
        """The bundle of a model."""
        return bundle_path(self.folder, model)

    def add(self, incoming: Path, proof: Proof) -> str:
        """Copy a proved file into the store; give its id.

        Nothing refers to it yet, and `incoming` stays, so that a kill now costs nothing but another
        try. Raises StoreError.
        """
        model = f"{proof.name}-{proof.version}-{proof.sha256[:12]}"
        target = self.path(model)
        copied = target.with_name(target.name + ".new")
        with os_errors_as(StoreError, f"cannot keep {model} in {self.bundles}"):
            try:
                shutil.copyfile(incoming, copied)
                with open(copied, "rb") as file:
                    os.fsync(file.fileno())
                os.replace(copied, target)
                sync_folder(self.bundles)
            except OSError:
                with contextlib.suppress(OSError):
                    copied.unlink()
                raise
        return model

    def prune(self) -> None:
        """Remove the oldest models beyond the bounds, and what the record does not know; what the
        disk does not let go stays, and is told in the log.
        """
        try:
            record = self.change(self._pruned)
            for file in self.bundles.iterdir():
                if file.name.removesuffix(SUFFIX) not in record.models:
                    _remove(file)
        except OSError as error:  # StoreError is one
            log.warning("older models stay in %s: %s", self.bundles, error)

    def _pruned(self, record: Record) -> Record:
        """Leave the oldest models out of the record; entries stand in the order of arrival."""
        models, needed = dict(record.models), {record.current, record.previous}
        for model in record.models:
            if len(models) <= self._keep and self._bytes(models) <= self._max_bytes:
                break
            if model not in needed:
                del models[model]
        return msgspec.structs.replace(record, models=models)

    @staticmethod
    def _bytes(models: dict[str, ModelEntry]) -> int:
        return sum(entry.bytes for entry in models.values())

    def installing(self) -> AbstractContextManager[None]:
        """Be the one update that is under way, of all processes.

        Raises UpdateBusyError, StoreError.
        """
        return self._lock("install.lock", fcntl.LOCK_NB)

    def locked(self) -> AbstractContextManager[None]:
        """Be the one, of all processes, that changes small files here. Raises StoreError."""
        return self._lock("lock")

    @contextlib.contextmanager
    def _lock(self, name: str, how: int = 0) -> Iterator[None]:
        path = self.folder / name
        with os_errors_as(StoreError, f"cannot open {path}"):
            if path.is_dir():
                put_aside(path)
            # To read is enough for flock, also of root's file; a pipe is not to be waited for.
            opened = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NONBLOCK, 0o644)
        try:
            with os_errors_as(StoreError, f"cannot lock {self.folder}"):
                try:
                    fcntl.flock(opened, fcntl.LOCK_EX | how)
                except BlockingIOError as error:
                    raise UpdateBusyError(
                        f"another update is under way in {self.folder}; wait for its end, or end "
                        "one that a request began: wheatear model cancel"
                    ) from error
            yield
        finally:
            os.close(opened)


def open_store(config: Config) -> Store:
    """Open the configured store, to write to it; as root, as the user who owns it from here on, so
    that the device can change what is written. Raises ConfigError, StoreError.
    """
    folder = store_folder(config)
    become_owner(folder)
    return Store(folder, config.model.update.keep, config.model.update.max_bytes)


def store_folder(config: Config) -> Path:
    """Where models are stored. Raises ConfigError where no folder is set."""
    if config.model.store is None:
        raise ConfigError("model.store is not set; name a folder, such as /var/lib/wheatear/models")
    return config.model.store
