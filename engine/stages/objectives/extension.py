"""An objective of an installed extension: a loss of real and synthetic images of each class."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ddspec.dsl.plan.steps import DistillStep
from ddspec.dsl.spec.objectives.classes import ExtensionMatching
from ddspec.engine.networks.flat_network import FlatNetwork
from ddspec.engine.numerics.extension_code import number_and_gradient
from ddspec.engine.stages.context import StageContext
from ddspec.engine.stages.distill_state import DistillState
from ddspec.engine.stages.objective import (
    IterationEnd,
    Measurement,
    Objective,
    ObjectiveGradient,
    Update,
)
from ddspec.engine.stages.objectives.class_images import ClassImages, measurement_of


@contextmanager
def open_extension_matching(
    step: DistillStep, matching: ExtensionMatching, context: StageContext
) -> Iterator[Objective]:
    """Yield the objective: in every iteration a fresh network, and one pixel step."""
    net = context.network(step.network)

    def iterate(state: DistillState, update: Update) -> IterationEnd:
        images = ClassImages(step, context, state.iteration)
        return IterationEnd(update(state, compare_classes(state, matching, net, images)))

    yield iterate


def compare_classes(
    state: DistillState, matching: ExtensionMatching, net: FlatNetwork, images: ClassImages
) -> Measurement:
    """Take the extension's loss of every class, and its gradient by the synthetic images."""
    theta = images.fresh_network()
    losses: list[Tensor] = []
    gradients: list[Tensor] = []
    for label in range(images.classes):
        pair = images.pair(label, 0, state.images.value)
        plain = pair.plain.detach().requires_grad_()
        loss, gradient = number_and_gradient(
            "objectives",
            matching,
            by=plain,
            network=net,
            theta=theta,
            real=pair.real,
            synthetic=pair.synthetic(plain),
            label=label,
        )
        gradients.append(gradient)
        losses.append(loss)
    return measurement_of(
        state, torch.stack(losses), lambda: ObjectiveGradient(torch.cat(gradients))
    )
