"""What the rules across keys find in a spec some of whose keys are at fault by themselves."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from ddspec.dsl.diagnostics import Diagnostic
from ddspec.dsl.key_path import KeyPath, path_of, without_indices
from ddspec.dsl.parsing.locate import Override, locate
from ddspec.dsl.parsing.source import Source
from ddspec.dsl.parsing.validation_errors import MOST_FINDINGS, document_path
from ddspec.dsl.rules.checks import check
from ddspec.dsl.spec.catalogue import keys_by_table, tag_of
from ddspec.dsl.spec.experiment import Spec

STAND_IN: dict[str, Any] = {
    "ddspec": 1,
    "name": "unnamed",
    "dataset": {"name": "folder"},
    "synthetic": {"ipc": 1},
}
"""Values for required keys that are missing or at fault, while the others are checked."""


def findings_in_sound_part(
    values: dict[str, Any],
    diagnostics: Sequence[Diagnostic],
    source: Source,
    overrides: Sequence[Override],
) -> list[Diagnostic]:
    """Return what the rules across keys find among the keys that are valid by themselves.

    `diagnostics` are the findings about single keys. A rule that involves one of these
    keys is left out.
    """
    faulty = [diagnostic.path for diagnostic in diagnostics if diagnostic.path]
    spec = sound_part(values, faulty)
    if spec is None:
        return []
    # Without the key that chooses its alternative, a table is another one.
    doubtful = [path[:-1] if chooses_alternative(path) else path for path in faulty]

    def is_doubtful(key: str) -> bool:
        path = path_of(key)
        return any(path[: len(bad)] == bad or bad[: len(path)] == path for bad in doubtful)

    return [
        locate(diagnostic, path_of(diagnostic.key), source, overrides, at_key=False)
        for diagnostic in check(spec)
        if not any(is_doubtful(key) for key in (diagnostic.key, *diagnostic.involves))
    ]


def chooses_alternative(path: KeyPath) -> bool:
    """Return whether a key chooses between alternative tables."""
    table = without_indices(path[:-1])
    alternatives = any(known.only_with for known in keys_by_table().get(table, ()))
    return alternatives and path[-1] == tag_of(table)


def sound_part(values: dict[str, Any], faulty: list[KeyPath]) -> Spec | None:
    """Return the spec without its faulty keys and the tables that need them.

    Returns None if nothing valid remains, or if too many keys are at fault.
    """
    for _ in range(MOST_NESTED_TABLES):
        values = without_paths(values, faulty)
        try:
            return Spec.model_validate(fill_missing(values, STAND_IN))
        except ValidationError as error:
            if error.error_count() > MOST_FINDINGS:
                return None
            # A key that is missing makes its table faulty; each round goes one table up.
            paths = [document_path(detail, values) for detail in error.errors()]
            faulty = [path if has_path(values, path) else path[:-1] for path in paths]
            faulty = [path for path in faulty if path]
    return None


MOST_NESTED_TABLES = 8
"""Upper bound on the depth of tables in a spec."""


def has_path(values: Any, path: KeyPath) -> bool:
    """Return whether nested tables have a value at the path."""
    for part in path:
        if not isinstance(values, dict) or part not in values:
            return False
        values = values[part]
    return True


def without_paths(values: dict[str, Any], paths: Sequence[KeyPath]) -> dict[str, Any]:
    """Return a copy of nested tables without the paths; an array is removed as a whole."""
    removed: dict[str | int, list[KeyPath]] = {}
    for path in paths:
        removed.setdefault(path[0], []).append(path[1:])
    kept = {}
    for name, inner in values.items():
        if name not in removed:
            kept[name] = inner
        elif isinstance(inner, dict) and all(removed[name]):
            kept[name] = without_paths(inner, removed[name])
    return kept


def fill_missing(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of nested tables with `defaults` for absent keys."""
    merged = {**defaults, **values}
    for name, default in defaults.items():
        if isinstance(default, dict) and isinstance(merged[name], dict):
            merged[name] = fill_missing(merged[name], default)
    return merged
