"""Rules on evaluation: its networks, its number, and the expected accuracies.

A rule takes the spec and what is known of the dataset, and yields diagnostics.
"""

from collections.abc import Iterator

from ddspec.dsl.diagnostics import Diagnostic
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.spec.experiment import Spec

MOST_EVALUATIONS = 10_000
"""Most evaluations of a run; each of them keeps a synthetic set and trains networks."""


def expected_networks_evaluated(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """The network of every expected accuracy is evaluated."""
    for index, expected in enumerate(spec.expect):
        if expected.network not in spec.evaluation.networks:
            yield Diagnostic(
                code="expectation-not-evaluated",
                key=f"expect[{index + 1}].network",
                problem=f'"{expected.network}" is not among evaluation.networks',
                hint=f'add "{expected.network}" to evaluation.networks',
                involves=("evaluation.networks",),
            )


def evaluation_networks_distinct(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Every evaluation network is listed once."""
    names = spec.evaluation.networks
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        yield Diagnostic(
            code="network-named-twice",
            key="evaluation.networks",
            problem=f'"{repeated}" is listed {names.count(repeated)} times',
            hint="list each network once; to train several of one kind, raise evaluation.repeats",
        )


def evaluations_within_limit(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """A run has at most MOST_EVALUATIONS evaluations after the initial one."""
    iterations, every = spec.matching.iterations, spec.evaluation.every
    if iterations / every > MOST_EVALUATIONS:
        yield Diagnostic(
            code="too-many-evaluations",
            key="evaluation.every",
            problem=f"{iterations} iterations would have {-(-iterations // every)} evaluations, "
            f"but at most {MOST_EVALUATIONS} are possible",
            hint=f"use at least {-(-iterations // MOST_EVALUATIONS)}",
            involves=("matching.iterations",),
        )


def learning_rate_given_once(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """The learning rate of evaluation is given or searched, not both."""
    if spec.evaluation.lr is not None and spec.evaluation.lr_search is not None:
        yield Diagnostic(
            code="lr-given-and-searched",
            key="evaluation.lr_search",
            problem=f"the networks have the learning rate {spec.evaluation.lr:g}, so there is "
            "nothing to search",
            hint="remove lr or lr_search",
            involves=("evaluation.lr",),
        )


def lr_search_has_held_out_images(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """A learning rate is searched on held-out images, never on the test set."""
    if spec.evaluation.lr_search is not None and not spec.dataset.validation:
        yield Diagnostic(
            code="lr-search-without-validation",
            key="evaluation",
            problem="the best learning rate is searched on held-out images, but "
            "dataset.validation is 0",
            hint="set dataset.validation = 0.1, or give evaluation.lr",
            involves=("evaluation.lr_search", "evaluation.protocol", "dataset.validation"),
        )
