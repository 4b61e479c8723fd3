"""From artifacts to a record: everything that a record contains, read from the store."""

import time
from collections.abc import Sequence

import numpy as np

from ddspec.dsl.digest import digest
from ddspec.dsl.plan.steps import (
    DistillStep,
    ExpertMember,
    Plan,
)
from ddspec.dsl.record.record import (
    Environment,
    ExpertRecord,
    Record,
    Sitting,
    StepCost,
    StepRecord,
    StepStatus,
    Storage,
)
from ddspec.dsl.record.series import COUNTED_SERIES, SERIES, Series
from ddspec.dsl.terms import Device
from ddspec.engine.control import ExecutionResult
from ddspec.engine.machine.environment import environment
from ddspec.engine.run.status import StepState
from ddspec.engine.store.artifacts import artifacts_of, unfinished_preimage
from ddspec.engine.store.hdf5_file import read_series
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.store.store import ArtifactKind, Store
from ddspec.engine.store.trajectory_file import read_log, stored_bytes, trajectory_kind

FLOAT_BYTES = 4


def step_records(
    before: Sequence[StepState], store: Store, done: ExecutionResult, earlier: Record | None
) -> tuple[StepRecord, ...]:
    """Return what each step did in this run, and what its artifacts cost when made.

    `earlier` is the record of this run's earlier sittings.
    """
    recorded = {step.id: step for step in earlier.steps} if earlier else {}
    return tuple(step_record(state, store, done, recorded.get(state.step.id)) for state in before)


def step_record(
    state: StepState, store: Store, done: ExecutionResult, earlier: StepRecord | None
) -> StepRecord:
    """Return the record of one step."""
    step = state.step
    now = list(artifacts_of(step, store))
    left = sum(not artifact.complete for artifact in now)
    present = [artifact for artifact in now if artifact.have]
    origins = [store.provenance(artifact.kind, artifact.digest) for artifact in present]
    costs = [origin.seconds for origin in origins]
    cost = done.costs.get(step.id)
    computed = computed_artifacts(state, left, done) + (earlier.computed if earlier else 0)
    processor = [origin.processor_seconds for origin in origins]
    known = [seconds for seconds in processor if seconds is not None]
    total = max if step.kind == "distill" else sum
    return StepRecord(
        id=step.id,
        kind=step.kind,
        digest=step.digest,
        status=status_of_step(state, left, computed, done),
        members=len(now),
        computed=computed,
        seconds=(earlier.seconds if earlier else 0.0) + (cost.seconds if cost else 0.0),
        memory_bytes=max(earlier.memory_bytes if earlier else 0, cost.memory_bytes if cost else 0),
        # The sets of one distillation include the cost of all iterations before them.
        seconds_when_made=total([0.0, *costs]),
        processor_seconds_when_made=total([0.0, *known]) if len(known) == len(origins) else None,
        memory_bytes_when_made=max((origin.memory_bytes for origin in origins), default=0),
        environments=environments_of(origins),
        bytes=sum(store.size(artifact.kind, artifact.digest) for artifact in present),
        route=step.route,
        processes=step.processes,
        mixed_routes=any(origin.routes not in ((), (step.route,)) for origin in origins),
        estimate=step.estimate,
    )


def computed_artifacts(state: StepState, left: int, done: ExecutionResult) -> int:
    """Return how many artifacts of a step this sitting made; `left` are not complete.

    What another run made meanwhile does not count. Of an evaluation whose networks several runs
    trained, the run counts that trained the last one.
    """
    step = state.step.id
    if step not in done.costs:
        return 0
    return max(0, len(state.missing) - left - done.made_elsewhere.get(step, 0))


def environments_of(origins: Sequence[Provenance]) -> tuple[Environment, ...]:
    """Return the machines that made some artifacts; none if one is not known."""
    if not all(origin.environments for origin in origins):
        return ()
    machines: tuple[Environment, ...] = ()
    for origin in origins:
        machines += tuple(machine for machine in origin.environments if machine not in machines)
    return machines


def status_of_step(state: StepState, left: int, computed: int, done: ExecutionResult) -> StepStatus:
    """Return the status of a step of which the run's sittings computed so many artifacts."""
    if state.step.id == done.stopped and left:
        return "interrupted" if done.outcome.status == "interrupted" else "failed"
    if left and left == len(state.missing):
        return "not run"
    return complete_status(computed, len(state.artifacts))


def complete_status(computed: int, members: int) -> StepStatus:
    """Return the status of a complete step by how many of its artifacts its run computed."""
    if not computed:
        return "reused"
    return "computed" if computed >= members else "partly reused"


