"""Documents tell the truth: commands parse, links lead somewhere, make targets exist."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

import edge.commands.cli
import quantize.commands.cli
import training.commands.cli

TREE = Path(__file__).parent.parent
PAGES = sorted([TREE / "README.md", TREE / "CONTRIBUTING.md", *(TREE / "docs").rglob("*.md")])
SHELL = re.compile(r"^```(?:sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TARGET = re.compile(r"^([a-z-]+):.*## ", re.MULTILINE)


def commands(page: Path) -> list[list[str]]:
    """Every command line of a page's shell blocks, split into words, comments taken away."""
    lines = []
    for block in SHELL.findall(page.read_text(encoding="utf-8")):
        joined = block.replace("\\\n", " ")
        lines += [
            shlex.split(line.removeprefix("$ "), comments=True) for line in joined.splitlines()
        ]
    return [line for line in lines if line]


def flags(words: list[str]) -> set[str]:
    """The long options among the words of a command."""
    return {word.partition("=")[0] for word in words if word.startswith("--")}


def check_typer(app: typer.Typer, words: list[str]) -> None:
    """The subcommand exists and knows every option that is shown."""
    group: Any = typer.main.get_command(app)
    assert words[0] in group.commands, f"no such command: {words[0]}"
    known = {name for p in group.commands[words[0]].params for name in (*p.opts, *p.secondary_opts)}
    assert flags(words) <= known | {"--help"}, flags(words) - known


def check_device(words: list[str]) -> None:
    """The `wheatear` subcommand exists and knows every option that is shown."""
    if words[0].startswith("--"):
        return
    (found,) = [command for command in edge.commands.cli.COMMANDS if command.name == words[0]]
    parser = argparse.ArgumentParser()
    found.add_arguments(parser)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            parser = action.choices[words[1]]
    assert flags(words) <= set(parser._option_string_actions), words


def check_make(words: list[str]) -> None:
    """The targets exist."""
    targets = TARGET.findall((TREE / "Makefile").read_text(encoding="utf-8"))
    asked = [word for word in words if re.fullmatch(r"[a-z-]+", word)]
    assert set(asked) <= set(targets), asked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(TREE).as_posix())
def test_every_command_shown_is_understood(page):
    """Subcommands, options and make targets in shell blocks are the real ones."""
    for words in commands(page):
        words = [word for word in words if not re.fullmatch(r"[A-Z_]+=\S*", word)]
        match words:
            case [python, "-m", "training", *rest] if python.startswith("python"):
                check_typer(training.commands.cli.app, rest)
            case [python, "-m", "quantize", *rest] if python.startswith("python"):
                check_typer(quantize.commands.cli.app, rest)
            case ["make", *rest]:
                check_make(rest)
            case [program, *rest] if Path(program).name == "wheatear":
                check_device(rest)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(TREE).as_posix())
def test_every_link_leads_somewhere(page):
    """Relative links and pictures point at files that are there."""
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def anchors(text: str, level: str = "#+") -> list[str]:
    """The names that headings (of a level) can be linked by, in order."""
    titles = re.findall(rf"^{level} (.+)$", re.sub(r"(?ms)^```.*?^```", "", text), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(TREE).as_posix())
def test_every_link_to_a_section_finds_its_heading(page):
    """What stands behind the # of a link is a heading of the page that is linked to."""
    for target, section in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", page.read_text("utf-8")):
        if "://" not in target:
            there = page.parent / target if target else page
            assert section in anchors(there.read_text("utf-8")), (
                f"{page.name} links to {target}#{section}"
            )


DEVICE = sorted((TREE / "docs" / "device").glob("*.md"))
MADE_FROM_THE_PROGRAM = ("settings.md", "verbs.md")


