"""Resolved values: what every key of the language stood at, and where that came from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tomli

from ddspec.dsl.diagnostics import RecordError, SpecError
from ddspec.dsl.parsing.loader import overridden
from ddspec.dsl.parsing.source import Path, Source, read_source
from ddspec.dsl.record.record import Record
from ddspec.dsl.reference.explain import as_toml
from ddspec.dsl.spec.catalogue import catalogue


@dataclass(frozen=True)
class ResolvedRow:
    """One key of the resolved spec."""

    key: str
    value: str
    origin: str
    """`spec`, `--set` or `default`."""
    line: int | None
    """In the spec, where it stands there."""
    meaning: str
    source: str


def resolved_rows(record: Record) -> list[ResolvedRow]:
    """Every key with its value, its meaning and its origin, in the order of the resolved spec.

    Raises RecordError where the spec or the resolved spec in the record is no TOML.
    """
    try:
        source = read_source(record.spec, "spec.toml")
        given, options = source.values, []
        for option in record.overrides:
            given, override = overridden(given, option.removeprefix("--set "))
            options.append(override.path)
        values = tomli.loads(record.resolved)
    except (SpecError, tomli.TOMLDecodeError, RecursionError) as error:
        first = str(error).partition("\n")[0]
        raise RecordError(f"the spec in the record cannot be read: {first}") from None
    return [row(path, value, source, given, options) for path, value in leaves(values, ())]


def leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """The keys that are no tables; a list of tables is walked through."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path, value


def row(
    path: Path, value: Any, source: Source, given: dict[str, Any], options: list[Path]
) -> ResolvedRow:
    """One key, looked up in the catalogue, the spec and the overrides."""
    found = catalogue().get(".".join(part for part in path if isinstance(part, str)))
    written = place_in(given, path)
    origin, line = "default", None
    if written is not None and any(written[: len(option)] == option for option in options):
        origin = "--set"
    elif written is not None:
        origin = "spec"
        place = source.nearest(written)
        line = place.key.line if place else None
    return ResolvedRow(
        key=dotted(path),
        value=as_toml(tuple(value) if isinstance(value, list) else value),
        origin=origin,
        line=line,
        meaning=found.meaning if found else "",
        source=found.source if found else "",
    )


def place_in(given: Any, path: Path) -> Path | None:
    """The path under which a value is written; `init = "real"` gives `init.name` its value."""
    for depth, part in enumerate(path):
        if isinstance(given, str) and path[depth:] == ("name",):
            return path[:depth]
        if isinstance(given, dict) and part in given:
            given = given[str(part)]
        elif isinstance(given, list) and isinstance(part, int) and part < len(given):
            given = given[part]
        else:
            return None
    return path


def dotted(path: Path) -> str:
    """`expect[1].accuracy`, counted from 1 as diagnostics do."""
    said = ""
    for part in path:
        said += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if said else part
    return said
