"""Evaluating a run folder's synthetic set once more, out of that one file."""

import numpy as np
import torch
from numpy.typing import NDArray

from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.plan.steps import Plan, member_preimage
from ddspec.engine.control import Control
from ddspec.engine.run.execute import make_context
from ddspec.engine.stages.evaluate import evaluate
from ddspec.engine.store.artifacts import TrainedNetwork, trained_networks
from ddspec.engine.store.store import Provenance, Store


def reevaluate(
    plan: Plan,
    iteration: int,
    arrays: dict[str, NDArray[np.generic]],
    store: Store,
    control: Control,
) -> dict[str, tuple[TrainedNetwork, ...]]:
    """Fresh networks trained on these arrays as the plan trains them, by network.

    `store` holds the images of the plan and nothing else; the set is put there under the name that
    the plan has for that iteration, so that every random stream is the same.
    """
    step = plan.distill
    member = next((member for member in step.members if member.number == iteration), None)
    if member is None:
        raise RecordError(f"the plan keeps no set of iteration {iteration}")
    store.put("synthetic", member_preimage(step.preimage, iteration), arrays, Provenance())
    context = make_context(plan, store, control)
    found: dict[str, tuple[TrainedNetwork, ...]] = {}
    for evaluation in plan.evaluations("distilled"):
        own = [one for one in evaluation.members if one.number == iteration]
        if not own:
            raise RecordError(f"the plan evaluates no set of iteration {iteration}")
        alone = evaluation.model_copy(update={"members": tuple(own)})
        # As for every step of a run: a pool of threads does not live through a fork.
        torch.set_num_threads(evaluation.route.threads)
        evaluate(alone, {iteration: member.digest}, plan.trajectories, context)
        found[evaluation.network_name] = trained_networks(store, own[0].digest)
    return found
