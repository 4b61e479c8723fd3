"""The advice of a divergence names the setting that led to it."""

import pytest
import torch

from ddspec.dsl.spec.synthetic import StudentLr
from ddspec.engine.control import Diverged
from ddspec.engine.stages.distill_state import DistillState
from ddspec.engine.stages.outer_step import next_student_lr
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.training.optimisers import OptimiserState


@pytest.mark.parametrize(
    ("init", "lr", "gradient", "blamed"),
    [
        # Its own steps are as large as the rate: they lead below zero.
        (0.01, 1e-3, 20.0, "synthetic.student_lr.lr"),
        # Students overshoot with the rate itself, and its gradient is enormous.
        (100.0, 1e-7, 3.5e10, "synthetic.student_lr.init"),
    ],
)
def test_negative_student_lr_is_blamed_on_its_cause(init, lr, gradient, blamed):
    nothing = OptimiserState.without_memory(torch.zeros(1))
    rate = OptimiserState.without_memory(torch.tensor(init))
    state = DistillState(nothing, None, torch.zeros(1), None, rate, 3, {}, {}, Provenance())
    with pytest.raises(Diverged) as diverged:
        next_student_lr(state, StudentLr(init=init, lr=lr), torch.tensor(gradient))
    assert diverged.value.at == 3
    assert diverged.value.advice.startswith(f"lower {blamed}")
    assert ("student_lr.init" in diverged.value.advice) == (blamed == "synthetic.student_lr.init")
