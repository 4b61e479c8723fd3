"""A task carried out by one worker, which reads and writes the store by digest."""

import os
import time
from dataclasses import dataclass, replace
from typing import Literal, assert_never

import torch

from ddspec.dsl.diagnostics import MachineError
from ddspec.dsl.plan.steps import (
    DatasetStep,
    DistillStep,
    EvaluateStep,
    ExpertsStep,
    InitialiseStep,
    PathStep,
    Plan,
    ScoresStep,
    TrajectoryStep,
)
from ddspec.engine.control import Control
from ddspec.engine.images.real_data import load_data
from ddspec.engine.machine.environment import environment
from ddspec.engine.machine.memory import keep_freed_memory, peak_memory
from ddspec.engine.stages.context import StageContext
from ddspec.engine.stages.distill import distill
from ddspec.engine.stages.evaluate import EvaluationInputs, NetworkBlock, evaluate
from ddspec.engine.stages.experts import score_images, train_expert
from ddspec.engine.stages.initialise import initialise
from ddspec.engine.stages.objectives.by_name import open_objective
from ddspec.engine.stages.path_accuracy import measure_path_accuracy
from ddspec.engine.stages.surrogates import make_surrogate
from ddspec.engine.store.locks import try_lock
from ddspec.engine.store.store import Store
from ddspec.engine.tasks.tasks import Task, lock_name, missing_of


@dataclass(frozen=True)
class TaskResult:
    """How a task ended that did not fail."""

    status: Literal["done", "reused", "busy"]
    """`reused`: its artifacts were there; `busy`: another process is at it."""
    seconds: float = 0.0
    """Wall time."""
    memory_bytes: int = 0
    """Peak memory of the process."""


def perform(task: Task, plan: Plan, context: StageContext, control: Control) -> TaskResult:
    """Carry out a task whose needs are stored, unless its artifacts are there or being made.

    Raises Diverged, Interrupted, and errors of the store and the machine.
    """
    step, context = plan.step(task.step), replace(context, control=control)
    began, store = time.monotonic(), context.store
    with try_lock(store.root, lock_name(task, plan), task.step, control) as held:
        if not held:
            return TaskResult("busy")
        if not missing_of(task, plan, store):
            return TaskResult("reused")
        torch.set_num_threads(step.route.threads)
        store.remember(step.preimage)
        with peak_memory(torch.device(step.route.device)) as peak:
            carry_out(task, plan, context)
    return TaskResult("done", time.monotonic() - began, peak.bytes)


def carry_out(task: Task, plan: Plan, context: StageContext) -> None:
    """Run one stage for the artifacts of a task."""
    step, number, experts = plan.step(task.step), task.member, plan.trajectories
    match step:
        case DatasetStep():
            pass  # Images are read before a plan is made; a whitening is fitted with the context.
        case ScoresStep():
            score_images(step, next(m for m in step.members if m.number == number), context)
        case ExpertsStep():
            train_expert(step, next(m for m in step.members if m.number == number), context)
        case TrajectoryStep():
            context.store.remember(step.recipe.preimage)
            make_surrogate(step, next(m for m in step.members if m.number == number), context)
        case PathStep():
            assert plan.surrogates is not None  # a path is planned with its trajectory
            path = next(m for m in step.members if m.number == number)
            measure_path_accuracy(step, path, plan.surrogates, context)
        case InitialiseStep():
            initialise(step, experts, context)
        case DistillStep():
            with open_objective(step, experts, context) as objective:
                distill(step, plan.initialise, objective, context)
        case EvaluateStep():
            assert task.networks is not None
            sets = {member.number: member.digest for member in plan.distill.members}
            evaluated = next(m for m in step.members if m.number == number)
            block = NetworkBlock(evaluated, range(*task.networks))
            evaluate(EvaluationInputs(step, sets, experts), block, context)
        case _:
            assert_never(step)


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
    if device.type == "cuda" and not torch.cuda.is_available():
        raise MachineError(
            "the plan is made for a GPU, but this machine has none",
            hint="perform it on a machine with a GPU, or plan with --device cpu",
        )
    in_tf32 = plan.compute.precision == "tf32"
    if in_tf32:
        refuse_missing_tf32(device)
    keep_freed_memory()
    environment(dataset.route.device)  # Read once here instead of in every worker process.
    # Whitening is a product too, but the precision asked for is that of networks.
    allow_tf32(False)
    data = load_data(dataset, store, device)
    allow_tf32(in_tf32)
    return StageContext(dataset.facts, data, store, control, plan.compute.precision)


FIRST_WITH_TF32 = (8, 0)


def refuse_missing_tf32(device: torch.device) -> None:
    """Raise MachineError if a device has no tf32."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < FIRST_WITH_TF32:
        raise MachineError(
            'this machine has no tf32, which compute.precision = "tf32" asks for',
            hint="NVIDIA GPUs have it from compute capability 8.0 on; elsewhere "
            "--set compute.precision=float32 runs the same experiment in full precision",
        )


def allow_tf32(allowed: bool) -> None:
    """Let a GPU multiply float32 numbers in tf32, or not."""
    if not hasattr(torch.backends, "fp32_precision"):  # torch 2.8 and older.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
        return
    # "ieee" by name: a precision that is not set follows that of all backends.
    products = "tf32" if allowed else "ieee"
    torch.backends.cuda.matmul.fp32_precision = products
    torch.backends.cudnn.conv.fp32_precision = products  # type: ignore[attr-defined]
