"""Values as TOML text: complete, as a default, or shortened for a message."""

from collections.abc import Mapping
from typing import Any

import tomli_w

from ddspec.dsl.terminal_text import escape_text

MOST_CHARACTERS = 64
"""Longest text of a value in a message."""


def toml_text(value: Any) -> str:
    """Return a TOML value on one line."""
    if isinstance(value, dict):
        pairs = ", ".join(f"{key} = {toml_text(inner)}" for key, inner in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_text, value)) + "]"
    return tomli_w.dumps({"value": value}).partition(" = ")[2].strip()


def default_text(value: object) -> str:
    """Return a default as TOML text, or "absent" for None, which TOML does not have."""
    match value:
        case None:
            return "absent"
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case tuple():
            return "[" + ", ".join(default_text(item) for item in value) + "]"
        case _:
            return str(value)


def short_text(value: Any) -> str:
    """Return a value as the user wrote it, on one line and cut if it is long."""
    match value:
        case bool():
            text = "true" if value else "false"
        case str():
            text = f'"{escape_text(value[:MOST_CHARACTERS])}"'
        case Mapping():
            text = "{ ... }" if value else "{ }"
        case list() | tuple():
            text = "[ ... ]" if value else "[ ]"
        case int() if abs(value) >= 10**60:
            text = "a number of more than sixty digits"
        case _:
            text = str(value)
    return text if len(text) <= MOST_CHARACTERS else text[:60] + "..."
