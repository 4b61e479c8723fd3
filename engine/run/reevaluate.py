"""Evaluating a run folder's synthetic set once more, out of that one file."""

from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.plan.steps import DistillStep, Plan, member_preimage
from ddspec.engine.control import Control
from ddspec.engine.run.execute import make_context
from ddspec.engine.run.run_folder import SYNTHETIC_FORMAT
from ddspec.engine.stages.evaluate import evaluate
from ddspec.engine.store.artifacts import TrainedNetwork, networks_of
from ddspec.engine.store.store import READ_FAULTS, Provenance, Store, check_holds_itself, said

NEEDED = ("images", "labels", "student_lr")


def read_synthetic(path: Path, plan: Plan) -> dict[str, NDArray[np.generic]]:
    """Images, labels and rate of a synthetic.h5; RecordError where it is not of that plan."""
    step: DistillStep = plan.step("distill")
    facts = plan.step("dataset").facts
    shape = (facts.classes * step.synthetic.ipc, facts.channels, facts.height, facts.width)
    try:
        with h5py.File(path, "r") as file:
            check_holds_itself(file)
            found = int(file.attrs["format"])
            if found != SYNTHETIC_FORMAT:
                problem = f"{path.name} has format {found}; this ddspec reads {SYNTHETIC_FORMAT}"
                raise RecordError(problem, hint="use the ddspec that wrote it")
            if said(file, "plan") != plan.digest:
                raise RecordError(f"{path.name} is of another plan: {said(file, 'plan')}")
            if file["images"].shape != shape:
                raise RecordError(f"{path.name} holds images {file['images'].shape}, not {shape}")
            count = shape[0]
            if file["labels"].shape not in ((count,), (count, facts.classes)):
                raise RecordError(f"{path.name} holds labels {file['labels'].shape}")
            if file["student_lr"].shape != ():
                raise RecordError(f"{path.name} holds rates {file['student_lr'].shape}, not one")
            if file["images"].dtype.kind != "f" or file["labels"].dtype.kind not in "iuf":
                raise RecordError(f"{path.name} holds images or labels that are no numbers")
            return {name: np.asarray(file[name][()]) for name in NEEDED}
    except READ_FAULTS as error:
        raise RecordError(f"{path.name} cannot be read: {error}") from None


def evaluate_again(
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
    step: DistillStep = plan.step("distill")
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
        found[evaluation.network_name] = networks_of(store, own[0].digest)
    return found
