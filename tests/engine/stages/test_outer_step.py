"""The optimisers of an iteration, and the advice of a divergence."""

import pytest
import torch

from ddspec.dsl.spec.synthetic import (
    CosineDecay,
    Images,
    LambImages,
    LrDrops,
    RegressionLabels,
    StudentLr,
    Synthetic,
    UnnormalizedLabels,
)
from ddspec.engine.control import Diverged
from ddspec.engine.stages.distill_state import DistillState
from ddspec.engine.stages.outer_step import (
    labels_optimiser,
    lr_share,
    next_student_lr,
    with_learned_labels,
)
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.training.optimisers import LambOptimiser, OptimiserState


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


def test_learning_rate_falls_as_its_decay_says():
    assert lr_share(None, 99) == 1
    drops = LrDrops(iterations=(10, 20), factor=0.5)
    assert [lr_share(drops, i) for i in (9, 10, 19, 20, 99)] == [1, 0.5, 0.5, 0.25, 0.25]
    cosine = CosineDecay(name="cosine", iterations=100, final=0.1)
    shares = [lr_share(cosine, i) for i in (0, 50, 100, 10**6)]
    assert shares == pytest.approx([1, 0.55, 0.1, 0.1])


def test_labels_are_learned_by_the_optimiser_of_the_images():
    images = Images(
        optimizer=LambImages(name="lamb"),
        lr=7.0,
        lr_decay=CosineDecay(name="cosine", iterations=10, final=0.0),
    )
    optimiser = labels_optimiser(RegressionLabels(name="regression", lr=3.0), images, 5)
    assert isinstance(optimiser, LambOptimiser)
    assert optimiser.lr == pytest.approx(1.5)


def test_weights_of_classes_stop_at_zero():
    nothing = OptimiserState.without_memory(torch.zeros(1))
    labels = torch.tensor([[1.0, 0.0]])
    learned = OptimiserState.without_memory(labels)
    state = DistillState(nothing, None, labels, learned, nothing, 0, {}, {}, Provenance())
    synthetic = Synthetic(
        ipc=1,
        labels=UnnormalizedLabels(name="unnormalized", lr=0.5),
        images=Images(lr=1.0, momentum=0.0),
    )
    after = with_learned_labels(state, synthetic, torch.tensor([[1.0, 1.0]]))
    assert after.labels.tolist() == [[0.5, 0.0]]
    assert after.learned_labels.value.tolist() == [[0.5, 0.0]]