@pytest.mark.parametrize("page", DEVICE, ids=lambda page: page.name)
def test_the_contents_of_a_page_about_the_device_name_every_section(page):
    """The list at its top leaves none of the sections out, and keeps their order."""
    text = page.read_text(encoding="utf-8")
    if contents := re.search(r"^On this page: (.*?)\n\n", text, re.MULTILINE | re.DOTALL):
        assert re.findall(r"\(#([^)]+)\)", contents[1]) == anchors(text, "##")
    else:
        assert page.name in MADE_FROM_THE_PROGRAM or len(anchors(text, "##")) == 1


def test_the_device_page_leads_to_all_of_its_pages():
    """None of the pages about the device has to be searched for."""
    text = (TREE / "docs" / "device.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\(device/([a-z]+\.md)\)", text)) == [page.name for page in DEVICE]


def test_every_decision_has_a_number_of_its_own():
    """No two records bear one number, and each one's heading says that of its file."""
    records = sorted((TREE / "docs" / "adr").glob("[0-9]*.md"))
    numbers = [int(record.name.partition("-")[0]) for record in records]
    assert len(set(numbers)) == len(numbers), records
    for number, record in zip(numbers, records, strict=True):
        title = record.read_text(encoding="utf-8").partition("\n")[0]
        assert re.match(r"# (\d+)\. ", title)[1] == str(number), record.name  # type: ignore[index]


def test_the_index_of_decisions_is_complete():
    """Each record has its line, in order, with the title, date and status that stand in it."""
    lines = []
    for record in sorted((TREE / "docs" / "adr").glob("[0-9]*.md")):
        text = record.read_text(encoding="utf-8")
        found = re.match(r"# (\d+)\. (.+)\n\nDate: (.+?)\. Status: (.+)\.\n", text)
        assert found is not None, f"{record.name}: a title and a line with date and status"
        number, *rest = found.groups()
        lines.append(f"| {' | '.join([f'[{number}]({record.name})', *rest])} |")
    index = (TREE / "docs" / "adr" / "README.md").read_text(encoding="utf-8")
    assert [line for line in index.splitlines() if line.startswith("| [")] == lines


def test_what_changed_a_decision_is_named_on_both_sides():
    """A record that changes another is named in that one's status, and the other way round."""
    pairs = 0
    for record in (TREE / "docs" / "adr").glob("[0-9]*.md"):
        status = record.read_text(encoding="utf-8").split("Status: ")[1].partition("\n")[0]
        for other in re.findall(r"(?:changes|changed|superseded) [^;]*\(([^)]+)\)", status):
            back = (TREE / "docs" / "adr" / other).read_text(encoding="utf-8").split("\n\n")[1]
            assert record.name in back, f"{other} does not name {record.name}"
            pairs += 1
    assert pairs


def test_hooks_before_a_commit_use_what_is_installed():
    """Every hook is a tool of the environment that `make lint` makes; none is fetched."""
    text = (TREE / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"repo: (.*)", text) == ["local"]
    asked = re.findall(r"entry: \.venv/bin/(\S+)", text)
    locked = (TREE / "requirements" / "lint.txt").read_text(encoding="utf-8")
    assert all(re.search(rf"(?m)^{tool}==", locked) for tool in asked)
    assert len(asked) == text.count("- id: ") == text.count("language: system") == 3


def test_files_that_the_architecture_names_are_there():
    """But for the ones that its recipes make up."""
    told = (TREE / "docs" / "architecture.md").read_text("utf-8").partition("## Adding a camera")[0]
    named = set(re.findall(r"`([\w/]+\.py)`", told))
    places = [path.as_posix() for top in ("edge", "training", "quantize", "tests")
              for path in (TREE / top).rglob("*.py")]  # fmt: skip
    assert [name for name in named if not any(one.endswith(f"/{name}") for one in places)] == []
    assert len(named) > 40


def test_the_readme_shows_commands():
    """The check above has something to check."""
    assert len(commands(TREE / "README.md")) > 10


def test_help_lists_every_target():
    """The Makefile keeps to sixteen targets, each explained."""
    text = (TREE / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony is not None
    assert sorted(phony[1].split()) == sorted(TARGET.findall(text))
    assert len(phony[1].split()) <= 16
