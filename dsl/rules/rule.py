"""What a rule is: a function from a spec to its findings."""

from collections.abc import Callable, Iterator

from ddspec.dsl.diagnostics import Diagnostic
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.spec.experiment import Spec

Rule = Callable[[Spec, DatasetFacts | None], Iterator[Diagnostic]]
"""Yields diagnostics of a spec; the facts of its dataset are None while they are unknown."""
