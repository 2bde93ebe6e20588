"""How often the program was started, and how it ended: kept beside the outbox."""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

import msgspec
from msgspec import Meta

from edge.errors import RecordError, ShortageError
from edge.messages.health import ProgramHealth
from edge.system.counters import Counters, Episode
from edge.system.record_file import RecordFile

log = logging.getLogger(__name__)


class StartRecord(msgspec.Struct, frozen=True):
    """What stands in the file."""

    boot: str
    """The computer's start in which the program ran last."""
    running: bool
    """It was started and did not say goodbye."""
    starts: Annotated[int, Meta(ge=0)] = 0
    unclean_ends: Annotated[int, Meta(ge=0)] = 0
    power_losses: Annotated[int, Meta(ge=0)] = 0


_NEVER = StartRecord("", running=False)


class StartCounter:
    """Counts a start when entered; marks a good end when left in good order.

    A disk that refuses costs the count, not the run.
    """

    def __init__(self, path: Path, boot: str, counters: Counters) -> None:
        self._file, self._boot, self._counters = RecordFile(path, StartRecord), boot, counters
        self._trouble = Episode("starts", counters, log)
        self._record: StartRecord | None = None

    @classmethod
    def beside(cls, outbox: Path, boot: str, counters: Counters) -> Self:
        """Keep the counts in a file beside the outbox."""
        return cls(outbox.with_name(f"{outbox.name}.starts"), boot, counters)

    def __enter__(self) -> Self:
        before = self._read()
        cut = before.running and before.boot != self._boot
        self._record = StartRecord(
            boot=self._boot,
            running=True,
            starts=before.starts + 1,
            unclean_ends=before.unclean_ends + (before.running and not cut),
            power_losses=before.power_losses + cut,
        )
        if before.running:
            log.warning("the last run did not end in good order: %s", _why(cut))
        self._write(self._record)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is None and self._record is not None:
            self._write(msgspec.structs.replace(self._record, running=False))

    def part(self) -> dict[str, object]:
        """The program's part of a health message."""
        return {"program": self.health()}

    def health(self) -> ProgramHealth:
        """The counts."""
        record = self._record or _NEVER
        return ProgramHealth(
            starts=record.starts,
            unclean_ends=record.unclean_ends,
            power_losses=record.power_losses,
            stalls=self._counters["stalls"],
        )

    def _read(self) -> StartRecord:
        try:
            return self._file.read() or _NEVER
        except (RecordError, ShortageError) as error:
            log.warning("%s; starts are counted from 0", error)
            return _NEVER

    def _write(self, record: StartRecord) -> None:
        with self._trouble.over(RecordError):
            self._file.replace(record)


def _why(cut: bool) -> str:
    return "the computer went down while it ran" if cut else "it was killed, or failed"
