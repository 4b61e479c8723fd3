"""Gradient, distribution and feature matching against plain twins, in float64 to rounding."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ddspec.dsl.spec.network import ConvNet, PlainNetwork, keeps_statistics
from ddspec.dsl.spec.objectives.classes import FeatureMatching, GradientMatching
from ddspec.dsl.terms import AugmentationFamily, GradientDistance, Norm, PlainNetworkName
from ddspec.engine.control import Control, Diverged, Interrupted
from ddspec.engine.networks.flat_network import flat_network, initial_parameters
from ddspec.engine.stages.distill_state import initial_state
from ddspec.engine.stages.initialise import initialise
from ddspec.engine.stages.objective import IterationEnd
from ddspec.engine.stages.objectives.by_name import open_objective
from ddspec.engine.stages.objectives.class_images import ClassImages, ClassPair
from ddspec.engine.stages.objectives.feature import FeatureLoss, spread
from ddspec.engine.stages.objectives.gradient import GradientComparison
from ddspec.engine.store.store import Store
from ddspec.engine.training.augmentation import augment, draw_augmentation
from tests.engine.stages.test_stages import distilled, same
from tests.in_slow_run import first_by_default

FAMILIES = get_args(AugmentationFamily)
COMPARES = ("synthetic.student_lr={}", "evaluation.lr=0.01", "synthetic.images={lr=0.1}")
GRADIENT = "matching={objective='gradient', outer_steps=1, network_epochs=1, batch_real=12}"
DISTRIBUTION = "matching={objective='distribution', batch_real=12}"
FEATURE = (
    "matching={objective='feature', batch_real=12, schedule={name='dynamic', window=2, "
    "query_per_class=9, max_pixel_steps=3, max_network_epochs=4}}"
)
SMALL = (
    *(ConvNet(depth=2, width=8, norm=norm) for norm in get_args(Norm)),
    PlainNetwork(name="mlp"),
    PlainNetwork(name="lenet"),
)
LARGE = tuple(
    form
    for form in (PlainNetwork(name=name) for name in get_args(PlainNetworkName))
    if form not in SMALL
)
NETWORKS = [
    pytest.param(form, id=str(form), marks=[pytest.mark.slow] if form in LARGE else [])
    for form in (*SMALL, *LARGE)
    if not keeps_statistics(form)
]


def doubled(context):
    """The context with real images in float64."""
    data = context.data
    images = {
        name: getattr(data, name).double()
        for name in ("train_images", "test_images", "validation_images")
    }
    return replace(context, data=replace(data, **images))


def prepared(plan, context, *overrides):
    """The outer loop of a spec in float64: its step, context and first state."""
    made = plan(*COMPARES, *overrides)
    initialise(made.initialise, None, context)
    wide = doubled(context)
    state = initial_state(made.distill, made.initialise, wide)
    images = state.images
    images = replace(images, value=images.value.double(), velocity=images.velocity.double())
    return made.distill, wide, replace(state, images=images)


def measured(step, context, state):
    """The first measurement of an iteration, which updates nothing."""
    seen = []

    def update(current, measurement):
        seen.append(measurement)
        return current

    with open_objective(step, None, context) as objective:
        assert isinstance(objective(state, update), IterationEnd)
    return seen[0]


def plain_gradient_distance(net, theta, pair, images):
    """DC's distance of one class, with a graph by the synthetic images."""
    gradients = []
    for shown in (pair.real, pair.synthetic(images)):
        leaf = theta.detach().requires_grad_()
        labels = torch.full((len(shown),), pair.label)
        loss = F.cross_entropy(net(leaf, shown), labels)
        gradients.append(torch.autograd.grad(loss, leaf, create_graph=True)[0])
    real, synthetic = (g.split(list(net.sizes)) for g in gradients)
    total = torch.zeros((), dtype=theta.dtype)
    for a, b, shape in zip(real, synthetic, net.shapes, strict=True):
        if len(shape) > 1:
            a, b = a.detach().view(shape[0], -1), b.view(shape[0], -1)
            norms = a.norm(dim=1) * b.norm(dim=1) + 1e-6
            total = total + (1 - (a * b).sum(1) / norms).sum()
    return total


