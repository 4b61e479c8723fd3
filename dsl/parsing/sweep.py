"""Sweeps: one file that stands for several experiments.

`[sweep]` holds axes. A key with a list is an axis of its values; each `[[sweep.together]]` is an
axis whose keys change side by side; all `[[sweep.cases]]` are one axis of named changes, each with
what a paper reports of it under `expect`, if any. Every combination of one entry per axis is an
experiment: the rest of the file with these keys changed. It is named by its plan, like any other,
so that it is the same run however it was asked for.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from ddspec.dsl.diagnostics import Diagnostic, SpecError, in_order
from ddspec.dsl.key_path import KeyPath, dotted
from ddspec.dsl.parsing.source import Source
from ddspec.dsl.parsing.validation_errors import Override, locate
from ddspec.dsl.spec.toml_text import toml_text

SWEEP, TOGETHER, CASES = "sweep", "together", "cases"
CASE_NAME, CASE_AFTER = "name", "after"
MOST_RUNS = 1000
CASE_EXPECT = "expect"
"""What a paper reports of one case; no other case has a share in it."""
UNSWEPT = ("ddspec", "name", "preview", CASE_EXPECT, SWEEP)


@dataclass(frozen=True)
class Change:
    """A key that an entry of an axis sets."""

    key: str
    """Dotted."""
    value: Any
    place: KeyPath
    """Where its value stands in the file."""

    @property
    def path(self) -> tuple[str, ...]:
        """The key as names of tables and of the key in them."""
        return tuple(self.key.split("."))

    def as_override(self) -> Override:
        """The same as an option of the command line, with its place."""
        return Override(self.path, f"--set {self.key}={toml_text(self.value)}", self.place)


@dataclass(frozen=True)
class Entry:
    """One position on an axis."""

    label: str
    changes: tuple[Change, ...]
    after: str | None = None
    """The case that it goes on from, if it is a case that does."""


@dataclass(frozen=True)
class Axis:
    """What changes from run to run: the key, the keys that change together, or the case."""

    name: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Combination:
    """One entry of every axis."""

    entries: tuple[Entry, ...]

    @property
    def label(self) -> str:
        """What it is called."""
        return ", ".join(entry.label for entry in self.entries)

    @property
    def changes(self) -> tuple[Change, ...]:
        """All that it sets."""
        return tuple(change for entry in self.entries for change in entry.changes)


def combinations(axes: Sequence[Axis]) -> list[Combination]:
    """Every combination; the last axis changes fastest."""
    return [Combination(entries) for entries in product(*(axis.entries for axis in axes))]


def read_axes(source: Source) -> tuple[Axis, ...]:
    """The axes of a file. Raises SpecError with every finding."""
    reader = Reader(source, [])
    axes = tuple(reader.axes())
    reader.refuse_keys_swept_twice(axes)
    runs = prod(len(axis.entries) for axis in axes)
    if runs > MOST_RUNS:
        reader.complain((SWEEP,), f"{runs} combinations; a sweep has at most {MOST_RUNS}")
    if reader.found:
        raise SpecError(in_order(reader.found))
    return axes


@dataclass(frozen=True)
class Reader:
    """Reads `[sweep]`, gathering what is wrong with it."""

    source: Source
    found: list[Diagnostic]

    def complain(self, path: KeyPath, problem: str, hint: str = "") -> None:
        """Note a finding at its place."""
        said = Diagnostic("bad-sweep", dotted(path), problem, hint)
        self.found.append(locate(said, path, self.source, (), at_key=False))

    def axes(self) -> Iterator[Axis]:
        """All axes in the order of the file."""
        table = self.source.values[SWEEP]
        if not isinstance(table, dict) or not table:
            self.complain((SWEEP,), "holds nothing to sweep", EXAMPLE)
            return
        for name, value in table.items():
            path = (SWEEP, name)
            if name == TOGETHER:
                for number, group in enumerate(self.tables(value, path)):
                    yield from self.group(group, (*path, number))
            elif name == CASES:
                yield from self.cases(self.tables(value, path), path)
            elif self.is_key(name, path) and self.is_values(name, value, path):
                entries = [
                    Entry(label(name, one), (Change(name, one, (*path, place)),))
                    for place, one in enumerate(value)
                ]
                yield Axis(name, tuple(entries))

    def tables(self, value: Any, path: KeyPath) -> list[dict[str, Any]]:
        """The value as an array of tables."""
        if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            return value
        self.complain(path, f"is an array of tables: [[{dotted(path)}]]")
        return []

    def is_key(self, name: str, path: KeyPath) -> bool:
        """Whether it is a key of the rest of the file that may be swept."""
        if name not in UNSWEPT and all(part.isidentifier() for part in name.split(".")):
            return True
        self.complain(path, "is nothing that a sweep can change", EXAMPLE)
        return False

    def is_values(self, name: str, value: Any, path: KeyPath) -> bool:
        """Whether it is a list with an entry per run."""
        if isinstance(value, list) and value:
            return True
        hint = EXAMPLE
        if isinstance(value, dict) and value:
            hint = f'a key of a table stands in quotes: "{name}.{next(iter(value))}" = [...]'
        self.complain(path, "is to be a list of values, one for each run", hint)
        return False

    def group(self, group: Mapping[str, Any], path: KeyPath) -> Iterator[Axis]:
        """An axis of keys that change side by side."""
        keys = [
            name
            for name, value in group.items()
            if self.is_key(name, (*path, name)) and self.is_values(name, value, (*path, name))
        ]
        lengths = {len(group[name]) for name in keys}
        if len(lengths) > 1:
            said = ", ".join(f"{name} has {len(group[name])}" for name in keys)
            self.complain(path, f"lists of one group are as long as one another: {said}")
        elif keys:
            entries = [
                Entry(
                    ", ".join(label(name, group[name][place]) for name in keys),
                    tuple(Change(n, group[n][place], (*path, n, place)) for n in keys),
                )
                for place in range(lengths.pop())
            ]
            yield Axis(", ".join(keys), tuple(entries))

    def cases(self, cases: Sequence[Mapping[str, Any]], path: KeyPath) -> Iterator[Axis]:
        """The axis of named cases; one that comes after another begins with its changes."""
        known: dict[str, Entry] = {}
        for number, case in enumerate(cases):
            here = (*path, number)
            name, after = case.get(CASE_NAME), case.get(CASE_AFTER)
            if not isinstance(name, str) or not name or name in known:
                self.complain(here, "a case has a name of its own", 'name = "smooth experts"')
                continue
            if after is not None and (not isinstance(after, str) or after not in known):
                before = ", ".join(f'"{one}"' for one in known) or "there is none"
                self.complain((*here, CASE_AFTER), "names no case above it", f"above: {before}")
                continue
            own = {
                key: Change(key, value, (*here, key))
                for key, value in case.items()
                if key not in (CASE_NAME, CASE_AFTER)
                and (key == CASE_EXPECT or self.is_key(key, (*here, key)))
            }
            earlier = known[after].changes if after is not None else ()
            inherited = {c.key: c for c in earlier if c.key != CASE_EXPECT}
            known[name] = Entry(name, tuple((inherited | own).values()), after)
        if known:
            yield Axis("case", tuple(known.values()))

    def refuse_keys_swept_twice(self, axes: Sequence[Axis]) -> None:
        """A key belongs to one axis."""
        owners: dict[str, Axis] = {}
        for axis in axes:
            places = {change.key: change.place for e in axis.entries for change in e.changes}
            for key, place in places.items():
                if owners.setdefault(key, axis) is not axis:
                    self.complain(key_place(place), f"{key} is swept by another axis too")


def key_place(place: KeyPath) -> KeyPath:
    """Where the key of a value stands that may be one of several."""
    return place[:-1] if isinstance(place[-1], int) else place


EXAMPLE = 'for example "matching.syn_steps" = [10, 20, 40]'


def label(key: str, value: Any) -> str:
    """A key and its value in short."""
    name = key.rpartition(".")[2]
    if isinstance(value, dict) and isinstance(value.get("name", value.get("type")), str):
        own = value.get("name", value.get("type"))
        rest = {k: v for k, v in value.items() if v is not own}
        return f"{name} = {own}" + (f" {toml_text(rest)}" if rest else "")
    return f"{name} = {value if isinstance(value, str) else toml_text(value)}"
