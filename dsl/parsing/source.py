"""The text of a spec: its values, and where each of them stands.

Values and syntax errors come from tomli, positions from tree-sitter-toml, which sees table
headers as well as keys. tree-sitter counts bytes; `Span` counts characters.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import tomli
import tree_sitter_toml
from tree_sitter import Language, Node, Parser

from ddspec.dsl.diagnostics import Diagnostic, Span, SpecError
from ddspec.dsl.key_path import KeyPath

"""Where a value lies: table and key names, and indices into arrays."""

MAX_CHARACTERS = 1_000_000


@dataclass(frozen=True)
class Place:
    """Where a key is written and where its value is; a table's place is its header."""

    key: Span
    value: Span


@dataclass(frozen=True)
class Source:
    """A parsed text with the place of everything in it."""

    name: str
    text: str
    values: dict[str, Any]
    places: Mapping[KeyPath, Place]

    def line(self, number: int) -> str:
        """Text of a line, counted from 1."""
        return self.text.split("\n")[number - 1].rstrip("\r")

    def nearest(self, path: KeyPath) -> Place | None:
        """Place of the path, or of the deepest table above it that is written."""
        while path:
            if path in self.places:
                return self.places[path]
            path = path[:-1]
        return None


def read_source(text: str, name: str) -> Source:
    """Parse the text of a spec; `name` is what messages call the file.

    Raises SpecError where the text is no TOML.
    """
    if len(text) > MAX_CHARACTERS:
        problem = f"the file has {len(text)} characters; a spec has at most {MAX_CHARACTERS}"
        raise SpecError([Diagnostic("toml-syntax", "", problem, file=name)])
    try:
        values = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        line = text.replace("\r\n", "\n").split("\n")[error.lineno - 1]
        raise SpecError(
            [
                Diagnostic(
                    code="toml-syntax",
                    key="",
                    problem=sentence(error.msg),
                    hint="strings need quotes, tables stand in [brackets], a key stands once",
                    file=name,
                    span=Span(error.lineno, min(error.colno, len(line) + 1)),
                    line_text=line,
                )
            ]
        ) from None
    except (RecursionError, ValueError) as error:
        deep = isinstance(error, RecursionError)
        problem = "arrays or tables are nested too deeply" if deep else "a number is too long"
        raise SpecError([Diagnostic("toml-syntax", "", problem, file=name)]) from None
    return Source(name, text, values, find_places(text))


def sentence(message: str) -> str:
    """A parser's message in the form of ours: small first letter, no full stop."""
    return message[:1].lower() + message[1:].rstrip(".")


def find_places(text: str) -> dict[KeyPath, Place]:
    """The place of every table, key and array item in the text."""
    raw = text.encode()
    lines = raw.split(b"\n")

    def span(node: Node) -> Span:
        row, byte = node.start_point.row, node.start_point.column
        end_row, end_byte = node.end_point.row, node.end_point.column
        line = lines[row].rstrip(b"\r")
        last = end_byte if end_row == row else len(line)
        column = len(line[:byte].decode(errors="replace"))
        return Span(row + 1, column + 1, max(1, len(line[byte:last].decode(errors="replace"))))

    places: dict[KeyPath, Place] = {}
    array_lengths: dict[KeyPath, int] = {}
    root = Parser(Language(tree_sitter_toml.language())).parse(raw).root_node
    for node in root.named_children:
        if node.type == "pair":
            add_pair(places, (), node, span)
        elif node.type in ("table", "table_array_element"):
            header = node.named_children[0]
            table = with_indices(key_parts(header), array_lengths)
            here = Place(span(header), span(header))
            for depth in range(1, len(table)):
                places.setdefault(table[:depth], here)
            if node.type == "table_array_element":
                places.setdefault(table, here)
                index = array_lengths.get(table, 0)
                array_lengths[table] = index + 1
                table = (*table, index)
            places[table] = here
            for pair in node.named_children[1:]:
                if pair.type == "pair":
                    add_pair(places, table, pair, span)
    return places


def with_indices(parts: list[str], array_lengths: Mapping[KeyPath, int]) -> KeyPath:
    """A header's path, with the index of the last element of each array of tables above it."""
    path: KeyPath = ()
    for part in parts[:-1]:
        path = (*path, part)
        if path in array_lengths:
            path = (*path, array_lengths[path] - 1)
    return (*path, parts[-1]) if parts else path


def add_pair(places: dict[KeyPath, Place], table: KeyPath, pair: Node, span: Any) -> None:
    """Enter `key = value`, and what lies inside the value."""
    if len(pair.named_children) < 2:
        return
    key, value = pair.named_children[0], pair.named_children[1]
    parts = key_parts(key)
    path = (*table, *parts)
    for depth in range(1, len(parts)):
        places.setdefault((*table, *parts[:depth]), Place(span(key), span(key)))
    places[path] = Place(span(key), span(value))
    add_value(places, path, value, span)


def add_value(places: dict[KeyPath, Place], path: KeyPath, value: Node, span: Any) -> None:
    """Enter what lies inside an inline table or an array."""
    if value.type == "inline_table":
        for pair in value.named_children:
            if pair.type == "pair":
                add_pair(places, path, pair, span)
    elif value.type == "array":
        items = [item for item in value.named_children if item.type != "comment"]
        for index, item in enumerate(items):
            places[(*path, index)] = Place(span(item), span(item))
            add_value(places, (*path, index), item, span)


def key_parts(key: Node) -> list[str]:
    """The names in a bare, quoted or dotted key."""
    return list(iterate_parts(key))


def iterate_parts(key: Node) -> Iterator[str]:
    """Names in order; quoted ones are read by tomli, so that escapes mean the same."""
    if key.type == "dotted_key":
        for part in key.named_children:
            yield from iterate_parts(part)
    elif key.type == "quoted_key" and key.text:
        try:
            yield next(iter(tomli.loads(f"{key.text.decode()} = 0")))
        except tomli.TOMLDecodeError:
            yield key.text.decode()
    elif key.text:
        yield key.text.decode()
