"""From the text of a spec to a checked spec: parse, override, validate, check across keys."""

import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

import tomli
from pydantic import ValidationError

from ddspec.dsl.diagnostics import Diagnostic, SpecError, in_order
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.key_path import KeyPath, dotted, path_of
from ddspec.dsl.parsing.source import Source, read_source
from ddspec.dsl.parsing.sweep import SWEEP, Axis, Combination, combinations, read_axes
from ddspec.dsl.parsing.validation_errors import (
    MOST_FINDINGS,
    Override,
    covering,
    in_document,
    locate,
    validation_diagnostics,
)
from ddspec.dsl.rules.checks import check
from ddspec.dsl.spec.catalogue import tag_of
from ddspec.dsl.spec.experiment import Spec


@dataclass(frozen=True)
class LoadedSpec:
    """A valid spec, the text it came from, and what the command line changed in it."""

    spec: Spec
    source: Source
    overrides: tuple[Override, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()

    def line_of(self, key: str) -> int | None:
        """Line on which a key (dotted path) is written and in force, if any."""
        path = tuple(key.split("."))
        for override in self.overrides:
            if path[: len(override.path)] == override.path:
                swept = self.source.nearest(override.place) if override.place else None
                return swept.key.line if swept else None
        place = self.source.places.get(path)
        if place is None and isinstance(self.source.values.get(path[0]), str | dict):
            # `init = "noise"` is where init.name is written.
            above = self.source.places.get(path[:-1])
            place = above if above and self.is_name(path[:-1]) else None
        return place.key.line if place else None

    def is_name(self, path: KeyPath) -> bool:
        """Whether the file has a plain text at a path."""
        value: Any = self.source.values
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return isinstance(value, str)


@dataclass(frozen=True)
class SweptSpec:
    """One experiment of a sweep."""

    combination: Combination
    loaded: LoadedSpec


@dataclass(frozen=True)
class LoadedSweep:
    """A valid file that stands for several experiments."""

    source: Source
    axes: tuple[Axis, ...]
    members: tuple[SweptSpec, ...]


def load_spec(path: FilePath, overrides: Sequence[str] = ()) -> LoadedSpec:
    """Read and check a spec file; `overrides` are `table.key=value`.

    Raises SpecError with every finding, also where the file cannot be read.
    """
    return parse_spec(read_spec_text(path), path.as_posix(), overrides)


def load_any(path: FilePath, overrides: Sequence[str] = ()) -> LoadedSpec | LoadedSweep:
    """The same for a file that may be a sweep."""
    return parse_any(read_spec_text(path), path.as_posix(), overrides)


def read_spec_text(path: FilePath) -> str:
    """The text of a file. Raises SpecError where it cannot be read."""
    name = path.as_posix()
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode) or state.st_size > MAX_BYTES:
            problem = f"no plain file of at most {MAX_BYTES // 1000} kB"
            raise SpecError([unreadable(name, problem)])
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        hint = "ddspec new lists the shipped specs and copies one"
        raise SpecError([unreadable(name, "the file does not exist", hint)]) from None
    except UnicodeDecodeError as error:
        problem = f"byte {error.start} is not UTF-8"
        raise SpecError([unreadable(name, problem)]) from None
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or "this is not a file name"
        raise SpecError([unreadable(name, f"cannot be read: {problem}")]) from None


MAX_BYTES = 4_000_000


def unreadable(name: str, problem: str, hint: str = "a spec is a TOML file in UTF-8") -> Diagnostic:
    """A spec file that cannot be read as text."""
    return Diagnostic("unreadable-spec", "", problem, hint=hint, file=name)


def parse_spec(text: str, name: str, overrides: Sequence[str] = ()) -> LoadedSpec:
    """Check the text of a spec. Raises SpecError with every finding, sorted by position."""
    loaded = parse_any(text, name, overrides)
    if isinstance(loaded, LoadedSweep):
        problem = f"stands for {len(loaded.members)} experiments; one is asked for here"
        raise SpecError([in_file("bad-sweep", SWEEP, problem, loaded.source)])
    return loaded


def parse_any(text: str, name: str, overrides: Sequence[str] = ()) -> LoadedSpec | LoadedSweep:
    """The same for a text that may be a sweep."""
    source = read_source(text, name)
    values = {key: value for key, value in source.values.items() if key != SWEEP}
    options = []
    for option in overrides:
        values, override = overridden(values, option)
        options.append(override)
    if SWEEP not in source.values:
        return validated(source, values, options)
    axes = read_axes(source)
    members: list[SweptSpec] = []
    found: dict[Diagnostic, None] = {}
    for combination in combinations(axes):
        own, changes = values, [change.as_override() for change in combination.changes]
        for change, override in zip(combination.changes, changes, strict=True):
            own = with_value(own, change.path, change.value)
            found |= dict.fromkeys(already_set(override, options))
        try:
            loaded = validated(source, own, [*options, *changes])
        except SpecError as error:
            found |= dict.fromkeys(error.diagnostics)
        else:
            members.append(SweptSpec(combination, loaded))
    if found:
        raise SpecError(in_order(found))
    return LoadedSweep(source, axes, tuple(members))