@pytest.mark.parametrize("form", NETWORKS)
@pytest.mark.parametrize("families", [(), FAMILIES], ids=["plain", "augmented"])
def test_gradient_of_dc_is_autograds_through_the_whole_objective(form, families, digits_facts):
    facts = digits_facts.model_copy(update={"channels": 3, "height": 32, "width": 32})
    net = flat_network(form, facts)
    theta = initial_parameters(form, facts, 0, "test").double()
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64, generator=generator)
    real = torch.randn(5, 3, 32, 32, dtype=torch.float64, generator=generator)
    draw = draw_augmentation(families, 1, generator)
    pair = ClassPair(2, augment(real, draw), images, draw)
    leaf = images.clone().requires_grad_()
    expected = plain_gradient_distance(net, theta, pair, leaf)
    (by_images,) = torch.autograd.grad(expected, leaf)
    matching = GradientMatching(objective="gradient", outer_steps=1, network_epochs=1)

    distance, gradient = GradientComparison(net, matching).compare(theta, pair)

    torch.testing.assert_close(distance, expected.detach(), rtol=1e-10, atol=1e-10)
    scale = float(by_images.abs().max())
    assert scale > 0
    torch.testing.assert_close(gradient / scale, by_images / scale, rtol=0, atol=1e-10)


@pytest.fixture
def digits_facts(context):
    return context.facts


@pytest.mark.parametrize("name", get_args(GradientDistance))
def test_loss_of_gradient_matching_is_the_sum_over_classes(name, plan, context):
    overrides = GRADIENT.replace("}", f", distance='{name}'}}")
    step, wide, state = prepared(plan, context, overrides)
    measurement = measured(step, wide, state)
    assert measurement.class_losses.shape == (10,)
    assert measurement.loss == pytest.approx(float(measurement.class_losses.sum()), rel=1e-12)
    assert measurement.gradient().by_images.shape == state.images.value.shape


