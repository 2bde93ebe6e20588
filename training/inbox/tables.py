"""What the collected pictures are labelled with: a CSV, and Label Studio's import and export."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from xml.sax.saxutils import quoteattr

from edge.errors import DataError
from edge.system.files import write_whole
from edge.text.encodings import read_text
from training.data.dataset import UNLABELLED
from training.inbox.store import Record

COLUMNS = (
    "file",
    "label",
    "split",
    "group",
    "proposal",
    "confidence",
    "kept",
    "time",
    "device",
    "id",
)
LOCAL_FILES = "/data/local-files/?d="
"""How Label Studio names a file below its LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT."""
_NAME, _IMAGE = "label", "image"


def write_labels(path: Path, records: Sequence[Record], given: Mapping[str, str] = {}) -> int:
    """Write the CSV; give how many rows have a label.

    What a person put into the ``label``, ``split`` and ``group`` of an earlier one stays, and so do
    rows of files that are not ours; `given` are new labels by file. A proposal never becomes one.

    Raises:
        DataError: the CSV there cannot be read; it is left as it is.
    """
    before = _read(path)
    rows = {}
    for record in records:
        item = record.item
        old = before.pop(record.file, {})
        rows[record.file] = {
            **old,
            "file": record.file,
            "label": given.get(record.file) or old.get("label") or UNLABELLED,
            "split": old.get("split", ""),
            "group": old.get("group") or record.group,
            "proposal": record.proposal,
            "confidence": f"{item.confidence:.3f}",
            "kept": item.kept,
            "time": item.time.isoformat(timespec="seconds"),
            "device": item.device,
            "id": item.id,
        }
    rows.update(before)
    more = dict.fromkeys(name for row in rows.values() for name in row if name not in COLUMNS)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, (*COLUMNS, *more), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows[name] for name in sorted(rows))
    write_whole(path, text.getvalue().encode())
    return sum(row["label"] != UNLABELLED for row in rows.values())


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            rows = list(reader)
            if not {"file", "label"} <= set(reader.fieldnames or ()):
                raise DataError(f"{path}: columns file and label are missing; move it away")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error}); correct it or move it away") from error
    if any(None in row for row in rows):
        raise DataError(f"{path}: a row has more fields than the header; quote names with commas")
    return {row["file"]: row for row in rows}


def tasks(records: Iterable[Record], prefix: str = LOCAL_FILES) -> list[dict[str, Any]]:
    """Make Label Studio tasks; what the model says is a *prediction*, for a person to confirm.

    `prefix` goes before each file's path, which is percent-encoded.
    """
    return [_task(record, prefix) for record in records]


def _task(record: Record, prefix: str) -> dict[str, Any]:
    item = record.item
    task: dict[str, Any] = {
        "data": {
            "image": prefix + quote(record.file),
            "file": record.file,
            "device": item.device,
            "time": item.time.isoformat(timespec="seconds"),
            "kept": item.kept,
            "group": record.group,
        }
    }
    if record.proposal:
        choice = {"choices": [record.proposal]}
        where = {"from_name": _NAME, "to_name": _IMAGE, "type": "choices"}
        task["predictions"] = [
            {
                "model_version": f"{item.model.name} {item.model.version}".strip(),
                "score": round(item.confidence, 4),
                "result": [{**where, "value": choice, "score": round(item.confidence, 4)}],
            }
        ]
    return task


def interface(labels: Iterable[str]) -> str:
    """The labelling interface (Label Studio's XML) for these classes."""
    choices = "".join(f"<Choice value={quoteattr(label)}/>\n    " for label in labels)
    return (
        f'<View>\n  <Image name="{_IMAGE}" value="$image" zoom="true"/>\n'
        '  <Text name="about" value="$device $time $kept"/>\n'
        f'  <Choices name="{_NAME}" toName="{_IMAGE}" choice="single" showInline="true">\n'
        f"    {choices.rstrip()}\n  </Choices>\n</View>\n"
    )


def read_annotations(path: Path) -> dict[str, str]:
    """Read the labels by file from Label Studio's export (JSON or JSON-MIN).

    Tasks that were skipped, and those nobody looked at, are left out; of several annotations the
    last counts.

    Raises:
        DataError: no such export.
    """
    try:
        exported = json.loads(read_text(path))
        return {
            file: label
            for task in exported
            if (file := _file(task.get("data", task))) and (label := _label(task))
        }
    except (OSError, ValueError, AttributeError, KeyError, TypeError, IndexError) as error:
        raise DataError(
            f"{path}: not an export of Label Studio ({error!r}); choose JSON or JSON-MIN there"
        ) from error


def _file(data: Mapping[str, Any]) -> str:
    if data.get("file"):
        return str(data["file"])
    query = urlsplit(str(data["image"])).query
    return unquote(query.removeprefix("d="))


def _label(task: Mapping[str, Any]) -> str:
    if "annotations" not in task:  # JSON-MIN
        return str(task.get(_NAME) or "")
    label = ""
    for one in task["annotations"]:
        for result in () if one.get("was_cancelled") else one["result"]:
            if result["from_name"] == _NAME:
                label = str(result["value"]["choices"][0])
    return label