def already_set(swept: Override, options: Sequence[Override]) -> Iterator[Diagnostic]:
    """What is both swept and set on the command line."""
    for option in covering(swept.path, options):
        problem = "is swept; it cannot be set as well"
        yield Diagnostic("bad-override", dotted(swept.path), problem, file=option.option)


def in_file(code: str, key: str, problem: str, source: Source) -> Diagnostic:
    """A finding at a key of the file."""
    return locate(Diagnostic(code, key, problem), path_of(key), source, (), at_key=True)


def validated(source: Source, values: dict[str, Any], overrides: Sequence[Override]) -> LoadedSpec:
    """The spec of these values, checked across keys."""
    try:
        spec = Spec.model_validate(values)
    except ValidationError as error:
        found = validation_diagnostics(error, values, source, overrides)
        found += findings_in_sound_part(values, found, source, overrides)
        raise SpecError(in_order(found)) from None
    return checked(LoadedSpec(spec, source, tuple(overrides)), None)


STAND_IN: dict[str, Any] = {
    "ddspec": 1,
    "name": "unnamed",
    "dataset": {"name": "folder"},
    "synthetic": {"ipc": 1},
}
"""For keys that are missing or at fault and have no default, while the others are checked."""


def findings_in_sound_part(
    values: dict[str, Any],
    found: Sequence[Diagnostic],
    source: Source,
    overrides: Sequence[Override],
) -> list[Diagnostic]:
    """What the rules across keys find beside keys that are at fault themselves."""
    faulty = [said.path for said in found if said.path]
    spec = sound_part(values, faulty)
    if spec is None:
        return []

    def doubtful(key: str) -> bool:
        path = path_of(key)
        return any(path[: len(bad)] == bad or bad[: len(path)] == path for bad in faulty)

    return [
        locate(said, path_of(said.key), source, overrides, at_key=False)
        for said in check(spec)
        if not any(doubtful(key) for key in (said.key, *said.involves))
    ]


def sound_part(values: dict[str, Any], faulty: list[KeyPath]) -> Spec | None:
    """The spec that remains without what is at fault, and without the tables that need it."""
    for _ in range(MOST_ROUNDS):
        for path in faulty:
            values = without_path(values, path)
        try:
            return Spec.model_validate(filled(values, STAND_IN))
        except ValidationError as error:
            if error.error_count() > MOST_FINDINGS:
                return None
            left = [in_document(detail, values) for detail in error.errors()]
            faulty = [path if has_path(values, path) else path[:-1] for path in left]
            faulty = [path for path in faulty if path]
    return None


MOST_ROUNDS = 8
"""Tables lie no deeper than this in one another."""


def has_path(values: Any, path: KeyPath) -> bool:
    """Whether something stands at the path."""
    for part in path:
        if not isinstance(values, dict) or part not in values:
            return False
        values = values[part]
    return True


def without_path(values: dict[str, Any], path: KeyPath) -> dict[str, Any]:
    """A copy of nested tables without what lies at the path; of an array, all of it goes."""
    head, rest = path[0], path[1:]
    inner = values.get(str(head))
    if isinstance(inner, dict) and rest:
        return {**values, str(head): without_path(inner, rest)}
    return {name: value for name, value in values.items() if name != head}


def filled(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """The values, with `defaults` for what is absent."""
    merged = {**defaults, **values}
    for name, default in defaults.items():
        if isinstance(default, dict) and isinstance(merged[name], dict):
            merged[name] = filled(merged[name], default)
    return merged


def checked(loaded: LoadedSpec, facts: DatasetFacts | None) -> LoadedSpec:
    """The spec with its warnings; `facts` are those of the images read, where they were.

    Raises SpecError where a rule across keys is broken.
    """
    found = in_order(
        locate(said, path_of(said.key), loaded.source, loaded.overrides, at_key=False)
        for said in check(loaded.spec, facts)
    )
    if any(said.severity == "error" for said in found):
        raise SpecError(found)
    return LoadedSpec(loaded.spec, loaded.source, loaded.overrides, tuple(found))


def overridden(values: dict[str, Any], option: str) -> tuple[dict[str, Any], Override]:
    """The values with one `table.key=value` applied; the value is TOML, or else a text."""
    name, equals, text = option.partition("=")
    parts = tuple(part.strip() for part in name.split("."))
    said = f"--set {option}"
    if not equals or not all(part.isidentifier() for part in parts):
        problem = f"`{option}` is not of the form table.key=value"
        hint = "for example --set matching.syn_steps=20; items of lists are set in the file"
        raise SpecError([Diagnostic("bad-override", "", problem, hint, file=said)])
    try:
        parsed = tomli.loads(f"value = {text}")
        value = parsed["value"] if len(parsed) == 1 else text
    except (ValueError, RecursionError):
        value = text.strip()
    return with_value(values, parts, value), Override(parts, said)


def with_value(
    values: dict[str, Any], parts: tuple[str, ...], value: Any, above: str = ""
) -> dict[str, Any]:
    """Return a copy of nested tables with one value set.

    A text that is short for a table becomes that table.
    """
    head, rest = parts[0], parts[1:]
    table = f"{above}.{head}" if above else head
    if not rest:
        return {**values, head: value}
    inner = values.get(head, {})
    if isinstance(inner, str):
        inner = {tag_of(table): inner}
    changed = with_value(inner if isinstance(inner, dict) else {}, rest, value, table)
    return {**values, head: changed}
