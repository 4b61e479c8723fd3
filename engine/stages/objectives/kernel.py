"""Kernel regression: the error on real images of a ridge regression on the synthetic set.

FRePo (arXiv:2206.00719). The features of the regression are those of a network that is trained on
the synthetic set. Every iteration draws one of a pool of such networks, takes the gradient through
the regression alone, and then trains the network for one step on the new set.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ddspec.dsl.plan.routes import PIECE
from ddspec.dsl.plan.steps import DistillStep
from ddspec.dsl.spec.objectives.kernel import Kernel
from ddspec.engine.matching.kernel_ridge import ridge_predictions
from ddspec.engine.networks.flat_network import FlatNetwork, initial_parameters
from ddspec.engine.numerics.seeds import to_device
from ddspec.engine.stages.context import StageContext
from ddspec.engine.stages.distill_state import DistillState, PoolNetwork
from ddspec.engine.stages.objective import (
    IterationEnd,
    Measurement,
    Objective,
    ObjectiveGradient,
    Update,
)
from ddspec.engine.stages.objectives.outer_iteration import OuterIteration
from ddspec.engine.training.epoch import GradientFn, TrainingBatch, loss_gradient, recorded_gradient
from ddspec.engine.training.optimisers import AdamOptimiser, OptimiserState
from ddspec.engine.training.soft_labels import (
    half_squared_error,
    label_margin,
)

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Constants of the Adam by which networks of the pool are trained."""


@contextmanager
def open_kernel(step: DistillStep, matching: Kernel, context: StageContext) -> Iterator[Objective]:
    """Yield the objective: one network of the pool, one pixel step, one training step."""
    net = context.network(step.network)
    gradient_fn = recorded_gradient(loss_gradient(net, half_squared_error), step.route.recorded)

    def iterate(state: DistillState, update: Update) -> IterationEnd:
        draws = KernelDraws(step, context, state.iteration, matching)
        pool = state.pool or first_pool(step, matching, context)
        chosen = draws.network(len(pool))
        state = update(replace(state, pool=pool), measure(state, draws, net, pool[chosen]))
        # Trained on the set as it has just become, as in the public code.
        network = draws.next_network(pool[chosen], state, gradient_fn)
        pool = (*pool[:chosen], network, *pool[chosen + 1 :])
        return IterationEnd(replace(state, pool=pool), figures={"pool_age": float(network.age)})

    yield iterate


def first_pool(
    step: DistillStep, matching: Kernel, context: StageContext
) -> tuple[PoolNetwork, ...]:
    """Return untrained networks whose ages are spread evenly, so that they are replaced in turn."""
    count, like = matching.pool.networks, context.data.train_images
    return tuple(
        PoolNetwork(
            OptimiserState.without_memory(
                initial_parameters(
                    step.network, context.facts, step.seed, "distill", "pool", number
                ).to(like)
            ),
            age=number * matching.pool.max_steps // count,
        )
        for number in range(count)
    )


@dataclass(frozen=True)
class KernelDraws(OuterIteration):
    """What is drawn for one iteration."""

    matching: Kernel

    def network(self, count: int) -> int:
        """Return the number of the network that the iteration takes."""
        return int(torch.randint(count, (), generator=self.stream("pool")))

    def real(self) -> tuple[Float[Tensor, "m c h w"], Float[Tensor, "m k"]]:
        """Return random real images with their targets, one-hot vectors less 1 / k."""
        data, classes = self.context.data, self.context.facts.classes
        order = torch.randperm(len(data.train_images), generator=self.stream("real"))
        chosen = to_device(order[: self.matching.real_images], data.train_images.device)
        targets = torch.nn.functional.one_hot(data.train_labels[chosen], classes)
        return data.train_images[chosen], targets.to(data.train_images) - 1 / classes

    def next_network(
        self, network: PoolNetwork, state: DistillState, gradient_fn: GradientFn
    ) -> PoolNetwork:
        """Return a network after one training step, or a fresh one in place of an old one."""
        if network.age > self.matching.pool.max_steps:
            return PoolNetwork(OptimiserState.without_memory(self.fresh_network()), age=0)
        images, labels = state.images.value, state.labels
        if len(images) > self.matching.pool.batch_size:
            order = torch.randperm(len(images), generator=self.stream("training"))
            chosen = to_device(order[: self.matching.pool.batch_size], images.device)
            images, labels = images[chosen], labels[chosen]
        parameters = network.parameters
        result = gradient_fn(parameters.value, TrainingBatch(images, images, labels))
        adam = AdamOptimiser(self.matching.pool.lr, BETA1, BETA2, EPSILON)
        return PoolNetwork(adam.step(parameters, result.gradient), age=network.age + 1)


def measure(
    state: DistillState, draws: KernelDraws, net: FlatNetwork, network: PoolNetwork
) -> Measurement:
    """Regress on the features of a network, and take the error on real images."""
    matching, theta = draws.matching, network.parameters.value
    assert state.learned_labels is not None  # The spec's labels are those of a regression.
    images = state.images.value.detach().requires_grad_()
    labels = state.learned_labels.value.detach().requires_grad_()
    shown, taught = images, labels
    if matching.mirror:
        shown, taught = torch.cat([images, images.flip(3)]), torch.cat([labels, labels])
    real, targets = draws.real()
    with torch.no_grad():
        real_features = torch.cat([net.features(theta, piece) for piece in real.split(PIECE)])
    predicted = ridge_predictions(real_features, net.features(theta, shown), taught, matching.ridge)
    error, margin = half_squared_error(predicted, targets), label_margin(labels)
    loss = error - matching.label_margin * margin

    def gradient() -> ObjectiveGradient:
        return ObjectiveGradient(*torch.autograd.grad(loss, [images, labels]))

    accuracy = (predicted.argmax(1) == targets.argmax(1)).float().mean()
    figures = {
        "matching_loss": float(error.detach()),
        "label_margin": float(margin.detach()),
        "kernel_accuracy": 100 * float(accuracy),
    }
    return Measurement(
        loss=figures["matching_loss"], figures=figures, labels=state.labels, gradient=gradient
    )
