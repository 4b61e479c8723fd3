"""Texts of the language as Markdown: docstrings, meanings and explanations, with links.

Keys and commands that a text names become links to their place in the reference.
"""

import ast
import importlib.util
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import typer

from ddspec.cli.main import app
from ddspec.cli.store import store_app
from ddspec.dsl.parsing.sweep import SWEEP
from ddspec.dsl.spec.catalogue import catalogue
from docs.generate.markdown import block, code, link, plain, table

NAMED = re.compile(
    r"\[\[?[a-z_.]+\]\]?|[a-z_0-9]+(?:\.[a-z_0-9]+)+|(?<![\w-])--[a-z][a-z-]*|\$[A-Z_]+"
)
"""A table's header, a dotted path, an option of a command, or an environment variable."""


def prose(text: str) -> str:
    """Return a text of one paragraph as Markdown; what stands in backticks is code."""
    parts = " ".join(text.split()).split("`")
    if len(parts) % 2 == 0:
        raise ValueError(f"an odd number of backticks in {text!r}")
    return "".join(
        code_link(part) if number % 2 else linked(part) for number, part in enumerate(parts)
    )


def code_link(text: str) -> str:
    """Return code, linked if it is a key or a call of a command."""
    target = target_of(text)
    return link(code(text), target) if target else code(text)


def linked(text: str) -> str:
    """Return plain text as Markdown in which the names of keys and tables are links."""
    pieces: list[str] = []
    end = 0
    for match in NAMED.finditer(text):
        name = match.group()
        if target_of(name) or name[0] in "-$":
            pieces += [plain_part(text[end : match.start()]), code_link(name)]
            end = match.end()
    return "".join([*pieces, plain_part(text[end:])])


def plain_part(text: str) -> str:
    """Return part of a line as plain text, with the spaces at its ends."""
    core = plain(text)
    return f"{' ' * text.startswith(' ')}{core}{' ' * text.endswith(' ')}" if core else text


def target_of(text: str) -> str | None:
    """Return the target of the link to a key, a [table] or a command; None for other texts."""
    if text.startswith("ddspec "):
        words = text.split()[1:]
        named = [" ".join(words[:count]) for count in (2, 1)]
        known = next((name for name in named if name in command_names()), None)
        return f"#command.{known.replace(' ', '.')}" if known else None
    is_header = text.startswith("[")
    path = text.strip("[]")
    if is_header and path.partition(".")[0] == SWEEP:
        return f"#key.{SWEEP}"
    known_key = catalogue().get(path)
    if known_key is None or not (known_key.is_table if is_header else "." in path):
        return None
    return f"#key.{path}"


def docstring_markdown(text: str) -> str:
    """Return a docstring of several paragraphs as Markdown; tables stay tables."""
    return "\n\n".join(blocks(inspect.cleandoc(text)))


def blocks(text: str) -> Iterator[str]:
    """Yield the paragraphs, tables and indented blocks of a docstring as Markdown."""
    for part in re.split(r"\n\s*\n", text):
        if part.startswith("|"):
            rows = [[prose(cell) for cell in cells_of(line)] for line in part.splitlines()]
            yield table(rows[0], rows[2:])
        elif part.startswith("    "):
            yield block(inspect.cleandoc(part))
        else:
            yield prose(part)


def cells_of(line: str) -> list[str]:
    """Return the cells of a table's row."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


@cache
def command_names() -> tuple[str, ...]:
    """Return the names of all commands; those of `ddspec store` have two words."""
    return tuple(
        " ".join([*group, name])
        for group, commands in (((), app), (("store",), store_app))
        for name in typer.main.get_group(commands).commands
        if name != "store"
    )


@cache
def module_docstring(module: str) -> str:
    """Return the docstring of a module without importing it; some modules import torch."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise ValueError(f"no module {module}")
    docstring = ast.get_docstring(ast.parse(Path(found.origin).read_text(encoding="utf-8")))
    if docstring is None:
        raise ValueError(f"{module} has no docstring")
    return docstring
