"""Loading of specs: parse, apply overrides, validate, check across keys."""

import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any

import tomli
from pydantic import ValidationError

from ddspec.dsl.diagnostics import Diagnostic, SpecError, sorted_by_position
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.key_path import KeyPath, dotted, path_of
from ddspec.dsl.parsing.extension_parts import with_installed_parts
from ddspec.dsl.parsing.locate import Override, locate, overrides_touching
from ddspec.dsl.parsing.sound_part import findings_in_sound_part
from ddspec.dsl.parsing.source import Source, read_source
from ddspec.dsl.parsing.sweep import (
    SWEEP,
    Axis,
    Combination,
    combinations,
    read_axes,
    unset_axes,
)
from ddspec.dsl.parsing.validation_errors import (
    MOST_FINDINGS,
    validation_diagnostics,
)
from ddspec.dsl.rules.checks import check
from ddspec.dsl.spec.catalogue import tag_of
from ddspec.dsl.spec.experiment import Spec
from ddspec.dsl.table_text import html_table


@dataclass(frozen=True)
class LoadedSpec:
    """A valid spec, its text, and the overrides of the command line."""

    spec: Spec
    source: Source
    overrides: tuple[Override, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()

    def __repr__(self) -> str:
        outline = self.spec.outline
        return (
            f"<LoadedSpec {self.spec.name}: {outline['dataset']}, "
            f"{outline['images per class']} per class, {outline['matching']} matching, "
            f"{outline['iterations']} iterations>"
        )

    def _repr_html_(self) -> str:
        rows = [*self.spec.outline.items()]
        rows += [("warning", warning.message) for warning in self.warnings]
        return html_table(f"Spec {self.spec.name}", rows)

    def line_of(self, key: str) -> int | None:
        """Return the line that sets a key (dotted path), or None if none does."""
        path = tuple(key.split("."))
        for override in self.overrides:
            if path[: len(override.path)] == override.path:
                if override.value_path is None:
                    return None
                swept = self.source.nearest_location(override.value_path)
                return swept.key.line if swept else None
        location = self.source.locations.get(path)
        if location is None and self.is_text(path[:-1]):
            # `init = "noise"` sets init.name.
            location = self.source.locations.get(path[:-1])
        return location.key.line if location else None

    def is_text(self, path: KeyPath) -> bool:
        """Return whether the file has a string at a path."""
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
    """A valid file with several experiments."""

    source: Source
    axes: tuple[Axis, ...]
    members: tuple[SweptSpec, ...]

    def __repr__(self) -> str:
        axes = ", ".join(f"{axis.name} ({len(axis.entries)})" for axis in self.axes)
        return f"<LoadedSweep {self.source.name}: {len(self.members)} runs over {axes}>"


def load_spec(path: FilePath, overrides: Sequence[str] = ()) -> LoadedSpec:
    """Read and check a spec file; `overrides` are `table.key=value`.

    Raises SpecError with every finding, and if the file cannot be read.
    """
    return parse_spec(read_spec_text(path), path.as_posix(), overrides)


def load_spec_or_sweep(path: FilePath, overrides: Sequence[str] = ()) -> LoadedSpec | LoadedSweep:
    """Read and check a file that may be a sweep; see `load_spec`."""
    return parse_spec_or_sweep(read_spec_text(path), path.as_posix(), overrides)


def read_spec_text(path: FilePath) -> str:
    """Return the text of a file. Raises SpecError if it cannot be read."""
    name = path.as_posix()
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode) or state.st_size > MAX_BYTES:
            problem = f"not a regular file of at most {MAX_BYTES // 1_000_000} MB"
            raise SpecError([unreadable_spec(name, problem)])
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        hint = "`ddspec new` lists the shipped specs and copies one of them"
        raise SpecError([unreadable_spec(name, "the file does not exist", hint)]) from None
    except UnicodeDecodeError as error:
        problem = f"byte {error.start} of the file is not UTF-8"
        raise SpecError([unreadable_spec(name, problem)]) from None
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or "this is not a file name"
        raise SpecError([unreadable_spec(name, f"cannot be read: {problem}")]) from None


MAX_BYTES = 4_000_000
"""Largest file that is read."""


