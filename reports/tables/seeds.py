"""Results over several seeds, with the spread over networks and that over synthetic sets."""

from dataclasses import dataclass

from ddspec.dsl.record.sweep import SeedGroup
from ddspec.dsl.spec.evaluation import Expectation
from ddspec.reports.format import fixed, mean_and_std


@dataclass(frozen=True)
class SeedRow:
    """One result over several seeds in the table."""

    entries: tuple[str, ...]
    accuracy: str
    std: str
    n: str
    std_over_sets: str
    sets: str
    published: tuple[str, ...]
    verdicts: tuple[str, ...]


def seed_row(group: SeedGroup) -> SeedRow:
    """Return a result over several seeds with both of its spreads."""
    sets = len(group.runs)
    return SeedRow(
        entries=group.entries,
        accuracy=fixed(group.accuracy.mean),
        std=fixed(group.accuracy.std),
        n=str(group.accuracy.n),
        std_over_sets=fixed(group.std_over_sets) if sets > 1 else "",
        sets=str(sets) if sets == group.planned else f"{sets} of {group.planned}",
        published=tuple(published_words(compared.expectation) for compared in group.compared),
        verdicts=tuple(f"{compared.verdict}: {compared.test}." for compared in group.compared),
    )


def published_words(expectation: Expectation) -> str:
    """Return a published number with its spread and source."""
    number = fixed(expectation.accuracy)
    if expectation.std is not None:
        number = mean_and_std(expectation.accuracy, expectation.std, expectation.n or 2)
    return f"{number} ({expectation.source})"
