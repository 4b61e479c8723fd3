"""What a record says of artifacts, against the artifacts themselves."""

from dataclasses import replace

import numpy as np
import pytest

from ddspec.dsl.plan.route import Route
from ddspec.dsl.record.record import Environment, Outcome
from ddspec.engine.control import Cost, ExecutionResult
from ddspec.engine.run.collect import (
    collect_series,
    environments_of,
    expert_records,
    status_of_step,
    step_record,
    storage,
)
from ddspec.engine.run.status import step_states
from ddspec.engine.store.provenance import Provenance
from tests.engine.stages.whole_steps import train_experts

DONE = Outcome(status="done")


def executed(**seconds):
    return ExecutionResult(DONE, {k: Cost(s, 10**6) for k, s in seconds.items()}, None)


def machine(name):
    return Environment(
        ddspec="0.2.0",
        commit=None,
        python="3.12",
        packages={},
        system="Linux",
        device=name,
        cores=2,
    )


def test_experts_are_recorded_from_their_snapshots(context, plan):
    made = plan()
    train_experts(made.step("experts"), context)
    records = expert_records(made, context.store)
    assert [record.index for record in records] == [0, 1, 2]
    for member, record in zip(made.step("experts").members, records, strict=True):
        with context.store.open("expert", member.digest) as file:
            theta = file["theta"][()].astype(np.float64)
        steps = np.linalg.norm(np.diff(theta, axis=0), axis=1)[: member.epochs]
        assert len(record.train_loss) == member.epochs
        np.testing.assert_allclose(record.step_length, steps, rtol=1e-5)
        assert record.avg_var == pytest.approx(np.mean(steps**2), rel=1e-5)
        assert record.path_accuracy == ()


def test_a_shorter_plan_records_the_epochs_that_it_needs(context, plan):
    train_experts(plan("matching.max_start_epoch=3").step("experts"), context)
    short = expert_records(plan("matching.max_start_epoch=1"), context.store)
    assert [len(record.test_accuracy) for record in short] == [4, 1, 1]


def test_storage_counts_the_snapshots_of_this_plan(context, plan):
    longer, made = plan("matching.max_start_epoch=3"), plan("matching.max_start_epoch=1")
    train_experts(longer.step("experts"), context)
    bytes_of_vector = 4 * made.network_parameters
    stored = storage(made, context.store)
    needed = sum(member.epochs + 1 for member in made.step("experts").members)
    assert (stored.experts, stored.stored) == (3, needed * bytes_of_vector)
    assert stored.full == 3 * 5 * bytes_of_vector
    assert storage(longer, context.store).stored > stored.stored


def test_series_without_a_saved_iteration_are_empty(context, plan):
    series = collect_series(plan(), context.store)
    assert {len(getattr(series, name)) for name in type(series).model_fields} == {0}


@pytest.mark.parametrize(
    ("missing", "left", "computed", "status"),
    [
        (3, 0, 3, "computed"),
        (3, 0, 2, "partly reused"),
        (0, 0, 0, "reused"),
        (3, 3, 0, "not run"),
        (3, 1, 2, "partly reused"),
    ],
)
def test_status_of_a_step_follows_from_its_counts(missing, left, computed, status, context, plan):
    (state,) = (s for s in step_states(plan(), context.store) if s.step.kind == "experts")
    have = len(state.artifacts) - missing
    artifacts = tuple(
        replace(artifact, have=artifact.want if number < have else 0)
        for number, artifact in enumerate(state.artifacts)
    )
    counted = replace(state, artifacts=artifacts)
    assert len(counted.missing) == missing
    assert status_of_step(counted, left, computed, executed()) == status


@pytest.mark.parametrize(
    ("outcome", "status"), [("interrupted", "interrupted"), ("failed", "failed")]
)
def test_the_step_that_stopped_a_run_says_how(outcome, status, context, plan):
    (state,) = (s for s in step_states(plan(), context.store) if s.step.kind == "experts")
    stopped = ExecutionResult(Outcome(status=outcome), {}, "experts")
    assert status_of_step(state, 3, 0, stopped) == status
    # It was stopped after its last artifact was complete.
    assert status_of_step(state, 0, 3, stopped) == "computed"


def test_costs_of_two_sittings_add_up(context, plan):
    made = plan()

    def state(kind):
        (state,) = (s for s in step_states(made, context.store) if s.step.kind == kind)
        return state

    before = state("experts")
    train_experts(made.step("experts"), context)
    first = step_record(before, context.store, executed(experts=3.0), None)
    assert (first.computed, first.seconds, first.status) == (3, 3.0, "computed")
    second = step_record(state("experts"), context.store, executed(experts=0.5), first)
    assert (second.computed, second.seconds, second.status) == (3, 3.5, "computed")
    alone = step_record(state("experts"), context.store, executed(), None)
    assert (alone.computed, alone.seconds, alone.status) == (0, 0.0, "reused")
    # What the artifacts cost when they were made does not depend on the sitting.
    assert alone.seconds_when_made == first.seconds_when_made > 0
    assert step_record(state("distill"), context.store, executed(), None).status == "not run"


def test_machines_of_artifacts_are_listed_once_or_not_at_all():
    route = Route(device="cpu", threads=1)

    def made_by(*names):
        return Provenance(routes=(route,), environments=tuple(map(machine, names)))

    assert environments_of([made_by("a"), made_by("b", "a"), made_by("b")]) == (
        machine("a"),
        machine("b"),
    )
    assert environments_of([made_by("a"), made_by()]) == ()
