"""Sweeps: one file with several experiments.

`[sweep]` contains axes. A key with a list is an axis of its values. Each
`[[sweep.together]]` is an axis of keys that change together. All `[[sweep.cases]]` form
one axis of named changes; a case may have published accuracies under `expect`. Every
combination of one entry per axis is an experiment: the rest of the file with these keys
changed. Such an experiment has the same plan, and so the same run, as a separate spec
with these values. An option of the command line that sets a swept key replaces its list.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from ddspec.dsl.diagnostics import Diagnostic, SpecError, sorted_by_position
from ddspec.dsl.key_path import KeyPath, dotted
from ddspec.dsl.keys.extension import EXTENSION, kind_of_part
from ddspec.dsl.parsing.locate import Override, locate
from ddspec.dsl.parsing.source import Source, count_keys
from ddspec.dsl.parsing.validation_errors import MOST_FINDINGS, unknown_key
from ddspec.dsl.spec.catalogue import catalogue, tag_of
from ddspec.dsl.toml_text import short_text, toml_text

SWEEP, TOGETHER, CASES = "sweep", "together", "cases"
CASE_NAME, CASE_AFTER = "name", "after"
MOST_RUNS = 1000
MOST_VALUES = 200_000
"""Most values in all runs together, so that no sweep takes long to check."""
MOST_COUNTED = 10**12
"""Numbers of combinations above this are not written out."""
CASE_EXPECT = "expect"
"""Published accuracies of one case; cases that come after it do not inherit them."""
UNSWEPT = ("ddspec", "name", "preview", CASE_EXPECT, SWEEP)
"""Keys and tables that a sweep cannot change."""


@dataclass(frozen=True)
class Change:
    """A key that an entry of an axis sets."""

    key: str
    """Dotted path of the key."""
    value: Any
    value_path: KeyPath
    """Path of the value within the file, which starts with `sweep`."""

    @property
    def path(self) -> tuple[str, ...]:
        """The key as names of tables and the name of the key in them."""
        return tuple(self.key.split("."))

    @cached_property
    def override(self) -> Override:
        """The change as an option of the command line."""
        return Override(self.path, f"--set {self.key}={toml_text(self.value)}", self.value_path)


@dataclass(frozen=True)
class Entry:
    """One position on an axis."""

    label: str
    changes: tuple[Change, ...]
    after: str | None = None
    """Name of the earlier case whose changes this case inherits, if any."""

    @property
    def size(self) -> int:
        """The number of values that it sets, with those in tables and lists of tables."""
        return count_keys({change.key: change.value for change in self.changes})


@dataclass(frozen=True)
class Axis:
    """A key, several keys that change together, or the case, with all its entries."""

    name: str
    entries: tuple[Entry, ...]

    @property
    def key(self) -> str | None:
        """The key whose values are the entries; None if they change several keys."""
        keys = {change.key for entry in self.entries for change in entry.changes}
        return self.name if keys == {self.name} else None


@dataclass(frozen=True)
class Combination:
    """One entry of every axis."""

    entries: tuple[Entry, ...]

    @property
    def label(self) -> str:
        """The labels of its entries."""
        return ", ".join(entry.label for entry in self.entries)

    @property
    def changes(self) -> tuple[Change, ...]:
        """The changes of all its entries."""
        return tuple(change for entry in self.entries for change in entry.changes)


def combinations(axes: Sequence[Axis]) -> list[Combination]:
    """Return every combination; the last axis changes fastest."""
    return [Combination(entries) for entries in product(*(axis.entries for axis in axes))]


def read_axes(source: Source, unswept: Mapping[str, Any]) -> tuple[Axis, ...]:
    """Return the axes of a file; `unswept` are the values outside of its sweep, with options.

    Raises SpecError with every finding, or with one if the sweep is too large.
    """
    reader = SweepReader(source, unswept, [])
    runs = count_runs(source.values[SWEEP])
    if runs > MOST_RUNS:
        number = runs if runs <= MOST_COUNTED else f"more than {MOST_COUNTED}"
        problem = f"{number} combinations, but a sweep may have at most {MOST_RUNS}"
        reader.report((SWEEP,), problem, FEWER)
        raise SpecError(reader.diagnostics)
    axes = tuple(reader.axes())
    reader.refuse_keys_swept_twice(axes)
    values = runs * (count_keys(unswept) + sum(map(largest_entry, axes)))
    if values > MOST_VALUES:
        problem = f"{values} values in {runs} runs, but a sweep may have at most {MOST_VALUES}"
        reader.report((SWEEP,), problem, FEWER)
    if reader.diagnostics:
        raise SpecError(sorted_by_position(reader.diagnostics)[:MOST_FINDINGS])
    return axes


def unset_axes(axes: Sequence[Axis], options: Sequence[Override]) -> tuple[Axis, ...]:
    """Return the axes that remain if each option that sets a swept key replaces its axis.

    An axis of several keys or of cases is never replaced.
    """
    set_keys = {dotted(option.path) for option in options}
    return tuple(axis for axis in axes if axis.key not in set_keys)


FEWER = "use fewer values, or split the sweep into several files"


def count_runs(table: Any) -> int:
    """Return the number of combinations, or some number above MOST_COUNTED if there are more.

    Nothing is expanded. Whatever is not an axis counts as one combination.
    """
    runs = 1
    for name, value in table.items() if isinstance(table, dict) else ():
        groups = value if name == TOGETHER and isinstance(value, list) else ()
        axes = [next(iter(group.values()), None) for group in groups if isinstance(group, dict)]
        for axis in [value] if name != TOGETHER else axes:
            runs *= max(1, len(axis)) if isinstance(axis, list) else 1
            if runs > MOST_COUNTED:
                return runs
    return runs


def largest_entry(axis: Axis) -> int:
    """Return the number of values in the largest entry of an axis."""
    return max(entry.size for entry in axis.entries)


@dataclass(frozen=True)
class SweepReader:
    """A reader of `[sweep]` that collects every mistake in it."""

    source: Source
    unswept: Mapping[str, Any]
    """The values outside of the sweep."""
    diagnostics: list[Diagnostic]

    def report(self, path: KeyPath, problem: str, hint: str = "") -> None:
        """Add a diagnostic with the location of `path` in the file."""
        diagnostic = Diagnostic("bad-sweep", dotted(path), problem, hint)
        self.diagnostics.append(locate(diagnostic, path, self.source, (), at_key=False))

    def axes(self) -> Iterator[Axis]:
        """Yield all axes in the order of the file."""
        table = self.source.values[SWEEP]
        if not isinstance(table, dict) or not table:
            self.report((SWEEP,), "must be a table with at least one key to sweep", EXAMPLE)
            return
        for name, value in table.items():
            if len(self.diagnostics) >= MOST_FINDINGS:
                return
            path = (SWEEP, name)
            if name == TOGETHER:
                for index, group in enumerate(self.tables(value, path)):
                    if len(self.diagnostics) >= MOST_FINDINGS:
                        return
                    yield from self.group_axis(group, (*path, index))
            elif name == CASES:
                yield from self.case_axis(self.tables(value, path), path)
            elif self.accepts_key(name, path) and self.accepts_values(name, value, path):
                entries = [
                    Entry(label_of(name, item), (Change(name, item, (*path, index)),))
                    for index, item in enumerate(value)
                ]
                yield Axis(name, tuple(entries))

    def tables(self, value: Any, path: KeyPath) -> list[dict[str, Any]]:
        """Return an array of tables; report any other value and return an empty list."""
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            return value
        self.report(path, "must be an array of tables", f"write [[{dotted(path)}]]")
        return []

    def accepts_key(self, name: str, path: KeyPath) -> bool:
        """Return whether a sweep can change the key; report it if not."""
        parts = tuple(name.split("."))
        if name in UNSWEPT or not all(part.isidentifier() for part in parts):
            self.report(path, "a sweep cannot change this", EXAMPLE)
            return False
        for depth in range(1, len(parts) + 1):
            is_key = ".".join(parts[:depth]) in catalogue()
            # The package that declares such a key is asked when each experiment is checked.
            if not is_key and not (depth == len(parts) and self.is_extension(parts[:-1])):
                self.report_unknown(parts[:depth], path)
                return False
        return True

    def is_extension(self, table: KeyPath) -> bool:
        """Return whether a table outside of the sweep is a part of an extension."""
        value: Any = self.unswept
        for name in table:
            value = value.get(name) if isinstance(value, dict) else None
        tag = tag_of(dotted(table))
        value = {tag: value} if isinstance(value, str) else value
        return kind_of_part(tag)(value) == EXTENSION

    def report_unknown(self, unknown: KeyPath, path: KeyPath) -> None:
        """Report a key that the language does not have, once even if it is swept often."""
        if all(diagnostic.key != dotted(unknown) for diagnostic in self.diagnostics):
            self.diagnostics.append(
                locate(unknown_key(unknown), path, self.source, (), at_key=True)
            )

    def accepts_values(self, name: str, value: Any, path: KeyPath) -> bool:
        """Return whether the value is a list with one item per run; report it if not."""
        if isinstance(value, list) and value:
            return True
        hint = EXAMPLE
        if isinstance(value, dict) and value:
            hint = f'put the key in quotes: "{name}.{next(iter(value))}" = [...]'
        self.report(path, "must be a list of values, one for each run", hint)
        return False

    def group_axis(self, group: Mapping[str, Any], path: KeyPath) -> Iterator[Axis]:
        """Yield the axis of keys that change together, unless the group has mistakes."""
        keys = [
            key
            for key, value in group.items()
            if self.accepts_key(key, (*path, key)) and self.accepts_values(key, value, (*path, key))
        ]
        lengths = {len(group[key]) for key in keys}
        if len(lengths) > 1:
            counts = ", ".join(f"{key} has {len(group[key])}" for key in keys)
            problem = f"keys that change together need equally many values: {counts}"
            self.report(path, problem, "add or remove values until the lists have the same length")
        elif keys:
            entries = [
                Entry(
                    ", ".join(label_of(key, group[key][index]) for key in keys),
                    tuple(Change(key, group[key][index], (*path, key, index)) for key in keys),
                )
                for index in range(lengths.pop())
            ]
            yield Axis(", ".join(keys), tuple(entries))

    def case_axis(self, cases: Sequence[Mapping[str, Any]], path: KeyPath) -> Iterator[Axis]:
        """Yield the axis of named cases, which may inherit the changes of earlier ones."""
        entries: dict[str, Entry] = {}
        for index, case in enumerate(cases):
            if len(self.diagnostics) >= MOST_FINDINGS:
                return
            case_path = (*path, index)
            name, after = case.get(CASE_NAME), case.get(CASE_AFTER)
            if not isinstance(name, str) or not name or name in entries:
                problem = "every case needs a name that no other case has"
                self.report(case_path, problem, 'for example name = "smooth experts"')
                continue
            if after is not None and (not isinstance(after, str) or after not in entries):
                problem = f"{short_text(after)} is not the name of an earlier case"
                hint = earlier_cases(list(entries))
                self.report((*case_path, CASE_AFTER), problem, hint)
                continue
            changes = {
                key: Change(key, value, (*case_path, key))
                for key, value in case.items()
                if key not in (CASE_NAME, CASE_AFTER)
                and (key == CASE_EXPECT or self.accepts_key(key, (*case_path, key)))
            }
            previous = entries[after].changes if after is not None else ()
            inherited = {change.key: change for change in previous if change.key != CASE_EXPECT}
            entries[name] = Entry(name, tuple((inherited | changes).values()), after)
        if entries:
            yield Axis("case", tuple(entries.values()))

    def refuse_keys_swept_twice(self, axes: Sequence[Axis]) -> None:
        """Report every key that belongs to two axes."""
        owners: dict[str, Axis] = {}
        for axis in axes:
            changes = [change for entry in axis.entries for change in entry.changes]
            for key, path in {change.key: change.value_path for change in changes}.items():
                if owners.setdefault(key, axis) is not axis:
                    problem = f"another axis sweeps {key} too"
                    self.report(without_list_index(path), problem, "keep one of them")


def earlier_cases(names: Sequence[str]) -> str:
    """Return the hint that lists the last of the cases before one."""
    if not names:
        return "no case comes before this one"
    more = f"{len(names) - MOST_LISTED} others, " if len(names) > MOST_LISTED else ""
    return f"earlier cases: {more}" + ", ".join(map(short_text, names[-MOST_LISTED:]))


MOST_LISTED = 10
"""Most names that a hint lists."""


def without_list_index(path: KeyPath) -> KeyPath:
    """Return the path of a key, given the path of its value or of an item of its value."""
    return path[:-1] if isinstance(path[-1], int) else path


EXAMPLE = 'for example "matching.syn_steps" = [10, 20, 40]'


def label_of(key: str, value: Any) -> str:
    """Return the last name of a key and its value, with the name of a table in front."""
    name = key.rpartition(".")[2]
    if isinstance(value, dict) and isinstance(value.get("name", value.get("type")), str):
        tag = value.get("name", value.get("type"))
        rest = {k: v for k, v in value.items() if v is not tag}
        return f"{name} = {tag}" + (f" {toml_text(rest)}" if rest else "")
    return f"{name} = {value if isinstance(value, str) else toml_text(value)}"