def sittings(
    before: Sequence[StepState],
    store: Store,
    done: ExecutionResult,
    earlier: Record | None,
    device: Device,
) -> tuple[Sitting, ...]:
    """Return the sittings of a run: the earlier ones, and this one if it computed something."""
    recorded = earlier.sittings if earlier else ()
    if not done.costs:
        return recorded
    steps = {}
    for state in before:
        cost = done.costs.get(state.step.id)
        if cost is not None:
            left = sum(not artifact.complete for artifact in artifacts_of(state.step, store))
            steps[state.step.id] = StepCost(
                seconds=cost.seconds,
                memory_bytes=cost.memory_bytes,
                computed=computed_artifacts(state, left, done),
            )
    sitting = Sitting(
        date=utc_now(),
        environment=environment(device),
        status=done.outcome.status,
        steps=steps,
        seconds=done.seconds,
    )
    return (*recorded, sitting)


def utc_now() -> str:
    """Return the time as a record writes it: UTC, ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def expert_records(plan: Plan, store: Store) -> tuple[ExpertRecord, ...]:
    """Return the training of every stored expert, up to the epochs that this plan needs."""
    step = plan.trajectories
    if step is None:
        return ()
    kind = trajectory_kind(step)
    records = []
    for member in step.members:
        if not store.has(kind, member.digest):
            continue
        until = member.epochs if isinstance(member, ExpertMember) else None
        with store.open(kind, member.digest) as file:
            log = read_log(file, until)
            curve_loss = file["curve_loss"][()] if "curve_loss" in file else ()
        whole = np.sqrt(np.square([row.step_length for row in log]).sum(axis=1))
        records.append(
            ExpertRecord(
                index=member.number,
                train_loss=known_values([row.train_loss for row in log]),
                train_accuracy=known_values([row.train_accuracy for row in log]),
                test_accuracy=known_values([row.test_accuracy for row in log]),
                step_length=tuple(map(float, whole)),
                path_accuracy=path_accuracy(plan, store, member.number),
                curve_loss=tuple(map(float, curve_loss)),
                avg_var=float(np.square(whole).mean()),
            )
        )
    return tuple(records)


def known_values(values: Sequence[float]) -> tuple[float, ...]:
    """Return the values of all epochs; none if unknown, as for imported experts."""
    return tuple(map(float, values)) if np.isfinite(values).all() else ()


def path_accuracy(plan: Plan, store: Store, number: int) -> tuple[float, ...]:
    """Return the test accuracy along the path of one expert; empty if not measured."""
    if plan.paths is None:
        return ()
    name = next(m.digest for m in plan.paths.members if m.number == number)
    if not store.has("path", name):
        return ()
    with store.open("path", name) as file:
        return tuple(map(float, file["accuracy"][()]))


def states_of(step: DistillStep, store: Store) -> list[tuple[ArtifactKind, str]]:
    """Return the last kept set of a distillation, and a later checkpoint if there is one."""
    kept = [m.digest for m in step.members if store.has("synthetic", m.digest)]
    places: list[tuple[ArtifactKind, str]] = [("synthetic", name) for name in kept[-1:]]
    between = digest(unfinished_preimage(step.preimage))
    if step.members[-1].digest not in kept and store.has("unfinished", between):
        places.append(("unfinished", between))
    return places


def collect_series(plan: Plan, store: Store) -> Series:
    """Return the series of the outer loop up to its last saved iteration."""
    series: dict[str, tuple[float, ...]] = {name: () for name in SERIES}
    step = plan.distill
    last = step.members[-1].number
    for artifact in states_of(step, store):
        with store.open(*artifact) as file:
            state = {name: read_series(file, name)[:last] for name in SERIES}
        if len(state["matching_loss"]) > len(series["matching_loss"]):
            series = state
    return Series.model_validate(
        {
            name: tuple(map(int, values)) if name in COUNTED_SERIES else values
            for name, values in series.items()
        }
    )


def storage(plan: Plan, store: Store) -> Storage:
    """Return the bytes of what is matched, and those of all snapshots."""
    step = plan.trajectories
    if step is None:
        return Storage(experts=0, stored=0, full=0)
    kind = trajectory_kind(step)
    total = 0
    for member in step.members:
        if store.has(kind, member.digest):
            rows = member.epochs + 1 if isinstance(member, ExpertMember) else None
            with store.open(kind, member.digest) as file:
                total += stored_bytes(file, rows)
    experts = len(step.members)
    snapshots = step.recipe.experts.epochs + 1
    full = experts * snapshots * plan.network_parameters * FLOAT_BYTES
    return Storage(experts=experts, stored=total, full=full)