def unreadable_spec(
    name: str, problem: str, hint: str = "a spec must be a TOML file in UTF-8"
) -> Diagnostic:
    """Return the diagnostic of a spec file that cannot be read as text."""
    return Diagnostic("unreadable-spec", "", problem, hint=hint, file=name)


def parse_spec(text: str, name: str, overrides: Sequence[str] = ()) -> LoadedSpec:
    """Check the text of a spec. Raises SpecError with every finding by position."""
    return only_spec(parse_spec_or_sweep(text, name, overrides), ONLY_ONE)


def parse_resolved(text: str, name: str) -> LoadedSpec:
    """Check the text of a resolved spec, whose extensions need not be installed.

    Such a text says by version and hash which code it means. Raises SpecError.
    """
    source = read_source(text, name)
    spec = valid_keys(source, source.values, ())
    return check_across_keys(LoadedSpec(spec, source), None)


ONLY_ONE = (
    "set every swept key with --set to choose one of them, or use ddspec run for all; each "
    "leaves a report.html that ddspec reproduce takes"
)


def recorded_values(text: str) -> Spec:
    """Return the spec of a resolved text, key by key alone, for words about it.

    Neither rules nor extensions are asked, so the answer is the same wherever it is given. Raises
    ValueError if this ddspec does not know its keys.
    """
    return Spec.model_validate(tomli.loads(text))


def only_spec(loaded: LoadedSpec | LoadedSweep, hint: str) -> LoadedSpec:
    """Return a spec that is not a sweep. Raises SpecError, with a hint, if it is one."""
    if isinstance(loaded, LoadedSpec):
        return loaded
    problem = f"this sweep has {len(loaded.members)} experiments, but only one can be used here"
    raise SpecError([diagnostic_at_key("bad-sweep", SWEEP, problem, loaded.source, hint)])


def parse_spec_or_sweep(
    text: str, name: str, overrides: Sequence[str] = ()
) -> LoadedSpec | LoadedSweep:
    """Check a text that may be a sweep; see `parse_spec`."""
    source = read_source(text, name)
    values = {key: value for key, value in source.values.items() if key != SWEEP}
    options = []
    for option in overrides:
        values, override = apply_override(values, option)
        options.append(override)
    axes: tuple[Axis, ...] = ()
    if SWEEP in source.values:
        axes = unset_axes(read_axes(source, values), options)
    if not axes:
        return with_warning_of_seeds(validate(source, values, options), ())
    return expand(source, axes, values, options)


def expand(
    source: Source, axes: tuple[Axis, ...], values: dict[str, Any], options: Sequence[Override]
) -> LoadedSweep:
    """Check every combination of the axes; `values` are those outside of the sweep.

    Raises SpecError with the findings in the first runs that have any.
    """
    members: list[SweptSpec] = []
    # A dict keeps the order and drops findings that repeat in every combination.
    diagnostics = dict.fromkeys(override_conflicts(axes, options))
    faulty_runs = 0
    for combination in combinations(axes):
        swept = [change.override for change in combination.changes]
        member_values = values
        for change in combination.changes:
            member_values = with_value(member_values, change.path, change.value)
        try:
            loaded = validate(source, member_values, [*options, *swept])
        except SpecError as error:
            diagnostics |= dict.fromkeys(error.diagnostics)
            faulty_runs += 1
        else:
            members.append(SweptSpec(combination, with_warning_of_seeds(loaded, axes)))
        if max(faulty_runs, len(diagnostics)) >= MOST_FINDINGS:
            break
    if diagnostics:
        raise SpecError(sorted_by_position(diagnostics)[:MOST_FINDINGS])
    return LoadedSweep(source, axes, tuple(members))


def with_warning_of_seeds(loaded: LoadedSpec, axes: Sequence[Axis]) -> LoadedSpec:
    """Return the spec, warned if it expects a number over several sets and sweeps no seed."""
    seeds = any(axis.name == "seed" and len(axis.entries) > 1 for axis in axes)
    over_sets = [i for i, e in enumerate(loaded.spec.expect) if e.over == "sweep"]
    if seeds or not over_sets:
        return loaded
    key = f"expect[{over_sets[0] + 1}].over"
    found = Diagnostic(
        code="expectation-over-no-sweep",
        key=key,
        problem="the number is an average over several synthetic sets, but one seed makes only one",
        hint="add seed = [0, 1, 2, 3, 4] in [sweep], or the number is compared with nothing",
        severity="warning",
    )
    located = locate(found, path_of(key), loaded.source, loaded.overrides, at_key=False)
    return replace(loaded, warnings=(*loaded.warnings, located))


