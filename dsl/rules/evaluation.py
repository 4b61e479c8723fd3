"""Rules on evaluation: networks are named once, sets can be counted, expectations are met.

A rule takes the spec and what is known of the dataset and yields diagnostics.
"""

from collections.abc import Iterator

from ddspec.dsl.diagnostics import Diagnostic
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.spec.experiment import Spec


def expected_network(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """What a source reports was measured with a network that this spec evaluates."""
    for index, expected in enumerate(spec.expect):
        if expected.network not in spec.evaluation.networks:
            yield Diagnostic(
                code="expectation-not-evaluated",
                key=f"expect[{index + 1}].network",
                problem=f'"{expected.network}" is not among evaluation.networks',
                hint=f'add "{expected.network}" to evaluation.networks',
                involves=("evaluation.networks",),
            )


def distinct_networks(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """No network is evaluated twice."""
    names = spec.evaluation.networks
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        yield Diagnostic(
            code="network-named-twice",
            key="evaluation.networks",
            problem=f'"{twice}" stands there {names.count(twice)} times',
            hint="name each network once; evaluation.repeats says how many of it are trained",
        )


def kept_sets(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """The synthetic sets that are kept and evaluated can be counted and stored."""
    iterations, every = spec.matching.iterations, spec.evaluation.every
    if iterations / every > MOST_KEPT_SETS:
        yield Diagnostic(
            code="too-many-evaluations",
            key="evaluation.every",
            problem=f"{iterations} iterations would be evaluated {iterations // every} times, "
            f"at most {MOST_KEPT_SETS} are possible",
            hint=f"at least {-(-iterations // MOST_KEPT_SETS)} here",
            involves=("matching.iterations",),
        )


MOST_KEPT_SETS = 10_000
