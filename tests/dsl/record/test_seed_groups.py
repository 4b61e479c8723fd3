"""Results over several seeds are those of NumPy over all networks together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddspec.dsl.record.record import Accuracy
from ddspec.dsl.record.results import compare_with_published
from ddspec.dsl.record.seed_groups import seed_groups
from ddspec.dsl.record.sweep import SweptAxis, SweptRun
from ddspec.dsl.spec.evaluation import Expectation

PUBLISHED = Expectation(
    accuracy=50.0, std=1.0, n=100, choose="last", over="sweep", source="a paper"
)
SEEDS = SweptAxis(name="seed", entries=("seed = 0", "seed = 1"))
SIZES = SweptAxis(name="synthetic.ipc", entries=("ipc = 1", "ipc = 10"))


def accuracy(values):
    return Accuracy(
        mean=float(np.mean(values)),
        std=float(np.std(values)),
        n=len(values),
        values=tuple(values),
        network="convnet",
        choose="last",
        iteration=100,
    )


def run(values, *entries, status="done"):
    found = accuracy(values) if values else None
    return SweptRun(
        label=", ".join(entries),
        entries=entries,
        folder="folder",
        digest="0" * 32,
        status=status,
        accuracy=found,
        compared=(compare_with_published(PUBLISHED, found),) if found else (),
    )


percent = st.lists(st.floats(0, 100), min_size=1, max_size=6)


@given(percent, percent)
def test_pooled_mean_and_spread_are_those_over_all_networks(first, second):
    (group,) = seed_groups([SEEDS], [run(first, "seed = 0"), run(second, "seed = 1")])
    together, means = [*first, *second], [np.mean(first), np.mean(second)]
    assert group.accuracy.mean == pytest.approx(np.mean(together), abs=1e-9)
    assert group.accuracy.std == pytest.approx(np.std(together), abs=1e-6)
    assert group.accuracy.n == len(together) and group.accuracy.values == tuple(together)
    assert group.std_over_sets == pytest.approx(np.std(means), abs=1e-6)
    assert group.set_means == pytest.approx(means, abs=1e-9)


def test_runs_that_differ_in_more_than_the_seed_are_results_of_their_own():
    runs = [
        run([float(10 * i + j)], ipc, seed)
        for i, ipc in enumerate(SIZES.entries)
        for j, seed in enumerate(SEEDS.entries)
    ]
    groups = seed_groups([SIZES, SEEDS], runs)
    assert [group.entries for group in groups] == [("ipc = 1",), ("ipc = 10",)]
    assert [group.runs for group in groups] == [(0, 1), (2, 3)]


def test_group_whose_runs_are_not_all_done_says_how_many_it_has():
    runs = [run([50.0, 52.0], "seed = 0"), run([], "seed = 1", status="diverged")]
    (group,) = seed_groups([SEEDS], runs)
    assert (group.runs, group.planned) == ((0,), 2)
    # One set is not what the source averages over.
    assert group.compared[0].verdict == "not decidable"


@pytest.mark.parametrize("axes", [[SIZES], [SweptAxis(name="seed", entries=("seed = 0",))]])
def test_sweep_without_several_seeds_has_no_such_result(axes):
    assert seed_groups(axes, [run([1.0], axes[0].entries[0])]) == ()


def test_number_over_several_sets_is_held_against_all_networks_together():
    runs = [run([49.0, 50.0, 51.5], "seed = 0"), run([50.5, 49.5, 50.0], "seed = 1")]
    assert {r.compared[0].verdict for r in runs} == {"not decidable"}
    assert "sweep" in runs[0].compared[0].test
    (group,) = seed_groups([SEEDS], runs)
    (compared,) = group.compared
    assert compared.verdict == "agrees"
    assert compared.measured == group.accuracy
    far = [run([v - 20 for v in r.accuracy.values], *r.entries) for r in runs]
    assert seed_groups([SEEDS], far)[0].compared[0].verdict == "differs"


def test_seed_that_is_listed_twice_counts_once():
    twice = SweptAxis(name="seed", entries=("seed = 0", "seed = 1", "seed = 0"))
    runs = [run([50.0], "seed = 0"), run([52.0], "seed = 1"), run([50.0], "seed = 0")]
    (group,) = seed_groups([twice], runs)
    assert (group.runs, group.planned, group.accuracy.n) == ((0, 1), 2, 2)
    same = SweptAxis(name="seed", entries=("seed = 0", "seed = 0"))
    assert seed_groups([same], [runs[0], runs[2]]) == ()


def test_set_of_a_diverged_run_is_no_result_of_the_method():
    runs = [run([50.0], "seed = 0"), run([9.0], "seed = 1", status="diverged")]
    (group,) = seed_groups([SEEDS], runs)
    assert (group.runs, group.planned, group.accuracy.mean) == ((0,), 2, 50.0)


def test_run_recorded_before_a_number_was_expected_is_not_among_its_measurements():
    """An [[expect]] that is added to a spec changes no digest, so earlier runs are kept."""
    earlier = run([50.0], "seed = 0").model_copy(update={"compared": ()})
    for runs in ([earlier, run([52.0], "seed = 1")], [run([52.0], "seed = 0"), earlier]):
        entries = zip(runs, SEEDS.entries, strict=True)
        placed = [r.model_copy(update={"entries": (entry,)}) for r, entry in entries]
        (group,) = seed_groups([SEEDS], placed)
        (compared,) = group.compared
        assert (compared.measured.n, compared.verdict) == (1, "not decidable")
