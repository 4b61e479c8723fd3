"""Tasks: what is missing of a plan, as values that one worker each carries out.

A task is small JSON. Whoever sees the store can perform it (`perform.py`): it reads and writes the
store by digest and nothing else. The same task twice makes the same artifacts.

This module imports no torch.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, assert_never

from pydantic import Field, Strict

from ddspec.dsl.digest import DIGEST
from ddspec.dsl.document import Document
from ddspec.dsl.plan.steps import (
    DatasetStep,
    DistillStep,
    EvaluateStep,
    ExpertsStep,
    InitialiseStep,
    PathStep,
    Plan,
    ScoresStep,
    Step,
    TrajectoryStep,
)
from ddspec.engine.machine.environment import ddspec_version
from ddspec.engine.store.artifacts import Artifact, artifacts_of
from ddspec.engine.store.kept_plans import plan_name
from ddspec.engine.store.store import Store


class Need(Document):
    """What has to be in the store before a task can begin."""

    step: str
    member: int | None = None
    """Number of one artifact of the step; None if all are needed."""


class Task(Document):
    """A part of a plan that one worker carries out."""

    ddspec: str
    """Version of ddspec that made the task; no other one performs it."""
    plan: str = Field(pattern=DIGEST)
    """Name of the plan, routes included: see `plan_name`."""
    step: str
    member: int | None = None
    """Number of the artifact to make; None for all of the step, which one worker makes."""
    networks: Annotated[tuple[int, int], Strict(False)] | None = None
    """Of an evaluation, the number of the first network, and of the one after the last."""
    needs: Annotated[tuple[Need, ...], Strict(False)] = ()


def tasks_of(plans: Sequence[Plan], store: Store) -> list[Task]:
    """Return what is missing of some plans; each task comes after those that it needs.

    Artifacts that several plans share are made by one task.
    """
    tasks: dict[Any, Task] = {}
    for plan in plans:
        name = plan_name(plan)
        for step in plan.steps:
            for task in tasks_of_step(step, plan, store):
                made = artifacts_of(step, store, task.member)
                key = task.networks, *((a.kind, a.digest, a.want) for a in made)
                tasks.setdefault(key, task.model_copy(update={"plan": name}))
    return list(tasks.values())


def tasks_of_step(step: Step, plan: Plan, store: Store) -> Iterator[Task]:
    """Yield the tasks of one step, whose plan has no name yet."""
    missing = [artifact for artifact in artifacts_of(step, store) if not artifact.complete]
    if not missing:
        return
    match step:
        case DatasetStep() | InitialiseStep() | DistillStep():
            yield task_of(step, plan)
        case ScoresStep() | ExpertsStep() | TrajectoryStep() | PathStep():
            yield from (task_of(step, plan, artifact.number) for artifact in missing)
        case EvaluateStep():
            for artifact in missing:
                blocks = network_blocks(artifact.have, artifact.want, step.route.networks)
                for networks in blocks:
                    yield task_of(step, plan, artifact.number, networks)
        case _:
            assert_never(step)


UNNAMED = "0" * 32
"""Stands for the name of a plan until it is known."""


def task_of(
    step: Step, plan: Plan, member: int | None = None, networks: tuple[int, int] | None = None
) -> Task:
    """Return one task of a step."""
    needs = tuple(need_of(step, plan.step(id), member) for id in step.needs)
    return Task(
        ddspec=ddspec_version(),
        plan=UNNAMED,
        step=step.id,
        member=member,
        networks=networks,
        needs=needs,
    )


def need_of(step: Step, needed: Step, member: int | None) -> Need:
    """Return what a task of one step needs of another one."""
    match step, needed:
        case (EvaluateStep(), DistillStep()) | (PathStep(), TrajectoryStep()):
            return Need(step=needed.id, member=member)
        case EvaluateStep(), ExpertsStep() | TrajectoryStep():
            # The baseline's labels are expert 0's.
            return Need(step=needed.id, member=0)
        case _:
            return Need(step=needed.id)


def network_blocks(first: int, until: int, at_once: int) -> Iterator[tuple[int, int]]:
    """Yield the numbers of networks in blocks of `at_once`, aligned to zero.

    Each block is its first number and the one after its last. Aligned blocks make the members of
    a stack the same whether or not a run was interrupted.
    """
    while first < until:
        end = min(until, (first // at_once + 1) * at_once)
        yield first, end
        first = end


def is_stored(need: Need, plan: Plan, store: Store) -> bool:
    """Return whether everything that a need names is complete in the store."""
    return all(
        artifact.complete for artifact in artifacts_of(plan.step(need.step), store, need.member)
    )


def belongs_to(task: Task, plan: Plan) -> bool:
    """Return whether a task is one of a plan, whatever is stored."""
    step = next((step for step in plan.steps if step.id == task.step), None)
    match step:
        case None:
            return False
        case DatasetStep() | InitialiseStep() | DistillStep():
            return task.member is None and task.networks is None
        case ScoresStep() | ExpertsStep() | TrajectoryStep() | PathStep():
            return task.networks is None and task.member in {m.number for m in step.members}
        case EvaluateStep():
            first, end = task.networks or (0, 0)
            fits = 0 <= first < end <= step.evaluation.repeats
            return fits and task.member in {m.number for m in step.members}
        case _:
            assert_never(step)


def missing_of(task: Task, plan: Plan, store: Store) -> list[Artifact]:
    """Return the artifacts of a task that are not complete, up to its last network."""
    artifacts = artifacts_of(plan.step(task.step), store, task.member)
    end = task.networks[1] if task.networks is not None else None
    return [a for a in artifacts if a.have < (a.want if end is None else end)]


def completes_artifact(task: Task, plan: Plan) -> bool:
    """Return whether an artifact is complete once this task is done, after those before it."""
    step = plan.step(task.step)
    if isinstance(step, EvaluateStep):
        assert task.networks is not None
        return task.networks[1] == step.evaluation.repeats
    return True


def lock_name(task: Task, plan: Plan) -> str:
    """Return the name of the lock under which a task is performed.

    An expert and the path in place of its trajectory have one lock: one continues the other.
    """
    step = plan.step(task.step)
    match step:
        case ExpertsStep() | TrajectoryStep():
            assert task.member is not None
            return step.recipe.expert(task.member).digest
        case DatasetStep() | InitialiseStep() | DistillStep():
            return step.digest
        case ScoresStep() | PathStep() | EvaluateStep():
            member = next(m for m in step.members if m.number == task.member)
            return member.digest if task.networks is None else f"{member.digest}-{task.networks[0]}"
        case _:
            assert_never(step)


def units_of_step(step: Step) -> int:
    """Return the units in which a step's progress is counted."""
    match step:
        case DatasetStep() | InitialiseStep():
            return 1
        case ExpertsStep():
            return sum(member.epochs for member in step.members)
        case ScoresStep():
            return step.epochs * len(step.members)
        case TrajectoryStep():
            return (step.epochs + step.control_epochs) * len(step.members)
        case PathStep():
            return len(step.members)
        case DistillStep():
            return step.members[-1].number
        case EvaluateStep():
            return step.evaluation.repeats * len(step.members)
        case _:
            assert_never(step)


def unit_of_step(step: Step) -> str:
    """Return what a step's progress counts, in the plural."""
    match step:
        case DatasetStep():
            return "datasets"
        case InitialiseStep():
            return "sets"
        case ScoresStep() | ExpertsStep() | TrajectoryStep():
            return "epochs"
        case PathStep():
            return "paths"
        case DistillStep():
            return "iterations"
        case EvaluateStep():
            return "networks"
        case _:
            assert_never(step)


def units_of_task(task: Task, step: Step) -> int:
    """Return the units of one task."""
    match step:
        case ExpertsStep():
            return next(member.epochs for member in step.members if member.number == task.member)
        case ScoresStep():
            return step.epochs
        case TrajectoryStep():
            return step.epochs + step.control_epochs
        case EvaluateStep():
            assert task.networks is not None
            first, end = task.networks
            return end - first
        case DatasetStep() | InitialiseStep() | PathStep() | DistillStep():
            return units_of_step(step) if task.member is None else 1
        case _:
            assert_never(step)
