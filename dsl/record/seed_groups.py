"""Results over several seeds: the runs of a sweep that differ in nothing else, taken together.

The rows of DC, DSA, DM and CAFE are means and standard deviations over the networks of several
synthetic sets. Networks of one set share it, so they are not independent draws of the method: the
spread over sets is said beside the pooled one, and tests compare the means of the sets.
"""

from collections.abc import Iterator, Sequence

from ddspec.dsl.record.record import Accuracy
from ddspec.dsl.record.results import compare_with_published, mean_and_deviation
from ddspec.dsl.record.sweep import SeedGroup, SweptAxis, SweptRun
from ddspec.dsl.spec.evaluation import Expectation

SEED_AXIS = "seed"


def seed_groups(axes: Sequence[SweptAxis], runs: Sequence[SweptRun]) -> tuple[SeedGroup, ...]:
    """Return the results over seeds; none unless the sweep has an axis of several seeds."""
    names = [axis.name for axis in axes]
    if SEED_AXIS not in names or len({*axes[names.index(SEED_AXIS)].entries}) < 2:
        return ()
    position = names.index(SEED_AXIS)
    members: dict[tuple[str, ...], dict[str, int]] = {}
    for number, run in enumerate(runs):
        others = (*run.entries[:position], *run.entries[position + 1 :])
        # A seed that is listed twice makes the same set twice.
        members.setdefault(others, {}).setdefault(run.entries[position], number)
    groups = (group_of(entries, [*of.values()], runs) for entries, of in members.items())
    return tuple(group for group in groups if group is not None)


def group_of(
    entries: tuple[str, ...], numbers: Sequence[int], runs: Sequence[SweptRun]
) -> SeedGroup | None:
    """Return the result of the runs that are done and were evaluated; None if there are none.

    A run that diverged has the accuracy of an earlier set, which is not the method's result.
    """
    done = [number for number in numbers if runs[number].status == "done"]
    evaluated = [number for number in done if runs[number].accuracy is not None]
    accuracies = [a for a in (runs[number].accuracy for number in evaluated) if a is not None]
    if not accuracies:
        return None
    compared = tuple(
        compare_with_published(expectation, pooled_accuracy(measured), means_of(measured))
        for expectation, measured in published_over_sets([runs[number] for number in evaluated])
    )
    group = group_of_sets(entries, evaluated, accuracies)
    return group.model_copy(update={"planned": len(numbers), "compared": compared})


def group_of_sets(
    entries: tuple[str, ...], numbers: Sequence[int], accuracies: Sequence[Accuracy]
) -> SeedGroup:
    """Return the result of runs that were all evaluated, by their accuracies."""
    means = means_of(accuracies)
    return SeedGroup(
        entries=entries,
        runs=tuple(numbers),
        planned=len(numbers),
        accuracy=pooled_accuracy(accuracies),
        set_means=means,
        std_over_sets=mean_and_deviation(means)[1],
    )


def means_of(accuracies: Sequence[Accuracy]) -> tuple[float, ...]:
    """Return the mean accuracy of each synthetic set."""
    return tuple(accuracy.mean for accuracy in accuracies)


def published_over_sets(
    runs: Sequence[SweptRun],
) -> Iterator[tuple[Expectation, list[Accuracy]]]:
    """Yield each published number over several sets, and what the runs measured for it.

    Runs may have been recorded before the spec expected a number: then it is not among theirs.
    """
    compared = [c for run in runs for c in run.compared if c.expectation.over == "sweep"]
    for expectation in dict.fromkeys(c.expectation for c in compared):
        yield expectation, [c.measured for c in compared if c.expectation == expectation]


def pooled_accuracy(accuracies: Sequence[Accuracy]) -> Accuracy:
    """Return mean and population standard deviation over the networks of all sets together."""
    values = tuple(value for accuracy in accuracies for value in accuracy.values)
    mean, std = mean_and_deviation(values)
    first = accuracies[0]
    return first.model_copy(
        update={
            "mean": mean,
            "std": std,
            "n": len(values),
            "values": values,
            "iteration": max(accuracy.iteration for accuracy in accuracies),
        }
    )
