"""Execution of the steps of a plan that are not complete: order, device, divergence."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import assert_never

import torch

from ddspec.dsl.atomic_write import remove_if_abandoned
from ddspec.dsl.diagnostics import DdspecError, MachineError
from ddspec.dsl.digest import digest
from ddspec.dsl.plan.steps import (
    DatasetStep,
    DistillStep,
    EvaluateStep,
    ExpertsStep,
    InitialiseStep,
    PathStep,
    Plan,
    Step,
    TrajectoryStep,
)
from ddspec.dsl.record.record import Outcome
from ddspec.engine.control import Control, Cost, Diverged, ExecutionResult, Interrupted
from ddspec.engine.images.real_data import load_data
from ddspec.engine.machine.environment import environment
from ddspec.engine.machine.memory import keep_freed_memory, peak_memory
from ddspec.engine.run.status import (
    DivergenceNote,
    StepState,
    divergence_note,
    extent_note,
    known_divergence,
)
from ddspec.engine.stages.context import StageContext
from ddspec.engine.stages.convexify import convexify
from ddspec.engine.stages.distill import distill
from ddspec.engine.stages.evaluate import evaluate
from ddspec.engine.stages.experts import train_experts
from ddspec.engine.stages.initialise import initialise
from ddspec.engine.stages.objectives.by_name import open_objective
from ddspec.engine.stages.path_accuracy import measure_path_accuracy
from ddspec.engine.store.artifacts import artifacts_of
from ddspec.engine.store.locks import locked
from ddspec.engine.store.store import Store
from ddspec.engine.store.trajectory_file import expert_is_whole


def execute_plan(
    plan: Plan, before: Sequence[StepState], store: Store, control: Control, retry: bool
) -> ExecutionResult:
    """Run the steps that are not complete.

    After a divergence only evaluations go on; any other error ends the run.
    """
    for left in store.leftovers():
        remove_if_abandoned(left)
    execution = Execution(plan, store, control, retry)
    outcome, stopped = Outcome(status="done"), None
    for state in before:
        step = state.step
        if not state.missing or (stopped and not isinstance(step, EvaluateStep)):
            continue
        if isinstance(step, EvaluateStep) and not evaluable(step, plan, store):
            continue
        try:
            with locked(store.root, lock_name(step), step.id, control) as waited:
                if waited:
                    store.reread_folders()
                known = execution.finish(step)
        except Diverged as error:
            known = note_divergence(error, step, store)
        except (Interrupted, DdspecError, OSError, MemoryError, RuntimeError) as error:
            fault = memory_fault(error, step)
            outcome = Outcome(
                status="interrupted" if isinstance(error, Interrupted) else "failed",
                cause=str(fault),
                advice=getattr(fault, "hint", ""),
            )
            return ExecutionResult(outcome, execution.costs, step.id, fault)
        if known is not None:
            outcome, stopped = known, step.id
    return ExecutionResult(outcome, execution.costs, stopped)


def lock_name(step: Step) -> str:
    """Return what only one run may work on: a step, or all experts of one recipe."""
    if isinstance(step, ExpertsStep | TrajectoryStep):
        return digest(step.recipe.preimage)
    return step.digest


@dataclass
class Execution:
    """The steps of one run, carried out one after another in one context."""

    plan: Plan
    store: Store
    control: Control
    retry: bool
    context: StageContext | None = None
    costs: dict[str, Cost] = field(default_factory=dict)

    def finish(self, step: Step) -> Outcome | None:
        """Complete a step; return the divergence that the store remembers, if any."""
        missing = [artifact for artifact in artifacts_of(step, self.store) if not artifact.complete]
        if not missing:
            return None  # Another run made it in the meantime.
        known = None if self.retry else known_divergence(step, missing, self.store)
        if known is not None:
            return known
        self.control.workers_bytes = 0
        with self.costing(step):
            self.context = self.context or make_context(self.plan, self.store, self.control)
            run_step(step, self.plan, self.context)
        self.store.note(extent_note(step), step.extent)
        if self.retry:
            self.store.note(divergence_note(step), None)
        return None

    @contextmanager
    def costing(self, step: Step) -> Iterator[None]:
        """Measure time and memory of a step, however it ends."""
        began = time.monotonic()
        try:
            with peak_memory(torch.device(step.route.device)) as peak:
                yield
        finally:
            most = peak.bytes + self.control.workers_bytes
            self.costs[step.id] = Cost(time.monotonic() - began, most)


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


def make_context(plan: Plan, store: Store, control: Control) -> StageContext:
    """Configure torch for the plan and load the images onto the device."""
    dataset = plan.dataset
    if plan.compute.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # The same switch as use_deterministic_algorithms, which would import the compiler as well.
    torch.set_deterministic_debug_mode("error" if plan.compute.deterministic else "default")
    # Tensors are written before they are read; filling them first costs a tenth of an iteration.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    device = torch.device(dataset.route.device)
    allow_tf32(plan.compute.precision == "tf32", device)
    keep_freed_memory()
    environment(dataset.route.device)  # Read once here instead of in every worker process.
    data = load_data(dataset, store, device)
    return StageContext(dataset.facts, data, store, control, plan.compute.precision)


FIRST_WITH_TF32 = (8, 0)


def allow_tf32(asked: bool, device: torch.device) -> None:
    """Let a GPU multiply in tf32, or not; raise MachineError if it is asked for but missing."""
    can = device.type == "cuda" and torch.cuda.get_device_capability(device) >= FIRST_WITH_TF32
    if asked and not can:
        raise MachineError(
            'this machine has no tf32, which compute.precision = "tf32" asks for',
            hint="NVIDIA GPUs have it from compute capability 8.0 on; elsewhere "
            "--set compute.precision=float32 runs the same experiment in full precision",
        )
    torch.backends.cuda.matmul.allow_tf32 = asked
    torch.backends.cudnn.allow_tf32 = asked


def run_step(step: Step, plan: Plan, context: StageContext) -> None:
    """Run one stage on its route."""
    torch.set_num_threads(step.route.threads)
    context.store.remember(step.preimage)
    match step:
        case DatasetStep():
            pass  # Images are read before a plan is made; a whitening is fitted with the context.
        case ExpertsStep():
            train_experts(step, context)
        case TrajectoryStep():
            context.store.remember(step.recipe.preimage)
            convexify(step, context)
        case PathStep():
            assert (
                plan.convexified is not None
            )  # a path is planned only for convexified trajectories
            measure_path_accuracy(step, plan.convexified, context)
        case InitialiseStep():
            initialise(step, plan.trajectories, context)
        case DistillStep():
            with open_objective(step, plan.trajectories, context) as objective:
                distill(step, plan.initialise, objective, context)
        case EvaluateStep():
            evaluate(step, stored_sets(plan, context.store), plan.trajectories, context)
        case _:
            assert_never(step)


def evaluable(step: EvaluateStep, plan: Plan, store: Store) -> bool:
    """Return whether the step's sets exist, which a divergence may have prevented."""
    match step.subject:
        case "distilled":
            return bool(stored_sets(plan, store))
        case "random_real" | "full_data":
            return True
        case "random_real_expert_labels":
            experts = plan.trajectories
            return experts is not None and expert_is_whole(store, experts, 0)
        case _:
            assert_never(step.subject)


def stored_sets(plan: Plan, store: Store) -> dict[int, str]:
    """Return the stored synthetic sets by iteration: all of them, unless distillation diverged."""
    members = plan.distill.members
    return {m.number: m.digest for m in members if store.has("synthetic", m.digest)}
