"""One task performed by itself, for schedulers of any kind: `ddspec work --task`."""

import time
from typing import Literal

from pydantic import ValidationError

from ddspec.dsl.diagnostics import MachineError, StoreError
from ddspec.dsl.document import Document
from ddspec.dsl.plan.steps import Plan
from ddspec.engine.control import Control, Diverged
from ddspec.engine.machine.environment import ddspec_version
from ddspec.engine.run.execute import memory_fault, note_divergence
from ddspec.engine.run.status import extent_note, known_divergence
from ddspec.engine.store.array_shapes import check_step
from ddspec.engine.store.kept_plans import use_plan
from ddspec.engine.store.store import Store
from ddspec.engine.tasks.perform import TaskResult, make_context, perform
from ddspec.engine.tasks.tasks import (
    Task,
    belongs_to,
    is_stored,
    missing_of,
    task_of,
    tasks_of_step,
)

WAIT_SECONDS = 1.0
"""Time between two looks at what a task waits for."""


class TaskReport(Document):
    """What `ddspec work` prints: how a task ended, and what it cost."""

    step: str
    member: int | None
    status: Literal["done", "reused", "diverged"]
    seconds: float = 0.0
    """Wall time of the task itself."""
    memory_bytes: int = 0
    cause: str = ""
    advice: str = ""


def work(text: str, store: Store, control: Control, wait: float) -> TaskReport:
    """Perform the task that is given as JSON, unless its artifacts are there.

    Needs that are not stored yet, and another process at the same task, are waited for during
    `wait` seconds. Raises StoreError if they take longer, and errors of the store and the machine.
    """
    task, plan = read_task(text, store)
    step, until = plan.step(task.step), time.monotonic() + wait
    if not missing_of(task, plan, store):
        return TaskReport(step=step.id, member=task.member, status="reused")
    wait_for_needs(task, plan, store, control, until)
    missing = missing_of(task, plan, store)
    known = known_divergence(step, missing, store) if missing else None
    if known is not None:
        return TaskReport(
            step=step.id,
            member=task.member,
            status="diverged",
            cause=known.cause,
            advice=known.advice,
        )
    if not missing:
        return TaskReport(step=step.id, member=task.member, status="reused")
    check_step(plan.dataset, plan, store)
    for need in task.needs:
        check_step(plan.step(need.step), plan, store, need.member)
    try:
        context = make_context(plan, store, control)
        while True:
            result = perform(task, plan, context, control)
            if result.status != "busy":
                break
            wait_a_moment(f"step {step.id} is being made by another process", store, control, until)
    except Diverged as error:
        outcome = note_divergence(error, step, store)
        return TaskReport(
            step=step.id,
            member=task.member,
            status="diverged",
            cause=outcome.cause,
            advice=outcome.advice,
        )
    except (MemoryError, OSError, RuntimeError) as error:
        raise memory_fault(error, step) from error
    if not list(tasks_of_step(step, plan, store)):
        store.note(extent_note(step), step.extent)
    return report_of(task, result)


def report_of(task: Task, result: TaskResult) -> TaskReport:
    """Return the report of a task that did not diverge."""
    return TaskReport(
        step=task.step,
        member=task.member,
        status="reused" if result.status == "reused" else "done",
        seconds=result.seconds,
        memory_bytes=result.memory_bytes,
    )


def read_task(text: str, store: Store) -> tuple[Task, Plan]:
    """Return a task with its plan.

    Raises StoreError if the text is not a task of a plan in this store, and MachineError if
    another version of ddspec made it.
    """
    hint = "give a line of `ddspec plan SPEC --tasks --json`, and the same --store"
    try:
        task = Task.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        problem = f"{where}: {first['msg']}" if where else first["msg"]
        raise StoreError(f"this is not a task: {problem}", hint=hint) from None
    if task.ddspec != ddspec_version():
        raise MachineError(
            f"the task was made by ddspec {task.ddspec}, but this is {ddspec_version()}",
            hint="use the same version for planning and for working",
        )
    plan = use_plan(task.plan, store)
    if plan is None:
        raise StoreError(f"the plan {task.plan} is not in this store", hint=hint)
    if not belongs_to(task, plan):
        raise StoreError(f"the plan has no such task of a step {task.step}", hint=hint)
    # Needs are those of the plan, whatever the text says.
    needs = task_of(plan.step(task.step), plan, task.member, task.networks).needs
    return task.model_copy(update={"needs": needs}), plan


def wait_for_needs(task: Task, plan: Plan, store: Store, control: Control, until: float) -> None:
    """Return when everything that a task needs is stored; raise StoreError after `until`."""
    for need in task.needs:
        what = need.step if need.member is None else f"{need.step}, member {need.member}"
        while not is_stored(need, plan, store):
            message = f"step {task.step} needs {what}, which is not in the store"
            wait_a_moment(message, store, control, until)


def wait_a_moment(what: str, store: Store, control: Control, until: float) -> None:
    """Wait, and look at the store's folders again; raise StoreError after `until`."""
    control.leave_if_stopped()
    left = until - time.monotonic()
    if left <= 0:
        raise StoreError(what, hint="perform that task first, or give --wait SECONDS")
    time.sleep(min(WAIT_SECONDS, left))
    store.reread_folders()
