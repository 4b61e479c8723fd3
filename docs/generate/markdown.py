"""Markdown as MyST reads it: tables, anchors, and plain text that means no markup."""

import re
from collections.abc import Iterable, Sequence

MARKUP = re.compile(r"([\\`*_{}\[\]<>#|$~^])")
"""Characters that MyST could take for markup."""


def plain(text: str) -> str:
    """Return a text on one line in which no character is markup."""
    return MARKUP.sub(r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """Return a text as code, for a paragraph or the cell of a table."""
    fence = "``" if "`" in text else "`"
    space = " " if "`" in text else ""
    return f"{fence}{space}{text.replace('|', chr(92) + '|')}{space}{fence}"


def anchor(name: str) -> str:
    """Return a line that makes the next heading the target of links to `#name`."""
    return f"({name})="


def link(text: str, target: str) -> str:
    """Return a link; `text` is Markdown, `target` a path or `#` and an anchor."""
    return f"[{text}]({target})"


def block(text: str, language: str = "text") -> str:
    """Return a block of code, whatever backticks are in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; the cells are Markdown on one line each."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def fields(values: Iterable[tuple[str, str]]) -> str:
    """Return a field list: names with values, which are Markdown on one line each."""
    return "\n".join(f":{name}: {value}" for name, value in values)


def toctree(names: Iterable[str], depth: int = 1) -> str:
    """Return a table of contents of pages in the same folder, without their suffix."""
    return "\n".join(["```{toctree}", f":maxdepth: {depth}", "", *names, "```"])


def page(*parts: str) -> str:
    """Return a page of parts, with an empty line between them."""
    return "\n\n".join(part for part in parts if part) + "\n"
