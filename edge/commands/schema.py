"""``wheatear schema``: the messages' JSON Schema, and the documents made from it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edge.messages.asyncapi import document
from edge.messages.payloads import schemas
from edge.messages.reference import markdown

if TYPE_CHECKING:
    import argparse

    from edge.commands.console import Console


def main(arguments: argparse.Namespace, console: Console) -> int:
    """Print the schemas, the AsyncAPI document, or the topics reference as Markdown."""
    if arguments.asyncapi:
        text = json.dumps(document(), indent=2)
    else:
        text = markdown() if arguments.markdown else json.dumps(schemas(), indent=2)
    console.out(text.rstrip("\n"))
    return 0
