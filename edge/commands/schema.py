"""``wheatear schema``: the JSON Schema of messages, and the documents made from the code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edge.config import Requests, reference
from edge.messages import verb_reference
from edge.messages.asyncapi import document
from edge.messages.payloads import schemas
from edge.messages.reference import markdown

if TYPE_CHECKING:
    import argparse

    from edge.commands.console import Console


def main(arguments: argparse.Namespace, console: Console) -> int:
    """Print the schemas, the AsyncAPI document, or topics, requests or settings as Markdown."""
    if arguments.settings:
        text = reference.markdown()
    elif arguments.requests:
        text = verb_reference.markdown(Requests().allow)
    elif arguments.asyncapi:
        text = json.dumps(document(), indent=2)
    else:
        text = markdown() if arguments.markdown else json.dumps(schemas(), indent=2)
    console.out(text.rstrip("\n"))
    return 0
