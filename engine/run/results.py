"""Results of a run: accuracies by every choice, baselines, and published numbers."""

import math
from collections.abc import Sequence
from typing import get_args

from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.record import SUBJECT_WORDS, Accuracy, Compared, Evaluated, Reached, Results
from ddspec.dsl.record.results import (
    accuracy_of,
    chosen_accuracy,
    compare_with_published,
    distilled_sets,
    iterations_to_reach,
)
from ddspec.dsl.spec.evaluation import Expectation
from ddspec.dsl.terms import Choice, NetworkName, Subject
from ddspec.engine.store.evaluation_file import read_evaluation
from ddspec.engine.store.store import Store
from ddspec.engine.store.trajectory_file import (
    expert_is_whole,
    read_log,
    trajectory_digest,
    trajectory_kind,
)


def collect_evaluations(plan: Plan, store: Store) -> tuple[Evaluated, ...]:
    """Return every accuracy of every network, distilled sets first."""
    evaluations = []
    for subject in get_args(Subject):
        for step in plan.evaluations(subject):
            for member in step.members:
                evaluation = read_evaluation(store, member.digest)
                networks = evaluation.networks[: step.evaluation.repeats]
                if networks:
                    held_out = [n.validation for n in networks if n.validation is not None]
                    evaluated = Evaluated(
                        subject=subject,
                        network=step.network_name,
                        iteration=member.number,
                        student_lr=evaluation.student_lr,
                        values=tuple(n.accuracy for n in networks),
                        validation=tuple(held_out),
                        ran_away=sum(not n.finite for n in networks),
                    )
                    evaluations.append(evaluated)
    return tuple(evaluations)


def collect_results(
    plan: Plan,
    evaluations: Sequence[Evaluated],
    expectations: Sequence[Expectation],
    expert: float | None,
) -> Results:
    """Return the results by each choice; empty if no iteration was evaluated.

    `expert` is the test accuracy of expert 0 at its last epoch.
    """
    networks = [step.network_name for step in plan.evaluations("distilled")]

    def best(choose: Choice) -> Accuracy | None:
        return chosen_accuracy(distilled_sets(plan, evaluations), networks[0], choose)

    sets = distilled_sets(plan, evaluations)
    chosen = {name: chosen_accuracy(sets, name, plan.choose) for name in networks}

    def baseline(subject: Subject) -> dict[str, Accuracy]:
        return {e.network: accuracy_of(e, "none") for e in evaluations if e.subject == subject}

    return Results(
        accuracy=chosen[networks[0]],
        last=best("last"),
        best_on_test=best("best_on_test"),
        on_validation=best("validation"),
        per_network={name: accuracy for name, accuracy in chosen.items() if accuracy},
        random_real=baseline("random_real"),
        random_real_expert_labels=baseline("random_real_expert_labels"),
        full_data=baseline("full_data"),
        distilled_hard_labels=baseline("distilled_hard_labels"),
        distilled_plain=baseline("distilled_plain"),
        random_real_plain=baseline("random_real_plain"),
        expert=expert,
        reached=accuracies_reached(expectations, evaluations, networks[0]),
    )


def expert_accuracy(plan: Plan, store: Store) -> float | None:
    """Return the test accuracy of expert 0 at its last epoch; None if it is not complete."""
    step = plan.trajectories
    if step is None or not expert_is_whole(store, step, 0):
        return None
    with store.open(trajectory_kind(step), trajectory_digest(step, 0)) as file:
        accuracy = read_log(file)[step.recipe.experts.epochs - 1].test_accuracy
    return accuracy if math.isfinite(accuracy) else None  # Unknown for imported experts.


ROUND_STEPS = 5
"""Distance in points between the round accuracies whose iterations are counted."""


OF_REAL_IMAGES: tuple[Subject, ...] = ("random_real", "random_real_expert_labels", "full_data")
"""Baselines whose accuracies a distilled set may reach."""


def accuracies_reached(
    expectations: Sequence[Expectation], evaluations: Sequence[Evaluated], network: NetworkName
) -> tuple[Reached, ...]:
    """Return the iterations to reach baselines, published numbers and round accuracies."""
    levels: list[tuple[float, str]] = []
    of_network = [e for e in evaluations if e.network == network]
    baselines = [e for e in of_network if e.subject in OF_REAL_IMAGES]
    levels += [(accuracy_of(e, "none").mean, SUBJECT_WORDS[e.subject]) for e in baselines]
    levels += [(e.accuracy, e.source) for e in expectations if e.network == network]
    means = [accuracy_of(e, "none").mean for e in of_network if e.subject == "distilled"]
    lowest, highest = min(means, default=100.0), max(means, default=0.0)
    levels += [
        (float(level), f"{level} %")
        for level in range(0, 101, ROUND_STEPS)
        if lowest < level <= highest
    ]
    return tuple(
        Reached(
            accuracy=level, what=what, iteration=iterations_to_reach(evaluations, network, level)
        )
        for level, what in sorted(levels)
    )


def compare_with_expectations(
    expectations: Sequence[Expectation], evaluations: Sequence[Evaluated]
) -> tuple[Compared, ...]:
    """Return published numbers beside those measured by the same choice."""
    pairs = [
        (expectation, chosen_accuracy(evaluations, expectation.network, expectation.choose))
        for expectation in expectations
    ]
    return tuple(
        compare_with_published(expectation, measured) for expectation, measured in pairs if measured
    )
