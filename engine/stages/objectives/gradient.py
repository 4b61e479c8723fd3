"""Gradient matching: real and synthetic images of a class give the network the same gradient.

The objective of DC (arXiv:2006.05929) and, with siamese augmentation, of DSA (arXiv:2102.08259).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from ddspec.dsl.plan.steps import DistillStep
from ddspec.dsl.spec.objectives.classes import GradientMatching
from ddspec.engine.matching.gradient_distance import gradient_distance
from ddspec.engine.matching.unroll import InnerLoss, Learnables, StepBatch, Student, step_gradient
from ddspec.engine.networks.flat_network import FlatNetwork
from ddspec.engine.stages.context import StageContext
from ddspec.engine.stages.distill_state import DistillState
from ddspec.engine.stages.objective import (
    IterationEnd,
    Measurement,
    Objective,
    ObjectiveGradient,
    Update,
)
from ddspec.engine.stages.objectives.class_images import (
    ClassImages,
    ClassPair,
    classes_of,
    measurement_of,
)
from ddspec.engine.stages.objectives.student_training import TrainedStudent
from ddspec.engine.training.optimisers import OptimiserState


@contextmanager
def open_gradient_matching(
    step: DistillStep, matching: GradientMatching, context: StageContext
) -> Iterator[Objective]:
    """Yield the objective.

    An iteration begins with a fresh network. `outer_steps` pixel steps are taken, and between them
    the network is trained for `network_epochs` epochs on the synthetic set; with one pixel step it
    is never trained.
    """
    net = context.network(step.network)
    student = TrainedStudent.of(net, matching.student, step, context)
    comparison = GradientComparison(net, matching)

    def iterate(state: DistillState, update: Update) -> IterationEnd:
        images = ClassImages(step, context, state.iteration)
        network = OptimiserState.without_memory(images.fresh_network())
        for pixel_step in range(matching.outer_steps):
            context.control.leave_if_stopped()
            pairs = (
                images.pair(label, pixel_step, state.images.value)
                for label in range(images.classes)
            )
            state = update(state, comparison.measure(state, network.value, pairs))
            if pixel_step + 1 < matching.outer_steps:
                generator = images.stream("training", pixel_step)
                for _ in range(matching.network_epochs):
                    network = student.epoch(network, state, generator)
        return IterationEnd(state)

    yield iterate


class GradientComparison:
    """The distance of the gradients of real and synthetic images, with its own gradient."""

    def __init__(self, net: FlatNetwork, matching: GradientMatching) -> None:
        self.shapes, self.distance = net.shapes, matching.distance
        self.student = Student(
            lambda theta, images, labels: F.cross_entropy(net(theta, images), labels)
        )

    def measure(
        self, state: DistillState, theta: Tensor, pairs: Iterator[ClassPair]
    ) -> Measurement:
        """Compare the gradients of every class; classes are independent given the network."""
        losses, gradients = [], []
        for pair in pairs:
            loss, gradient = self.compare(theta, pair)
            losses.append(loss)
            gradients.append(gradient)
        return measurement_of(
            state, torch.stack(losses), lambda: ObjectiveGradient(torch.cat(gradients))
        )

    def compare(self, theta: Tensor, pair: ClassPair) -> tuple[Tensor, Tensor]:
        """Return the distance of a class, and its gradient by the synthetic images.

        The gradient of the synthetic images is that of one student step, whose derivative by the
        images `StepGradient` has; the distance enters by its own derivative, in closed form.
        """
        labels = classes_of([pair.label], [len(pair.real)], pair.real)
        real, _ = self.student.gradient(theta, pair.real, labels)
        loss = InnerLoss(self.student, lambda _, learned: step_inputs(pair, learned))
        batch = StepBatch.of(loss, 0, [pair.plain])
        synthetic = step_gradient(self.student.loss, theta, batch.leaves)
        distance, cotangent = gradient_distance(
            self.distance, real, synthetic.gradient.detach(), self.shapes
        )
        _, *products = synthetic.pull_back([cotangent], through_steps=False)
        (by_images,) = batch.pull_back(products)
        return distance, by_images


def step_inputs(pair: ClassPair, learned: Learnables) -> tuple[Tensor, Tensor]:
    """Return the synthetic images of a class as its student step sees them, with their labels."""
    images = pair.synthetic(learned[0])
    return images, classes_of([pair.label], [len(images)], images)
