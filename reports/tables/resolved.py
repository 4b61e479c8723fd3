"""Resolved values: the value of every key of the language, and its origin."""

from dataclasses import dataclass
from typing import Any

import tomli

from ddspec.dsl.diagnostics import RecordError, SpecError
from ddspec.dsl.key_path import KeyPath, dotted, leaves, without_indices
from ddspec.dsl.parsing.loader import apply_override
from ddspec.dsl.parsing.source import Source, read_source
from ddspec.dsl.record.file_names import SPEC_TOML
from ddspec.dsl.record.record import Record
from ddspec.dsl.spec.catalogue import catalogue, tag_of
from ddspec.dsl.toml_text import default_text


@dataclass(frozen=True)
class ResolvedRow:
    """One key of the resolved spec."""

    key: str
    value: str
    origin: str
    """`spec`, `--set` or `default`."""
    line: int | None
    """Line of the spec, if the value was written there."""
    meaning: str
    source: str
    reading: bool = False
    """Whether the paper in `source` gives the default of the key, which is not zero or false."""


def resolved_rows(record: Record) -> list[ResolvedRow]:
    """Return every key with value, meaning and origin, in the order of the resolved spec.

    Raises RecordError if the spec or the resolved spec in the record is not TOML.
    """
    try:
        source = read_source(record.spec, SPEC_TOML)
        given, options = source.values, []
        for option in record.overrides:
            given, override = apply_override(given, option.removeprefix("--set "))
            options.append(override.path)
        values = tomli.loads(record.resolved)
    except (SpecError, tomli.TOMLDecodeError, RecursionError) as error:
        first = str(error).partition("\n")[0]
        raise RecordError(f"the spec in the record cannot be read: {first}") from None
    return [
        resolved_row(path, value, source, given, options)
        for path, value in leaves(values, lists=True)
    ]


def resolved_row(
    path: KeyPath, value: Any, source: Source, given: dict[str, Any], options: list[KeyPath]
) -> ResolvedRow:
    """Return one key, looked up in the catalogue, the spec and the overrides."""
    key = catalogue().get(without_indices(path))
    written = written_path(given, path)
    origin, line = "default", None
    if written is not None and any(written[: len(option)] == option for option in options):
        origin = "--set"
    elif written is not None:
        origin = "spec"
        location = source.nearest_location(written)
        line = location.key.line if location else None
    return ResolvedRow(
        key=dotted(path),
        value=default_text(tuple(value) if isinstance(value, list) else value),
        origin=origin,
        line=line,
        meaning=key.meaning if key else "",
        source=key.source if key else "",
        reading=bool(key and key.reading and key.default),
    )


def written_path(given: Any, path: KeyPath) -> KeyPath | None:
    """Return the path at which a value is written; `init = "real"` is at `init`."""
    for depth, part in enumerate(path):
        if isinstance(given, str) and path[depth:] == (tag_of(without_indices(path[:depth])),):
            return path[:depth]
        if isinstance(given, dict) and part in given:
            given = given[str(part)]
        elif isinstance(given, list) and isinstance(part, int) and part < len(given):
            given = given[part]
        else:
            return None
    return path
