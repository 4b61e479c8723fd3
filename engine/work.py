"""Carry out the steps of a plan that have something left to do: order, device, divergence."""

import os
import time
from collections.abc import Sequence
from typing import assert_never

import torch

from ddspec.dsl.diagnostics import MachineError
from ddspec.dsl.plan import (
    DatasetStep,
    DistillStep,
    EvaluateStep,
    ExpertsStep,
    InitialiseStep,
    Plan,
    Step,
    TrajectoryStep,
)
from ddspec.dsl.record import Outcome
from ddspec.engine.bench import Bench
from ddspec.engine.control import Control, Diverged, Done
from ddspec.engine.data import load_data
from ddspec.engine.distill import distill
from ddspec.engine.evaluate import evaluate
from ddspec.engine.experts import convexify, train_experts
from ddspec.engine.initialise import initialise
from ddspec.engine.store import Store
from ddspec.engine.survey import Standing


def carry_out(
    plan: Plan, before: Sequence[Standing], store: Store, control: Control, retry: bool
) -> Done:
    """Run the steps that have something left to do."""
    seconds: dict[str, float] = {}
    outcome, failed, bench = Outcome(status="done"), None, None
    for standing in before:
        step = standing.step
        known = None if retry else store.noted(divergence_note(step))
        if known is not None and standing.missing:
            outcome, failed = Outcome.model_validate(known), step.id
        if not standing.missing or step.id == failed:
            continue
        if failed is not None and not isinstance(step, EvaluateStep):
            continue
        bench = bench or make_bench(plan, store, control)
        began = time.monotonic()
        try:
            run_step(step, plan, bench)
        except (MemoryError, RuntimeError) as error:
            raise_if_out_of_memory(error, step)
            raise
        except Diverged as error:
            failed = step.id
            outcome = Outcome(
                status="diverged",
                iteration=error.iteration,
                cause=error.cause,
                advice=error.advice,
            )
            store.note(divergence_note(step), outcome.model_dump(mode="json"))
        seconds[step.id] = time.monotonic() - began
    return Done(outcome, seconds, failed)


def raise_if_out_of_memory(error: Exception, step: Step) -> None:
    """Say in words that a step did not fit; torch has no one type for it."""
    message = str(error).lower()
    if isinstance(error, MemoryError) or "memory" in message:
        gigabytes = step.estimate.memory_bytes / 1e9
        raise MachineError(
            f"out of memory in step {step.id}, which was estimated to need {gigabytes:.2g} GB",
            hint="a smaller network, batch or synthetic set, or a larger machine; what was "
            "finished before is kept",
        ) from error


def divergence_note(step: Step) -> str:
    """Name of the note that remembers how a step ran away."""
    return f"diverged-{step.digest}"


def make_bench(plan: Plan, store: Store, control: Control) -> Bench:
    """Set torch up for the plan and bring the images to the device."""
    dataset: DatasetStep = plan.step("dataset")
    if plan.compute.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(plan.compute.deterministic)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    data = load_data(dataset.facts, store, torch.device(dataset.route.device))
    return Bench(dataset.facts, data, store, control)


def run_step(step: Step, plan: Plan, bench: Bench) -> None:
    """Run one stage on its route."""
    torch.set_num_threads(step.route.threads)
    bench.store.remember(step.preimage)
    match step:
        case DatasetStep():
            raise AssertionError("the images were read before the plan was made")
        case ExpertsStep():
            train_experts(step, bench)
        case TrajectoryStep():
            bench.store.remember(step.recipe.preimage)
            convexify(step, bench)
        case InitialiseStep():
            initialise(step, bench)
        case DistillStep():
            initial: InitialiseStep = plan.step("initialise")
            distill(step, initial, plan.trajectories, bench)
        case EvaluateStep():
            evaluate(step, sets_of(plan, bench.store), bench)
        case _:
            assert_never(step)


def sets_of(plan: Plan, store: Store) -> dict[int, str]:
    """The kept synthetic sets that are there: all of them, unless distillation ran away."""
    members = plan.step("distill").members
    return {m.number: m.digest for m in members if store.has("synthetic", m.digest)}