def test_gradient_of_dm_at_one_image_a_class_is_its_closed_form(plan, context):
    """2 J' (f(x) - mean of f(real)) with J the Jacobian of the features."""
    step, wide, state = prepared(plan, context, DISTRIBUTION, "augmentation.siamese=true")
    gradient = measured(step, wide, state).gradient().by_images
    images = ClassImages(step, wide, 0)
    net, theta = wide.network(step.network), images.fresh_network()

    for label in (0, 7):
        pair = images.pair(label, 0, state.images.value)
        mean = net.features(theta, pair.real).mean(0)

        def features(x, pair=pair):
            return net.features(theta, pair.synthetic(x))[0]

        jacobian = torch.autograd.functional.jacobian(features, pair.plain)
        difference = features(pair.plain) - mean
        expected = 2 * torch.tensordot(difference, jacobian, dims=1)
        torch.testing.assert_close(gradient[label], expected[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("overrides", [GRADIENT, DISTRIBUTION, FEATURE], ids=lambda o: o[21:29])
def test_grouping_of_classes_changes_rounding_only(overrides, plan, context):
    step, wide, state = prepared(plan, context, overrides)
    found = []
    for classes in (1, 3, 10):
        route = step.route.model_copy(update={"classes": classes})
        measurement = measured(step.model_copy(update={"route": route}), wide, state)
        found.append((measurement.class_losses, measurement.gradient().by_images))
    for losses, gradient in found[1:]:
        torch.testing.assert_close(losses, found[0][0], rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(gradient, found[0][1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_siamese_draw_shows_equal_images_equally(family, plan, context):
    asked = (DISTRIBUTION, f"augmentation.families=['{family}']", "synthetic.ipc=2")
    for siamese in ("true", "false"):
        step, wide, _ = prepared(plan, context, *asked, f"augmentation.siamese={siamese}")
        one = wide.data.train_images[:1]
        data = replace(wide.data, train_images=one.expand_as(wide.data.train_images))
        images = ClassImages(step, replace(wide, data=data), 0)
        pairs = [images.pair(label, 0, one.expand(20, -1, -1, -1)) for label in range(10)]
        equal = [
            torch.equal(shown, pair.real[:1])
            for pair in pairs
            for shown in (*pair.synthetic(pair.plain).split(1), *pair.real.split(1))
        ]
        assert all(equal) == (siamese == "true")
    # Each class has a draw of its own.
    assert len({pair.draw.uniform.sum().item() for pair in pairs}) == 10


def test_one_pixel_step_trains_no_network(plan, context):
    """DC at one image per class: however long training would be, the numbers are the same."""
    made = [
        plan(*COMPARES, GRADIENT.replace("epochs=1", f"epochs={epochs}"), "matching.iterations=2")
        for epochs in (1, 40)
    ]
    first, second = (distilled(context, each) for each in made)
    assert made[0].distill.digest != made[1].distill.digest
    same(first[2], second[2])


def plain_loss_of_cafe(net, matching, theta, pairs, images, ipc):
    """CAFE's loss with loops over layers, classes and images."""
    layers = list(net.module)
    tensors = net.tensors(theta)

    def outputs_of(x):
        found = []
        for index, layer in enumerate(layers[:-1]):
            own = {
                name.removeprefix(f"{index}."): value
                for name, value in tensors.items()
                if name.startswith(f"{index}.")
            }
            x = torch.func.functional_call(layer, own, (x,))
            if isinstance(layer, torch.nn.ReLU):
                found.append(x)
        return [*found, x]

    real = [outputs_of(pair.real) for pair in pairs]
    synthetic = [
        outputs_of(pair.synthetic(images[pair.label * ipc : (pair.label + 1) * ipc]))
        for pair in pairs
    ]
    weights = matching.layer_weights or [0.1, 1.0, 1.0]
    total = torch.zeros((), dtype=theta.dtype)
    for layer, weight in enumerate(weights):
        for ours, theirs in zip(real, synthetic, strict=True):
            total = total + weight * ((ours[layer].mean(0) - theirs[layer].mean(0)) ** 2).sum()
    for ours, theirs in zip(real, synthetic, strict=True):
        difference = ours[-1].mean(0) - theirs[-1].mean(0)
        total = total + matching.embedding_weight * (difference**2).sum()
    centres = torch.stack([theirs[-1].mean(0) for theirs in synthetic])
    for label, ours in enumerate(real):
        for embedding in ours[-1]:
            logits = centres @ embedding
            total = total + matching.discrimination * (logits.logsumexp(0) - logits[label])
    return total


@pytest.mark.parametrize("weights", [None, (0.3, 0.0, 2.0)])
def test_loss_and_gradient_of_cafe_are_those_of_a_plain_twin(weights, plan, context):
    step, wide, state = prepared(plan, context, FEATURE, "synthetic.ipc=2", "network.depth=2")
    matching = FeatureMatching(
        objective="feature", batch_real=12, layer_weights=weights, discrimination=0.02
    )
    net = wide.network(step.network)
    images = ClassImages(step.model_copy(update={"matching": matching}), wide, 0)
    theta = images.fresh_network()
    pairs = [images.pair(label, 0, state.images.value) for label in range(10)]
    leaf = state.images.value.clone().requires_grad_()
    expected = plain_loss_of_cafe(net, matching, theta, pairs, leaf, ipc=2)
    (by_images,) = torch.autograd.grad(expected, leaf)

    measurement = FeatureLoss(net, matching).measure(state, theta, images, pixel_step=0)

    assert measurement.loss == pytest.approx(float(expected.detach()), rel=1e-10)
    torch.testing.assert_close(measurement.gradient().by_images, by_images, rtol=1e-9, atol=1e-10)


def schedule_counts(plan, context, schedule):
    asked = f"matching={{objective='feature', iterations=1, batch_real=4, student={{lr=0.5}}, schedule={schedule}}}"
    (end,) = [v for k, v in distilled(context, plan(*COMPARES, asked)).items() if k == 1]
    return [
        int(end[f"series_{name}"][0])
        for name in ("pixel_steps", "network_epochs", "phases_at_bound")
    ]


def test_dynamic_schedule_takes_at_least_its_window_of_each(plan, context):
    """Tolerances that every spread satisfies end each phase as soon as it may end."""
    easy = (
        "{name='dynamic', window=3, pixel_tolerance=1.0, network_tolerance=1e-9, query_per_class=9}"
    )
    steps, epochs, at_bound = schedule_counts(plan, context, easy)
    assert steps == 3
    assert epochs >= 2 * 3
    assert at_bound == 0


def test_bounds_of_a_dynamic_schedule_end_its_phases_and_are_counted(plan, context):
    never = (
        "{name='dynamic', window=3, pixel_tolerance=1e-9, network_tolerance=1.0, "
        "query_per_class=97, max_pixel_steps=4, max_network_epochs=3}"
    )
    steps, epochs, at_bound = schedule_counts(plan, context, never)
    assert (steps, epochs) == (4, 9)
    # Three phases of training, and the pixel steps, ended at their bound.
    assert at_bound == 4


def test_fixed_schedule_takes_what_it_says(plan, context):
    fixed = "{name='fixed', outer_steps=3, network_epochs=2}"
    assert schedule_counts(plan, context, fixed) == [3, 4, 0]


def test_spread_waits_for_its_window():
    assert spread([0.1, 0.5], 3) is None
    assert spread([9.0, 0.1, 0.5, 0.3], 3) == pytest.approx(0.4)


class StopAtCheck(Control):
    """Behaves as if a signal came while an iteration runs."""

    def __init__(self, checks):
        super().__init__()
        self.left = checks

    def leave_if_stopped(self):
        self.left -= 1
        if self.left == 0:
            self.stopped_by = 15
        super().leave_if_stopped()


@pytest.mark.parametrize("overrides", first_by_default([FEATURE, GRADIENT]), ids=lambda o: o[21:28])
def test_iteration_stopped_in_its_middle_begins_again(overrides, plan, context, tmp_path):
    more = overrides.replace("outer_steps=1", "outer_steps=4")
    made = plan(*COMPARES, more, "matching.iterations=3")
    whole = distilled(context, made)
    for checks in (2, 9):
        store = Store(tmp_path / str(checks))
        stopped = replace(context, store=store, control=StopAtCheck(checks))
        with pytest.raises(Interrupted):
            distilled(stopped, made)
        again = distilled(replace(stopped, control=Control()), made)
        same(whole[3], again[3])


def test_images_lr_drops_after_its_iterations(plan, context):
    """With a factor of nearly zero the images stand still after the drop."""
    decay = "synthetic.images={lr=0.1, momentum=0.0, lr_decay={iterations=[2], factor=1e-12}}"
    asked = (*COMPARES[:2], DISTRIBUTION, decay, "matching.iterations=3", "evaluation.every=1")
    sets = distilled(context, plan(*asked))
    assert not np.allclose(sets[1]["images"], sets[2]["images"])
    np.testing.assert_allclose(sets[2]["images"], sets[3]["images"], atol=1e-9)


def test_student_lr_of_these_objectives_has_no_series(plan, context):
    (_, last) = sorted(
        distilled(context, plan(*COMPARES, DISTRIBUTION, "matching.iterations=2")).items()
    )[-1]
    assert len(last["series_matching_loss"]) == 2
    assert len(last["series_student_lr"]) == len(last["series_rate_held"]) == 0
    assert last["class_losses"].shape == (10,)


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (DISTRIBUTION, "lower synthetic.images.lr;"),
        (FEATURE, "lower synthetic.images.lr or matching.student.lr;"),
    ],
    ids=["distribution", "feature"],
)
def test_divergence_advises_keys_that_the_objective_has(overrides, key, plan, context):
    far = ("synthetic.images={lr=1e12}", "network.norm=none")
    asked = (*COMPARES[:2], *far, overrides, "matching.iterations=9")
    with pytest.raises(Diverged) as caught:
        distilled(context, plan(*asked))
    assert caught.value.advice.startswith(key)
    assert "student_lr" not in caught.value.advice
