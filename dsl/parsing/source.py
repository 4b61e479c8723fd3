"""The text of a spec: its values, and the line and column of each of them.

Values and syntax errors come from tomli, positions from tree-sitter-toml, which sees table
headers as well as keys. tree-sitter counts columns in bytes, `Span` in characters.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import tomli
import tree_sitter_toml
from tree_sitter import Language, Node, Parser

from ddspec.dsl.diagnostics import Diagnostic, Span, SpecError
from ddspec.dsl.key_path import KeyPath, leaves

MAX_CHARACTERS = 1_000_000
"""Longest text that is parsed, so that a wrong file is refused at once."""

MOST_KEYS = 30_000
"""Most keys and empty tables of a text."""

MOST_LOCATED_ITEMS = 1000
"""Longest array whose items have locations of their own; a sweep has no longer ones."""


@dataclass(frozen=True)
class Location:
    """The spans of a key and of its value; for a table, both are its header."""

    key: Span
    value: Span


@dataclass(frozen=True)
class Source:
    """A parsed text with the location of everything in it."""

    name: str
    text: str
    values: dict[str, Any]
    locations: Mapping[KeyPath, Location]

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the text, without their ends."""
        return [line.rstrip("\r") for line in self.text.split("\n")]

    def line(self, number: int) -> str:
        """Return the text of a line; lines are counted from 1."""
        return self.lines[number - 1]

    def nearest_location(self, path: KeyPath) -> Location | None:
        """Return the location of the path, or of the nearest table above it."""
        while path:
            if path in self.locations:
                return self.locations[path]
            path = path[:-1]
        return None


def read_source(text: str, name: str) -> Source:
    """Parse the text of a spec; `name` is the file's name in messages.

    Raises SpecError if the text is not TOML.
    """
    if len(text) > MAX_CHARACTERS:
        problem = (
            f"the file has {len(text)} characters, but a spec may have at most {MAX_CHARACTERS}"
        )
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
                    problem=as_problem(error.msg),
                    hint="write strings in quotes, table names in [brackets], and each key once",
                    file=name,
                    span=Span(error.lineno, min(error.colno, len(line) + 1)),
                    line_text=line,
                )
            ]
        ) from None
    except (RecursionError, ValueError) as error:
        deep = isinstance(error, RecursionError)
        problem = (
            "arrays or tables are nested too deeply" if deep else "a number has too many digits"
        )
        raise SpecError([Diagnostic("toml-syntax", "", problem, file=name)]) from None
    keys = count_keys(values)
    if keys > MOST_KEYS:
        problem = f"the file has {keys} keys, but a spec may have at most {MOST_KEYS}"
        raise SpecError([Diagnostic("toml-syntax", "", problem, file=name)])
    return Source(name, text, values, find_locations(text))


def count_keys(values: Mapping[str, Any]) -> int:
    """Return the number of keys in nested tables and lists of tables; empty tables count too."""
    return sum(1 for _ in leaves(values, lists=True, empty_tables=True))


def as_problem(message: str) -> str:
    """Return a parser's message as a problem: small first letter, no full stop."""
    return message[:1].lower() + message[1:].rstrip(".")


def find_locations(text: str) -> dict[KeyPath, Location]:
    """Return the location of every table, key and array item in the text."""
    raw = text.encode()
    lines = [ByteLine(line.rstrip(b"\r")) for line in raw.split(b"\n")]

    def span(node: Node) -> Span:
        row, byte = node.start_point.row, node.start_point.column
        end_row, end_byte = node.end_point.row, node.end_point.column
        line = lines[row]
        last = end_byte if end_row == row else len(line.raw)
        column = line.column(byte)
        return Span(row + 1, column + 1, max(1, line.column(last) - column))

    locations: dict[KeyPath, Location] = {}
    array_lengths: dict[KeyPath, int] = {}
    root = Parser(Language(tree_sitter_toml.language())).parse(raw).root_node
    for node in root.named_children:
        if node.type == "pair":
            add_pair(locations, (), node, span)
        elif node.type in ("table", "table_array_element"):
            header = node.named_children[0]
            table = with_indices(key_parts(header), array_lengths)
            at_header = Location(span(header), span(header))
            for depth in range(1, len(table)):
                locations.setdefault(table[:depth], at_header)
            if node.type == "table_array_element":
                locations.setdefault(table, at_header)
                index = array_lengths.get(table, 0)
                array_lengths[table] = index + 1
                table = (*table, index)
            locations[table] = at_header
            for pair in node.named_children[1:]:
                if pair.type == "pair":
                    add_pair(locations, table, pair, span)
    return locations


@dataclass(frozen=True)
class ByteLine:
    """A line in UTF-8, whose columns are wanted in characters."""

    raw: bytes

    @cached_property
    def columns(self) -> list[int] | None:
        """The number of characters before each byte, or None if every byte is one."""
        if self.raw.isascii():
            return None
        # Bytes 10xxxxxx continue a character.
        return list(accumulate((byte & 0xC0 != 0x80 for byte in self.raw), initial=0))

    def column(self, byte: int) -> int:
        """Return the number of characters that begin before a byte of the line."""
        byte = min(byte, len(self.raw))
        return byte if self.columns is None else self.columns[byte]


def with_indices(parts: list[str], array_lengths: Mapping[KeyPath, int]) -> KeyPath:
    """Return a header's path, with the last index of every array of tables above it."""
    path: KeyPath = ()
    for part in parts[:-1]:
        path = (*path, part)
        if path in array_lengths:
            path = (*path, array_lengths[path] - 1)
    return (*path, parts[-1]) if parts else path


def add_pair(locations: dict[KeyPath, Location], table: KeyPath, pair: Node, span: Any) -> None:
    """Add the locations of `key = value` and of everything inside the value."""
    if len(pair.named_children) < 2:
        return
    key, value = pair.named_children[0], pair.named_children[1]
    parts = key_parts(key)
    path = (*table, *parts)
    for depth in range(1, len(parts)):
        locations.setdefault((*table, *parts[:depth]), Location(span(key), span(key)))
    locations[path] = Location(span(key), span(value))
    add_value(locations, path, value, span)


def add_value(locations: dict[KeyPath, Location], path: KeyPath, value: Node, span: Any) -> None:
    """Add the locations of everything inside an inline table or an array."""
    if value.type == "inline_table":
        for pair in value.named_children:
            if pair.type == "pair":
                add_pair(locations, path, pair, span)
    elif value.type == "array":
        items = [item for item in value.named_children if item.type != "comment"]
        if len(items) > MOST_LOCATED_ITEMS:
            return
        for index, item in enumerate(items):
            locations[(*path, index)] = Location(span(item), span(item))
            add_value(locations, (*path, index), item, span)


def key_parts(key: Node) -> list[str]:
    """Return the names in a bare, quoted or dotted key."""
    return list(iterate_parts(key))


def iterate_parts(key: Node) -> Iterator[str]:
    """Yield the names in order; tomli reads quoted ones that have escapes."""
    if key.type == "dotted_key":
        for part in key.named_children:
            yield from iterate_parts(part)
    elif key.type == "quoted_key" and key.text and b"\\" not in key.text:
        yield key.text.decode()[1:-1]
    elif key.type == "quoted_key" and key.text:
        try:
            yield next(iter(tomli.loads(f"{key.text.decode()} = 0")))
        except tomli.TOMLDecodeError:
            yield key.text.decode()
    elif key.text:
        yield key.text.decode()
