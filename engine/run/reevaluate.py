"""Evaluation of a run folder's synthetic set once more, from that file alone."""

import numpy as np
from numpy.typing import NDArray

from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.plan.steps import Plan, member_preimage
from ddspec.engine.control import Control
from ddspec.engine.run.execute import execute_plan
from ddspec.engine.store.evaluation_file import TrainedNetwork, read_networks
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.store.store import Store


def reevaluate(
    plan: Plan,
    iteration: int,
    arrays: dict[str, NDArray[np.generic]],
    store: Store,
    control: Control,
) -> dict[str, tuple[TrainedNetwork, ...]]:
    """Train fresh networks on these arrays as the plan does; return them by architecture.

    `store` holds only the images of the plan. The set is put there under its name in the plan, so
    that every random stream is the same.
    """
    step = plan.distill
    member = next((member for member in step.members if member.number == iteration), None)
    if member is None:
        raise RecordError(f"the plan does not keep the synthetic set of iteration {iteration}")
    store.put("synthetic", member_preimage(step.preimage, iteration), arrays, Provenance())
    evaluations = {step.id: step for step in plan.evaluations("distilled")}
    done = execute_plan(
        plan,
        store,
        control,
        only=lambda task: task.step in evaluations and task.member == iteration,
    )
    if done.error is not None:
        raise done.error
    networks: dict[str, tuple[TrainedNetwork, ...]] = {}
    for evaluation in evaluations.values():
        evaluated = next((m for m in evaluation.members if m.number == iteration), None)
        if evaluated is None:
            raise RecordError(
                f"the plan does not evaluate the synthetic set of iteration {iteration}"
            )
        networks[evaluation.network_name] = read_networks(store, evaluated.digest)
    return networks
