"""Execution of what is missing of a plan: tasks as their needs appear, and how they end."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from ddspec.dsl.atomic_write import remove_if_abandoned
from ddspec.dsl.diagnostics import DdspecError, MachineError
from ddspec.dsl.plan.steps import DistillStep, EvaluateStep, Plan, Step
from ddspec.dsl.record.record import Outcome
from ddspec.engine.control import Control, Diverged, ExecutionResult, Interrupted
from ddspec.engine.machine.processes import TaskEnded, can_fork
from ddspec.engine.run.costs import StepClocks
from ddspec.engine.run.status import (
    DivergenceNote,
    divergence_note,
    extent_note,
    known_divergence,
)
from ddspec.engine.stages.context import StageContext
from ddspec.engine.store.artifacts import artifacts_of
from ddspec.engine.store.locks import BUSY, MESSAGE_AFTER_SECONDS, RETRY_SECONDS
from ddspec.engine.store.store import Store
from ddspec.engine.tasks.executor import Executor
from ddspec.engine.tasks.perform import TaskResult, make_context, perform
from ddspec.engine.tasks.process_executor import ProcessExecutor
from ddspec.engine.tasks.progress import RunProgress
from ddspec.engine.tasks.serial_executor import SerialExecutor
from ddspec.engine.tasks.tasks import Need, Task, completes_artifact, is_stored, tasks_of

MOST_ROUNDS = 3
"""How often the store is asked what is missing, if tasks that ended left something."""

LOOK_AGAIN_SECONDS = 0.5
"""Time between two looks for a synthetic set while the distillation goes on."""

FAULTS = (Interrupted, DdspecError, OSError, MemoryError, RuntimeError)
"""What may end a task and is no error of this program."""


def execute_plan(
    plan: Plan,
    store: Store,
    control: Control,
    retry: bool = False,
    only: Callable[[Task], bool] = lambda task: True,
) -> ExecutionResult:
    """Perform the tasks of a plan that are left, or those among them that `only` chooses.

    After a divergence only evaluations go on; any other fault ends the run.
    """
    for left in store.leftovers():
        remove_if_abandoned(left)
    execution = Execution(plan, store, control, retry, only)
    try:
        for _ in range(MOST_ROUNDS):
            execution.run()
            left_out = execution.waiting_tasks()
            if execution.stopped is not None or not left_out:
                break
        else:
            execution.end(does_not_stay(left_out[0]), left_out[0].step)
    except FAULTS as error:
        execution.end(error, execution.step_at_work())
    finally:
        execution.executor.stop()
        execution.clocks.stop()
    clocks = execution.clocks
    return ExecutionResult(
        execution.outcome,
        clocks.costs,
        execution.stopped,
        clocks.seconds,
        execution.fault,
        execution.made_elsewhere,
    )


@dataclass
class Execution:
    """One run over a plan: what waits, what has ended, and at what cost."""

    plan: Plan
    store: Store
    control: Control
    retry: bool
    only: Callable[[Task], bool]
    outcome: Outcome = field(default_factory=lambda: Outcome(status="done"))
    stopped: str | None = None
    """The step that diverged, failed or was interrupted."""
    fault: Exception | None = None
    context: StageContext | None = None
    waiting: list[Task] = field(default_factory=list)
    order: dict[Task, int] = field(default_factory=dict)
    busy_since: dict[Task, float] = field(default_factory=dict)
    """Waiting tasks that another run performs, by the time when this was noticed."""
    asked_at: dict[Task, float] = field(default_factory=dict)
    """When each busy task was tried last."""
    failed: list[TaskEnded[Task]] = field(default_factory=list)
    stored: set[Need] = field(default_factory=set)
    """Needs that are known to be complete."""
    looked_at: dict[Need, float] = field(default_factory=dict)
    """When the store was asked for a synthetic set that was not there yet."""
    clocks: StepClocks = field(default_factory=StepClocks)
    made_elsewhere: Counter[str] = field(default_factory=Counter)
    """By step, how many of the missing artifacts another run made."""
    started: Task | None = None
    """The task that is being started."""
    told: set[str] = field(default_factory=set)
    """Messages that were shown."""

    def __post_init__(self) -> None:
        self.progress = RunProgress(self.plan, self.control)
        several = can_fork() and any(step.processes > 1 for step in self.plan.steps)
        self.executor: Executor = (
            ProcessExecutor(self.perform, self.control, self.progress, self.plan)
            if several
            else SerialExecutor(self.perform, self.control, self.progress)
        )

    def perform(self, task: Task, control: Control) -> TaskResult:
        """Perform a task in the context of this run, which forked workers share."""
        return perform(task, self.plan, self.loaded(), control)

    def loaded(self) -> StageContext:
        """Return the context with the images, which is made once."""
        self.context = self.context or make_context(self.plan, self.store, self.control)
        return self.context

    def waiting_tasks(self) -> list[Task]:
        """Return what is missing and may still be made."""
        tasks = filter(self.only, tasks_of([self.plan], self.store))
        return [task for task in tasks if self.stopped is None or self.is_evaluation(task)]

    def is_evaluation(self, task: Task) -> bool:
        """Return whether a task evaluates, which goes on after a divergence."""
        return isinstance(self.plan.step(task.step), EvaluateStep)

    def run(self) -> None:
        """Perform all waiting tasks as their needs appear."""
        self.waiting = self.waiting_tasks()
        self.order = {task: number for number, task in enumerate(self.waiting)}
        self.progress.expect(self.waiting)
        while self.waiting or self.executor.running or self.failed:
            self.start_tasks()
            if self.executor.running:
                for ended in self.executor.ended():
                    self.take(ended)
            elif self.failed:
                self.settle()
            elif self.control.signalled() is not None:
                self.end(Interrupted(self.control.signalled() or 0), self.waiting[0].step)
            elif self.busy_since:
                self.wait_for_others()
            else:
                # Nothing makes what these need: sets that a divergence prevented, or artifacts that
                # were removed after the tasks were listed, which the next round lists anew.
                self.waiting = []

    def start_tasks(self) -> None:
        """Start waiting tasks in their order, until one does not fit beside those that run."""
        while not self.failed and self.control.signalled() is None:
            task = self.next_task()
            if task is None or not self.executor.fits(task):
                return
            step = self.plan.step(task.step)
            known = self.divergence(step)
            if known is not None:
                self.diverge(known, step.id)
                continue
            if task in self.busy_since:
                self.store.reread_folders()
            self.waiting.remove(task)
            try:
                self.loaded()
            except FAULTS as error:
                self.failed.append(TaskEnded(task, error=error))
                return
            self.clocks.begin(step.id)
            self.progress.begin(task)
            self.started = task
            self.executor.start(task)
            self.started = None

    def next_task(self) -> Task | None:
        """Return the first waiting task whose needs are stored and that nobody else performs."""
        now = time.monotonic()
        for task in self.waiting:
            if now - self.asked_at.get(task, -RETRY_SECONDS) < RETRY_SECONDS:
                continue
            if all(map(self.has, task.needs)):
                return task
        return None

    def has(self, need: Need) -> bool:
        """Return whether a need is stored; the store is asked only if it may be."""
        if need in self.stored:
            return True
        undone = [*self.waiting, *self.executor.running]
        makers = [task for task in undone if task.step == need.step]
        if isinstance(self.plan.step(need.step), DistillStep):
            # Its sets appear while it goes on; looking too often would slow a network disk down.
            now = time.monotonic()
            if makers and now - self.looked_at.get(need, 0.0) < LOOK_AGAIN_SECONDS:
                return False
            self.looked_at[need] = now
        elif any(need.member in (None, task.member) for task in makers):
            return False
        if is_stored(need, self.plan, self.store):
            self.stored.add(need)
            return True
        return False

    def divergence(self, step: Step) -> Outcome | None:
        """Return how a step diverged before, if it would again."""
        if self.retry or step.id in self.clocks.costs:
            return None
        missing = [a for a in artifacts_of(step, self.store) if not a.complete]
        return known_divergence(step, missing, self.store)

    def take(self, ended: TaskEnded[Task]) -> None:
        """Take the end of a task."""
        task, result = ended.task, ended.result
        computed = ended.error is not None or result.status == "done"
        self.clocks.end(task.step, ended.memory_bytes, computed)
        if ended.error is not None:
            self.failed.append(ended)
        elif result.status == "busy":
            self.asked_at[task] = time.monotonic()
            self.busy_since.setdefault(task, time.monotonic())
            self.waiting = sorted([*self.waiting, task], key=self.order.__getitem__)
        else:
            self.busy_since.pop(task, None)
            self.progress.complete(task)
            if result.status == "reused":
                self.made_elsewhere[task.step] += completes_artifact(task, self.plan)
            self.note_extent(self.plan.step(task.step))

    def note_extent(self, step: Step) -> None:
        """Note how much was wanted of a step, if no task of it is left."""
        failed = [ended.task for ended in self.failed]
        if any(t.step == step.id for t in (*self.waiting, *self.executor.running, *failed)):
            return
        self.store.note(extent_note(step), step.extent)
        if self.retry:
            self.store.note(divergence_note(step), None)

    def step_at_work(self) -> str:
        """Return the step that an error outside of tasks is told of."""
        started = [self.started] if self.started is not None else []
        tasks = [*started, *self.executor.running, *self.waiting]
        return tasks[0].step if tasks else self.plan.steps[-1].id

    def settle(self) -> None:
        """Take the first failure in the order of tasks as that of the run.

        Nothing runs any more, so it is the failure that one task after another would have met.
        """
        for ended in self.failed:
            if ended.error is not None and not isinstance(ended.error, (Diverged, *FAULTS)):
                raise ended.error  # A fault of this program, whatever else failed.
        first = min(self.failed, key=lambda ended: self.order[ended.task])
        self.failed, step = [], self.plan.step(first.task.step)
        match first.error:
            case Diverged() as error:
                self.diverge(note_divergence(error, step, self.store), step.id)
            case error:
                assert error is not None
                self.end(error, step.id)

    def diverge(self, outcome: Outcome, step: str) -> None:
        """Say that the run diverged, and go on with evaluations alone."""
        at = "" if outcome.iteration is None else f" at iteration {outcome.iteration}"
        self.control.say(f"{step}: diverged{at}: {outcome.cause}; {outcome.advice}")
        self.outcome, self.stopped = outcome, step
        self.waiting = [task for task in self.waiting if self.is_evaluation(task)]

    def end(self, error: Exception, step: str) -> None:
        """End the run with a fault; a divergence before it remains the outcome."""
        self.fault, self.waiting = memory_fault(error, self.plan.step(step)), []
        if self.outcome.status == "diverged":
            return
        self.stopped = step
        self.outcome = Outcome(
            status="interrupted" if isinstance(error, Interrupted) else "failed",
            cause=str(self.fault),
            advice=getattr(self.fault, "hint", ""),
        )

    def wait_for_others(self) -> None:
        """Wait a moment, because other runs perform all that can be performed."""
        for task, since in self.busy_since.items():
            if time.monotonic() - since > MESSAGE_AFTER_SECONDS:
                self.tell_once(f"{task.step}: {BUSY}")
        time.sleep(RETRY_SECONDS)

    def tell_once(self, message: str) -> None:
        """Show a message, unless it was shown before."""
        if message not in self.told:
            self.told.add(message)
            self.control.say(message)


def does_not_stay(task: Task) -> DdspecError:
    """Return the error for artifacts that were made and are missing again."""
    return MachineError(
        f"artifacts of step {task.step} are not in the store, though all missing tasks ran "
        f"{MOST_ROUNDS} times",
        hint="another program deletes them, or the file system does not show them; use another "
        "--store",
    )


def memory_fault(error: Exception, step: Step) -> Exception:
    """Return an error that says that a step ran out of memory, if that is what happened."""
    message = str(error).lower()
    phrases = ("out of memory", "can't allocate memory", "not enough memory")
    if not (isinstance(error, MemoryError) or any(words in message for words in phrases)):
        return error
    gigabytes = step.estimate.memory_bytes / 1e9
    return MachineError(
        f"out of memory in step {step.id}, which was estimated to need {gigabytes:.2g} GB",
        hint="a smaller network, batch or synthetic set, or a larger machine; what was finished "
        "before is kept",
    )


def note_divergence(error: Diverged, step: Step, store: Store) -> Outcome:
    """Keep a divergence in the store and return it as an outcome."""
    iteration = error.at if error.expert is None else None
    outcome = Outcome(
        status="diverged", iteration=iteration, cause=error.cause, advice=error.advice
    )
    noted = DivergenceNote(outcome=outcome, at=error.at, expert=error.expert)
    store.note(divergence_note(step), noted.model_dump(mode="json"))
    return outcome
