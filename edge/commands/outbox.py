"""``wheatear outbox``: a person looks at dead letters, releases or discards them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.config import load_config
from edge.device.dead_letter_verbs import LetterVerbs
from edge.messages.verbs import WhichLetters
from edge.outbox.dead_letters import FOLDER, DeadLetters

if TYPE_CHECKING:
    import argparse

    from edge.commands.console import Console


def main(arguments: argparse.Namespace, console: Console) -> int:
    """List, release or discard the dead letters of a device, running or not."""
    config = load_config(arguments.config)
    letters = DeadLetters(config.outbox.path.with_name(FOLDER), config.outbox.max_dead_letter_bytes)
    if arguments.action == "list":
        for letter in (held := letters.held()):
            console.out(f"{letter.id}  {letter.set_aside:%Y-%m-%d %H:%M}Z  {letter}")
        if not held:
            console.err("nothing is set aside")
        return 0
    which = WhichLetters(ids=tuple(arguments.ids), all=arguments.all)
    desk = LetterVerbs(letters)
    if arguments.action == "release":
        console.out(f"{desk.release(which).count} released; the device sends them when it runs")
    else:
        console.out(f"{desk.discard(which).count} discarded")
    return 0