def override_conflicts(axes: Sequence[Axis], options: Sequence[Override]) -> Iterator[Diagnostic]:
    """Yield a diagnostic for every option that sets a part of what an axis changes."""
    paths = dict.fromkeys(
        change.path for axis in axes for entry in axis.entries for change in entry.changes
    )
    for path in paths:
        for option in overrides_touching(path, options):
            problem = "the file sweeps this key together with others, so it cannot be set alone"
            hint = "remove the option, or remove the key from [sweep]"
            yield Diagnostic("bad-override", dotted(path), problem, hint, file=option.option)


def diagnostic_at_key(
    code: str, key: str, problem: str, source: Source, hint: str = ""
) -> Diagnostic:
    """Return a diagnostic with the location of its key in the file."""
    return locate(Diagnostic(code, key, problem, hint=hint), path_of(key), source, (), at_key=True)


def validate(source: Source, values: dict[str, Any], overrides: Sequence[Override]) -> LoadedSpec:
    """Return the spec with these values, checked key by key and across keys.

    Raises SpecError with every finding.
    """
    spec, findings = with_installed_parts(valid_keys(source, values, overrides))
    loaded = LoadedSpec(spec, source, tuple(overrides))
    if findings:
        located = [
            locate(finding, path_of(finding.key), source, overrides, at_key=False)
            for finding in findings
        ]
        raise SpecError(sorted_by_position([*located, *rule_findings(loaded, None)]))
    return check_across_keys(loaded, None)


def valid_keys(source: Source, values: dict[str, Any], overrides: Sequence[Override]) -> Spec:
    """Return the spec with these values, checked key by key. Raises SpecError."""
    try:
        return Spec.model_validate(values)
    except ValidationError as error:
        diagnostics = validation_diagnostics(error, values, source, overrides)
        diagnostics += findings_in_sound_part(values, diagnostics, source, overrides)
        raise SpecError(sorted_by_position(diagnostics)) from None


def check_across_keys(loaded: LoadedSpec, facts: DatasetFacts | None) -> LoadedSpec:
    """Return the spec with the warnings of the rules across keys.

    `facts` are those of the images, once they have been read. Raises SpecError if a
    rule is broken.
    """
    diagnostics = rule_findings(loaded, facts)
    if any(diagnostic.severity == "error" for diagnostic in diagnostics):
        raise SpecError(diagnostics)
    return LoadedSpec(loaded.spec, loaded.source, loaded.overrides, tuple(diagnostics))


def rule_findings(loaded: LoadedSpec, facts: DatasetFacts | None) -> list[Diagnostic]:
    """Return what the rules across keys find, by position."""
    return sorted_by_position(
        locate(diagnostic, path_of(diagnostic.key), loaded.source, loaded.overrides, at_key=False)
        for diagnostic in check(loaded.spec, facts)
    )


def apply_override(values: dict[str, Any], option: str) -> tuple[dict[str, Any], Override]:
    """Return the values with one `table.key=value` applied, and the override.

    The value is read as TOML; if it is not TOML, it is a string.
    """
    name, equals, text = option.partition("=")
    parts = tuple(part.strip() for part in name.split("."))
    as_typed = f"--set {option}"
    if not equals or not all(part.isidentifier() for part in parts):
        problem = f"`{option}` does not have the form table.key=value"
        hint = (
            "write for example --set matching.syn_steps=20; items of a list can only be set in the "
            "file"
        )
        raise SpecError([Diagnostic("bad-override", "", problem, hint, file=as_typed)])
    try:
        parsed = tomli.loads(f"value = {text}")
        value = parsed["value"] if len(parsed) == 1 else text
    except (ValueError, RecursionError):
        value = text.strip()
    return with_value(values, parts, value), Override(parts, as_typed)


def with_value(
    values: dict[str, Any], parts: tuple[str, ...], value: Any, above: str = ""
) -> dict[str, Any]:
    """Return a copy of nested tables with one value set.

    A string that is the short form of a table becomes that table.
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
