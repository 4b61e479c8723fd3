"""Refusal of a plan whose steps need far more memory than this machine has.

An estimate is not exact, so only a step that is estimated well above the whole memory is refused;
whatever else runs on the machine does not count.
"""

from collections.abc import Sequence
from typing import assert_never

from ddspec.dsl.available_memory import in_gigabytes, memory_limit, total_memory
from ddspec.dsl.diagnostics import MachineError
from ddspec.dsl.plan.routes import FLOAT
from ddspec.dsl.plan.steps import (
    DatasetStep,
    DistillStep,
    EvaluateStep,
    ExpertsStep,
    InitialiseStep,
    PathStep,
    ScoresStep,
    Step,
    TrajectoryStep,
)
from ddspec.engine.run.status import StepState
from ddspec.engine.store.artifacts import FEWER_NUMBERS_HINT, WHITENING_HINT

FAR_ABOVE = 1.5
"""Estimates up to this multiple of the memory are not refused."""


def check_memory(
    states: Sequence[StepState], gpu_memory: int = 0, on_this_machine: bool = True
) -> None:
    """Raise MachineError if a step with work left needs far more memory than there is.

    `gpu_memory` is that of the GPU in bytes, for plans that use it. The memory of a machine that
    is not this one is not known, so only the GPU's counts for it. Of a step that works in
    several processes one must fit, because fewer are started if memory lacks.
    """
    facts = next(s.step.facts for s in states if isinstance(s.step, DatasetStep))
    count = facts.train_count + facts.test_count + facts.validation_count
    image_bytes = FLOAT * count * facts.channels * facts.height * facts.width
    for state in states:
        step = state.step
        # Images are read, and a whitening is fitted, in the memory of the machine.
        on_gpu = step.route.device == "cuda" and not isinstance(step, DatasetStep)
        limit = gpu_memory if on_gpu else memory_limit() if on_this_machine else 0
        needed = step.estimate.memory_bytes / step.processes
        if state.missing and limit and needed > FAR_ABOVE * limit:
            owner = "the GPU has" if on_gpu else "this machine has"
            if not on_gpu and limit < total_memory():
                owner = "this process may use"
            raise MachineError(
                f"the step {step.id} needs about {in_gigabytes(needed)} of memory, but {owner} "
                f"{in_gigabytes(limit)}",
                hint=memory_hint(step, image_bytes > needed / 2),
            )


def memory_hint(step: Step, images_dominate: bool) -> str:
    """Return which keys to change for a step to need less memory."""
    if isinstance(step, DatasetStep) and step.dataset.zca and not images_dominate:
        return WHITENING_HINT
    if images_dominate:
        return FEWER_NUMBERS_HINT
    match step:
        case DatasetStep() | InitialiseStep() | PathStep():
            keys = "dataset.resolution"
        case ScoresStep() | ExpertsStep() | TrajectoryStep():
            keys = "experts.batch_size, network.width or dataset.resolution"
        case DistillStep():
            keys = (
                "matching.batch_syn, matching.syn_steps, synthetic.ipc, network.width or "
                "dataset.resolution"
            )
        case EvaluateStep():
            keys = "evaluation.batch_size, network.width or dataset.resolution"
        case _:
            assert_never(step)
    return f"lower {keys}"
