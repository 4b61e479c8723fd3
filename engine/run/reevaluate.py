"""Evaluation of a run folder's synthetic set once more, from that file alone."""

import numpy as np
import torch
from numpy.typing import NDArray

from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.plan.steps import Plan, member_preimage
from ddspec.engine.control import Control
from ddspec.engine.run.execute import make_context
from ddspec.engine.stages.evaluate import evaluate
from ddspec.engine.store.artifacts import TrainedNetwork, trained_networks
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
    context = make_context(plan, store, control)
    networks: dict[str, tuple[TrainedNetwork, ...]] = {}
    for evaluation in plan.evaluations("distilled"):
        members = [one for one in evaluation.members if one.number == iteration]
        if not members:
            raise RecordError(
                f"the plan does not evaluate the synthetic set of iteration {iteration}"
            )
        alone = evaluation.model_copy(update={"members": tuple(members)})
        # As for every step of a run: thread pools do not survive a fork.
        torch.set_num_threads(evaluation.route.threads)
        evaluate(alone, {iteration: member.digest}, plan.trajectories, context)
        networks[evaluation.network_name] = trained_networks(store, members[0].digest)
    return networks
