"""Specs and overrides as Python gives them: a path, a dict, options as strings or as values."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import tomli_w

from ddspec.dsl.diagnostics import SpecError
from ddspec.dsl.parsing.loader import (
    LoadedSpec,
    LoadedSweep,
    only_spec,
    parse_spec_or_sweep,
    read_spec_text,
    unreadable_spec,
)
from ddspec.dsl.toml_text import toml_text

AnyPath = str | PathLike[str]
SpecSource = AnyPath | Mapping[str, Any]
"""A spec file, or its tables as a dict."""

Overrides = Sequence[str] | Mapping[str, Any]
"""Options of the form "table.key=value", or a dict from dotted keys to values."""

DICT = "<dict>"
"""The file name in messages about a spec that was given as a dict."""


def load(source: SpecSource, overrides: Overrides = ()) -> LoadedSpec:
    """Read and check a spec: a TOML file, or a dict with the same tables.

    `overrides` change single keys, as `--set` does: `{"matching.iterations": 50}` or
    `["matching.iterations=50"]`. Raises SpecError, which carries every mistake in the spec.
    """
    loaded = load_any(source, overrides)
    hint = "ddspec.load_sweep and ddspec.run_sweep take all of them; or set every swept key"
    return only_spec(loaded, hint)


def load_sweep(source: SpecSource, overrides: Overrides = ()) -> LoadedSweep:
    """Read and check a spec with [sweep]; see `load`.

    Raises SpecError with every mistake, and ValueError for a spec of one experiment.
    """
    loaded = load_any(source, overrides)
    if isinstance(loaded, LoadedSpec):
        raise ValueError(f"{loaded.source.name} has no [sweep]: use ddspec.load or ddspec.run")
    return loaded


def load_any(source: SpecSource, overrides: Overrides) -> LoadedSpec | LoadedSweep:
    """Read and check a spec that may be a sweep."""
    text, name = text_of(source)
    return parse_spec_or_sweep(text, name, options_of(overrides))


def text_of(source: SpecSource) -> tuple[str, str]:
    """Return the text of a spec and its name in messages. Raises SpecError if it has none."""
    if isinstance(source, Mapping):
        return tomli_w.dumps(toml_values(source, DICT)), DICT
    if not isinstance(source, str | PathLike):
        kind = type(source).__name__
        raise TypeError(
            f"a spec is a path, a dict or what ddspec.load returns, not a {kind}; "
            "ddspec.run_sweep takes sweeps"
        )
    return read_spec_text(Path(source)), Path(source).as_posix()


def options_of(overrides: Overrides) -> list[str]:
    """Return overrides as options of the form "table.key=value"."""
    if isinstance(overrides, str):
        return [overrides]
    if not isinstance(overrides, Mapping):
        return list(overrides)
    return [f"{key}={toml_text(toml_values(value, str(key)))}" for key, value in overrides.items()]


def paths_of(paths: Sequence[AnyPath]) -> list[Path]:
    """Return a list of paths. Raises TypeError for one path, whose letters would be taken."""
    if isinstance(paths, str | PathLike):
        raise TypeError(f"a list of paths is needed, such as [{str(paths)!r}]")
    return [Path(path) for path in paths]


def toml_values(value: Any, key: str) -> Any:
    """Return a value with dicts and lists in place of other mappings and tuples.

    Raises SpecError if TOML has no such value, such as None.
    """
    match value:
        case bool() | int() | float() | str():
            return value
        case Mapping():
            above = "" if key == DICT else f"{key}."
            return {str(k): toml_values(inner, f"{above}{k}") for k, inner in value.items()}
        case list() | tuple():
            return [toml_values(item, key) for item in value]
        case _:
            kind = type(value).__name__
            hint = "leave the key out" if value is None else "give a number, string, list or dict"
            problem = f"the value of {key} is a {kind}, which TOML does not have"
            raise SpecError([unreadable_spec(DICT, problem, hint)])
