"""Paths of keys in nested tables.

("expect", 0, "accuracy") is written `expect[1].accuracy`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

KeyPath = tuple[str | int, ...]
"""Names of tables and keys, and indices of lists counted from 0."""


def dotted(path: KeyPath) -> str:
    """Return a path as messages write it, with indices counted from 1."""
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def path_of(key: str) -> KeyPath:
    """Return the path that `dotted` writes as `key`."""
    parts: list[str | int] = []
    for part in key.split("."):
        name, bracket, index = part.partition("[")
        parts.append(name)
        if bracket:
            parts.append(int(index.rstrip("]")) - 1)
    return tuple(parts)


def without_indices(path: KeyPath) -> str:
    """Return a path as the catalogue of keys writes it: dotted, without indices."""
    return ".".join(part for part in path if isinstance(part, str))


def leaves(
    value: Any, path: KeyPath = (), *, lists: bool = False, empty_tables: bool = False
) -> Iterator[tuple[KeyPath, Any]]:
    """Yield path and value of every key that is not a table.

    With `lists`, the tables in a list of tables are entered too; with `empty_tables`, an empty
    table counts as a value.
    """
    if isinstance(value, Mapping) and (value or not (empty_tables and path)):
        for name, inner in value.items():
            yield from leaves(inner, (*path, name), lists=lists, empty_tables=empty_tables)
    elif lists and isinstance(value, list) and value and all(isinstance(i, dict) for i in value):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index), lists=lists, empty_tables=empty_tables)
    else:
        yield path, value
