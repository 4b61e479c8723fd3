"""The outer loop, which keeps the synthetic sets of the iterations that a plan asks for.

Each kept iteration is an artifact; the total number of iterations is not part of its digest.
Between kept iterations a checkpoint is saved from time to time. It is removed when the last kept
iteration is in the store, unless it has networks in training, without which no run could go on.
"""

from dataclasses import replace

from ddspec.dsl.digest import digest
from ddspec.dsl.plan.steps import DistillStep, InitialiseStep
from ddspec.engine.control import Diverged, Interrupted, Progress
from ddspec.engine.machine.stopwatch import Stopwatch
from ddspec.engine.stages.context import StageContext
from ddspec.engine.stages.distill_state import (
    DistillState,
    checkpoint_iteration,
    latest_state,
    save_state,
)
from ddspec.engine.stages.objective import Objective
from ddspec.engine.stages.outer_step import outer_step
from ddspec.engine.store.artifacts import unfinished_preimage
from ddspec.engine.store.store import Store


def distill(
    step: DistillStep, initial: InitialiseStep, objective: Objective, context: StageContext
) -> None:
    """Make the synthetic set of every kept iteration.

    Stopped at any moment and called again, it ends with the same numbers as one that was never
    stopped. Raises Diverged if a number is not finite; the sets before that are kept.
    """
    store = context.store
    wanted = [member.number for member in step.members if not store.has("synthetic", member.digest)]
    if not wanted:
        return
    state = latest_state(step, initial, context, at_most=wanted[0])
    for target in wanted:
        while state.iteration < target:
            if context.control.save_due():
                save_checkpoint(state, step, store)
                context.control.saved()
            stopwatch = Stopwatch(step.route)
            try:
                # A state is a value, so the one before a divergence is still whole.
                state = outer_step(state, step, objective)
            except (Diverged, Interrupted):
                save_checkpoint(state, step, store)
                raise
            state = replace(state, made=state.made.then(stopwatch.work()))
            report_iteration(state, step, context)
        save_state(state, step, store, "synthetic")
        if state.pool:
            # The kept set lacks the networks, without which a later run could not go on.
            save_checkpoint(state, step, store)
    if state.pool:
        context.control.leave_if_stopped()
        return
    if checkpoint_iteration(step, store) <= state.iteration:
        # A checkpoint of a later iteration would belong to a longer run, which may go on from it.
        store.remove("unfinished", digest(unfinished_preimage(step.preimage)))
    context.control.leave_if_stopped()


def save_checkpoint(state: DistillState, step: DistillStep, store: Store) -> None:
    """Save a checkpoint, unless a longer run has left one of a later iteration."""
    if checkpoint_iteration(step, store) <= state.iteration:
        save_state(state, step, store, "unfinished")


def report_iteration(state: DistillState, step: DistillStep, context: StageContext) -> None:
    """Report the progress of the loop."""
    figures = {"matching loss": state.series["matching_loss"][-1]}
    last = step.members[-1].number
    context.control.report(Progress(step.id, state.iteration, last, figures))
