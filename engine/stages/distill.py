"""The outer loop: iteration after iteration, keeping the synthetic sets that a plan asks for.

A kept iteration is an artifact of its own; how long the loop runs is no part of its name. Between
kept iterations the state is saved now and then in one file of its own, which goes when the last
kept iteration is there.
"""

from ddspec.dsl.digest import digest
from ddspec.dsl.plan.steps import DistillStep, ExpertsStep, InitialiseStep, TrajectoryStep
from ddspec.engine.control import Diverged, Progress
from ddspec.engine.stages.context import Bench
from ddspec.engine.stages.distill_state import DistillState, iteration_between, latest, save
from ddspec.engine.stages.outer_step import student_of, update
from ddspec.engine.stages.windows import Windows
from ddspec.engine.store.artifacts import unfinished
from ddspec.engine.store.store import Store


def distill(
    step: DistillStep, initial: InitialiseStep, source: ExpertsStep | TrajectoryStep, bench: Bench
) -> None:
    """Make the synthetic set of every kept iteration.

    Stopped at any moment and called again, it ends with the numbers of one that was never
    stopped. Raises Diverged where a number ran away; the sets before that are kept.
    """
    store, net = bench.store, bench.network(step.network)
    wanted = [member.number for member in step.members if not store.has("synthetic", member.digest)]
    if not wanted:
        return
    student = student_of(net, step)
    state = latest(step, initial, bench, at_most=wanted[0])
    with Windows(step, source, net, bench) as windows:
        for target in wanted:
            while state.iteration < target:
                if bench.control.save_due():
                    save_between(state, step, store)
                    bench.control.saved()
                window = windows.take(state.iteration, state.previous_start)
                try:
                    state = update(state, step, window, net, student)
                except Diverged:
                    save_between(state, step, store)
                    raise
                report(state, step, bench)
            save(state, step, store, "synthetic")
    if iteration_between(step, store) <= state.iteration:
        store.remove("unfinished", digest(unfinished(step)))
    bench.control.leave_if_stopped()


def save_between(state: DistillState, step: DistillStep, store: Store) -> None:
    """Save a state between kept iterations, unless one that is further was left by a longer run."""
    if iteration_between(step, store) <= state.iteration:
        save(state, step, store, "unfinished")


def report(state: DistillState, step: DistillStep, bench: Bench) -> None:
    """Tell how far the loop is."""
    figures = {"matching loss": state.series["matching_loss"][-1]}
    last = step.members[-1].number
    bench.control.report(Progress(step.id, state.iteration, last, figures))
