"""Partitioned sets under every objective: the gradient is that of the images that networks see."""

from dataclasses import replace

import pytest
import torch

from ddspec.dsl.digest import digest
from ddspec.engine.stages.evaluate import stored_set
from ddspec.engine.stages.initialise import initialise
from ddspec.engine.stages.objectives.trajectory import step_inputs
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.training.partition import seen_images, seen_labels, small_images
from tests.engine.stages.objectives.test_class_objectives import (
    COMPARES,
    DISTRIBUTION,
    FEATURE,
    GRADIENT,
    measured,
    prepared,
)
from tests.engine.stages.objectives.test_performance import performance

PARTS = ("synthetic.ipc=2", "synthetic.partition=2", "dataset.images_per_class=20")


@pytest.mark.parametrize(
    "matching",
    [GRADIENT, DISTRIBUTION, FEATURE, performance()],
    ids=["gradient", "distribution", "feature", "performance"],
)
def test_gradient_is_that_of_the_seen_images_taken_back(matching, plan, context):
    step, wide, state = prepared(plan, context, matching, *PARTS[:2])
    whole, _, _ = prepared(plan, context, matching, "synthetic.ipc=8")
    stored = state.images.value.clone().requires_grad_()
    seen = seen_images(stored, 2)
    plain = replace(state.images, value=seen.detach(), velocity=torch.zeros_like(seen))
    labels = seen_labels(state.labels, 2)
    of_seen = measured(whole, wide, replace(state, images=plain, labels=labels))
    of_stored = measured(step, wide, state)
    assert of_stored.loss == pytest.approx(of_seen.loss, rel=1e-12)
    (expected,) = torch.autograd.grad(seen, stored, of_seen.gradient().by_images)
    scale = expected.abs().max()
    found = of_stored.gradient().by_images
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=1e-10)


def test_students_of_trajectory_matching_see_enlarged_images(plan):
    step = plan(*PARTS[:2], "matching.batch_syn=8", "augmentation.families=[]").distill
    images = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    labels = torch.arange(10).repeat_interleave(2)
    inputs = step_inputs(step, 0, labels, 1.0)
    seen, owners = seen_images(images, 2), seen_labels(labels, 2)
    shown = [inputs(i, [images]) for i in range(3)]
    for batch, targets, _ in shown:
        assert batch.shape == (8, 1, 8, 8)
        for image, target in zip(batch, targets, strict=True):
            matches = [n for n, other in enumerate(seen) if torch.allclose(image, other)]
            assert target in owners[matches]
    # A pass over the set shows every image once: no batch is another.
    assert len({float(batch.sum()) for batch, _, _ in shown}) == 3


def test_initial_set_is_composed_of_four_real_images_each(plan, context):
    made = plan(*PARTS)
    initialise(made.initialise, None, context)
    with context.store.open("synthetic", made.initialise.digest) as file:
        stored, labels = torch.from_numpy(file["images"][()]), file["labels"][()]
    assert stored.shape == (20, 1, 8, 8) and labels.tolist() == sorted(list(range(10)) * 2)
    real = torch.nn.functional.avg_pool2d(context.data.train_images, 2)
    for small in small_images(stored, 2):
        assert (real - small).abs().flatten(1).amax(1).min() < 1e-6


def test_networks_are_evaluated_on_the_seen_images(plan, context):
    made = plan(*PARTS, "evaluation.lr=0.01")
    initialise(made.initialise, None, context)
    rate = {"student_lr": torch.tensor(0.01).numpy()}
    with context.store.open("synthetic", made.initialise.digest) as file:
        arrays = {name: file[name][()] for name in ("images", "labels")} | rate
    context.store.put("synthetic", {"a": 1}, arrays, Provenance())
    trained = stored_set(made.evaluations("distilled")[0], digest({"a": 1}), context)
    assert trained.images.shape == (80, 1, 8, 8)
    assert trained.labels.tolist() == sorted(list(range(10)) * 8)


def test_key_changes_the_set_and_its_evaluation_alone(plan):
    whole, parts = plan(*COMPARES, DISTRIBUTION), plan(*COMPARES, DISTRIBUTION, PARTS[1])
    same = {step.id for step in whole.steps if parts.step(step.id).digest == step.digest}
    assert same == {"dataset", "random-real-convnet"}
