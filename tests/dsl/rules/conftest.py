"""A fixture that applies one rule to a spec which differs from a small valid one."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from ddspec.dsl.diagnostics import Diagnostic
from ddspec.dsl.facts.datasets import DatasetFacts, known_facts, prepared
from ddspec.dsl.rules.checks import Rule
from ddspec.dsl.spec.experiment import Spec

BASE: dict[str, Any] = {
    "ddspec": 1,
    "name": "x",
    "dataset": {"name": "digits"},
    "network": {"depth": 2},
    "synthetic": {"ipc": 1},
}


def spec_with(tables: Mapping[str, Any]) -> Spec:
    """A spec on the digits with the given keys in its tables."""
    values = dict(BASE)
    for name, table in tables.items():
        default = {} if name == "network" else values.get(name, {})
        values[name] = {**default, **table} if isinstance(table, dict) else table
    return Spec.model_validate(values)


@pytest.fixture
def broken() -> Callable[..., list[Diagnostic]]:
    """A function that returns the diagnostics of one rule; `facts` replaces the known ones."""

    def apply(rule: Rule, facts: DatasetFacts | None = None, **tables: Any) -> list[Diagnostic]:
        spec = spec_with(tables)
        known = known_facts(spec.dataset)
        return list(rule(spec, facts or (prepared(known, spec.dataset) if known else None)))

    return apply
