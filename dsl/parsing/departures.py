"""Departures: the settings in which options of the command line depart from the file.

A spec with `[[expect]]` states the settings of a published number. A run of it with `--set` is an
experiment of another kind, and says so beside the comparison.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ddspec.dsl.key_path import dotted, leaves
from ddspec.dsl.parsing.loader import LoadedSpec, with_value
from ddspec.dsl.parsing.locate import Override
from ddspec.dsl.parsing.sweep import SWEEP
from ddspec.dsl.spec.experiment import Spec, resolved
from ddspec.dsl.toml_text import MOST_CHARACTERS, short_text, toml_text

BESIDE_THE_EXPERIMENT = ("name", "title", "evaluation.baselines")
"""Keys that change nothing in an experiment: they name it, or add rows to compare it with."""


@dataclass(frozen=True)
class ChangedSetting:
    """A key with its value in a run, and its value in the file."""

    key: str
    value: str
    in_file: str


def departures(loaded: LoadedSpec) -> tuple[ChangedSetting, ...]:
    """Return the settings that options change, if the file states published numbers."""
    options = [override for override in loaded.overrides if override.value_path is None]
    if not options or not loaded.spec.expect:
        return ()
    swept = dict(swept_keys_set(loaded, options))
    current = settings(resolved(loaded.spec))
    in_file = settings_of_file(loaded, swept)
    changed = [
        ChangedSetting(key, text_of(current, key), text_of(in_file, key))
        for key in dict.fromkeys([*current, *in_file])
        if key not in BESIDE_THE_EXPERIMENT and current.get(key) != in_file.get(key)
    ]
    chosen = (
        ChangedSetting(key, text_of(current, key), f"each of {value_text(values)}")
        for key, values in swept.items()
    )
    return (*changed, *chosen)


def swept_keys_set(loaded: LoadedSpec, options: list[Override]) -> Iterator[tuple[str, Any]]:
    """Yield every key that the file sweeps and an option sets, with the swept values."""
    table = loaded.source.values.get(SWEEP, {})
    for key in dict.fromkeys(dotted(option.path) for option in options):
        if key in table:
            yield key, table[key]


def settings_of_file(loaded: LoadedSpec, swept: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the file with what a sweep changes, but without options.

    Swept keys that options set keep the options' values. If the file is valid with the options
    alone, its settings are those that it writes out.
    """
    values = {key: value for key, value in loaded.source.values.items() if key != SWEEP}
    for override in loaded.overrides:
        if override.value_path is not None:
            values = with_value(values, names(override), value_at(loaded, override))
    current = settings(resolved(loaded.spec))
    for key in swept:
        for path, value in current.items():
            if path == key or path.startswith(f"{key}."):
                values = with_value(values, tuple(path.split(".")), value)
    try:
        return settings(resolved(Spec.model_validate(values)))
    except ValidationError:
        return settings(values)


def names(override: Override) -> tuple[str, ...]:
    """Return the path of an override, which never enters a list."""
    return tuple(str(part) for part in override.path)


def value_at(loaded: LoadedSpec, override: Override) -> Any:
    """Return the value of a swept key in the file."""
    value: Any = loaded.source.values
    for part in override.value_path or ():
        value = value[part]
    return value


def settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return every value by its dotted key."""
    return {dotted(path): value for path, value in leaves(values) if path}


def text_of(values: Mapping[str, Any], key: str) -> str:
    """Return the value of a key as TOML, or that there is none."""
    return value_text(values[key]) if key in values else "not set"


def value_text(value: Any) -> str:
    """Return a value as TOML, shortened if it is long."""
    text = toml_text(value)
    return text if len(text) <= MOST_CHARACTERS else short_text(value)
