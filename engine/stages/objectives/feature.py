"""Feature matching: class means of every layer are aligned, and classes are told apart.

The objective of CAFE (arXiv:2203.01531), as its public code has it, for any number of classes and
blocks. That code also adds the network's own loss on real images, which has no gradient by the
synthetic images and is left out.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor

from ddspec.dsl.plan.steps import DistillStep
from ddspec.dsl.spec.objectives.classes import DynamicSchedule, FeatureMatching, FixedSchedule
from ddspec.engine.matching.feature_distance import class_means, discrimination, mean_distances
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
from ddspec.engine.training.epoch import measure_accuracy
from ddspec.engine.training.optimisers import OptimiserState


@contextmanager
def open_feature_matching(
    step: DistillStep, matching: FeatureMatching, context: StageContext
) -> Iterator[Objective]:
    """Yield the objective: a fresh network in every iteration, and pixel steps by a schedule."""
    net = context.network(step.network)
    student = TrainedStudent.of(net, matching.student, step, context)
    loss = FeatureLoss(net, matching)

    def iterate(state: DistillState, update: Update) -> IterationEnd:
        images = ClassImages(step, context, state.iteration)
        episode = Episode(state, images, loss, student, update)
        match matching.schedule:
            case FixedSchedule() as schedule:
                episode.follow_fixed(schedule)
            case DynamicSchedule() as schedule:
                episode.follow_dynamic(schedule)
            case _:
                assert_never(matching.schedule)
        return IterationEnd(episode.state, episode.figures)

    yield iterate


class Episode:
    """One iteration: the synthetic set, the network, and how many steps each has taken."""

    def __init__(
        self,
        state: DistillState,
        images: ClassImages,
        loss: "FeatureLoss",
        student: TrainedStudent,
        update: Update,
    ) -> None:
        self.state, self.images, self.loss = state, images, loss
        self.student, self.update = student, update
        self.network = OptimiserState.without_memory(images.fresh_network())
        self.pixel_steps = self.network_epochs = self.phases_at_bound = 0
        self.accuracy = 0.0

    @property
    def figures(self) -> dict[str, float]:
        """Return the series of the iteration as a whole."""
        return {
            "pixel_steps": float(self.pixel_steps),
            "network_epochs": float(self.network_epochs),
            "phases_at_bound": float(self.phases_at_bound),
        }

    def follow_fixed(self, schedule: FixedSchedule) -> None:
        """Take a number of pixel steps, and train the network between them."""
        for pixel_step in range(schedule.outer_steps):
            self.take_pixel_step()
            if pixel_step + 1 < schedule.outer_steps:
                for _ in range(schedule.network_epochs):
                    self.train_epoch()

    def follow_dynamic(self, schedule: DynamicSchedule) -> None:
        """Take pixel steps until accuracies stay, training the network in between until they move.

        CAFE's dynamic bi-level optimisation in the form of its public code, with bounds on both
        loops.
        """
        accuracies: list[float] = []
        while True:
            self.take_pixel_step()
            accuracies.append(self.queried_accuracy(schedule))
            change = spread(accuracies, schedule.window)
            if change is not None and change < schedule.pixel_tolerance:
                return
            if self.pixel_steps >= schedule.max_pixel_steps:
                self.phases_at_bound += 1
                return
            self.train_until_moved(schedule)

    def train_until_moved(self, schedule: DynamicSchedule) -> None:
        """Train the network until its accuracy has moved, or up to the bound."""
        accuracies: list[float] = []
        for _ in range(schedule.max_network_epochs):
            self.train_epoch()
            accuracies.append(self.queried_accuracy(schedule))
            change = spread(accuracies, schedule.window)
            if change is not None and change > schedule.network_tolerance:
                return
        self.phases_at_bound += 1

    def take_pixel_step(self) -> None:
        """Update the synthetic set once."""
        self.images.context.control.leave_if_stopped()
        measured = self.loss.measure(self.state, self.network.value, self.images, self.pixel_steps)
        self.state = self.update(self.state, measured)
        self.pixel_steps += 1

    def train_epoch(self) -> None:
        """Train the network for one epoch on the synthetic set."""
        generator = self.images.stream("training", self.network_epochs)
        self.network = self.student.epoch(self.network, self.state, generator)
        self.network_epochs += 1

    def queried_accuracy(self, schedule: DynamicSchedule) -> float:
        """Return the share of fresh random real images that the network classifies correctly."""
        images, number = self.images, self.pixel_steps + self.network_epochs
        parts = [
            images.real(label, schedule.query_per_class, "query", number)
            for label in range(images.classes)
        ]
        labels = classes_of(range(images.classes), [len(part) for part in parts], parts[0])
        theta = self.network.value
        accuracy = measure_accuracy(self.loss.net, theta, torch.cat(parts), labels) / 100
        if schedule.carry_over:
            accuracy += self.accuracy / images.classes
        self.accuracy = accuracy
        return accuracy


def spread(accuracies: list[float], window: int) -> float | None:
    """Return the range of the last `window` accuracies; None while there are fewer."""
    last = accuracies[-window:]
    return max(last) - min(last) if len(last) == window else None


@dataclass(frozen=True)
class FeatureLoss:
    """CAFE's loss and its gradient by the synthetic images.

        sum over layers of weight * sum over classes |real mean - synthetic mean|^2
        + discrimination * cross-entropy of real embeddings with the synthetic means

    The embedding is the last layer flattened, and has a weight of its own.
    """

    net: FlatNetwork
    matching: FeatureMatching

    def measure(
        self, state: DistillState, theta: Tensor, images: ClassImages, pixel_step: int
    ) -> Measurement:
        """Compare all classes, some at a time.

        The synthetic means come first, because the discrimination loss needs those of all classes.
        The gradient by the means is taken on to the images in a second pass, so that memory does
        not grow with the number of classes.
        """
        pairs = [images.pair(c, pixel_step, state.images.value) for c in range(images.classes)]
        groups = [[pairs[label] for label in labels] for labels in images.groups()]
        with torch.no_grad():
            synthetic = joined(
                self.synthetic_means(theta, group, [pair.plain for pair in group])
                for group in groups
            )
            real, embeddings = self.real_means(theta, groups)
        weights = self.weights(len(synthetic))
        by_layer = [
            weight * mean_distances(mean, other)
            for weight, mean, other in zip(weights, real, synthetic, strict=True)
        ]
        told_apart, by_embedding = self.discriminate(embeddings, synthetic[-1])
        cotangents = [
            2 * weight * (other - mean)
            for weight, mean, other in zip(weights, real, synthetic, strict=True)
        ]
        cotangents[-1] = cotangents[-1] + by_embedding

        def gradient() -> ObjectiveGradient:
            return ObjectiveGradient(self.by_images(theta, groups, cotangents))

        return measurement_of(state, torch.stack(by_layer).sum(0), gradient, shared=told_apart)

    def weights(self, layers: int) -> list[float]:
        """Return the weight of each layer; the last one is the embedding, too."""
        given = self.matching.layer_weights
        weights = [0.1] * (layers - 2) + [1.0, 1.0] if given is None else list(given)
        weights[-1] += self.matching.embedding_weight
        return weights

    def synthetic_means(
        self, theta: Tensor, group: Sequence[ClassPair], plain: Sequence[Tensor]
    ) -> list[Tensor]:
        """Return the class means of synthetic images at each layer, differentiable by `plain`."""
        shown = [pair.synthetic(part) for pair, part in zip(group, plain, strict=True)]
        counts = [len(part) for part in shown]
        outputs = self.net.layer_outputs(theta, torch.cat(shown))
        return [class_means(output, counts) for output in outputs]

    def real_means(
        self, theta: Tensor, groups: Sequence[Sequence[ClassPair]]
    ) -> tuple[list[Tensor], list[tuple[Tensor, Tensor]]]:
        """Return the class means of real images at each layer, and their embeddings with labels."""
        means, embeddings = [], []
        for group in groups:
            counts = [len(pair.real) for pair in group]
            outputs = self.net.layer_outputs(theta, torch.cat([pair.real for pair in group]))
            means.append([class_means(output, counts) for output in outputs])
            labels = classes_of([pair.label for pair in group], counts, outputs[-1])
            embeddings.append((outputs[-1], labels))
        return joined(means), embeddings

    def discriminate(
        self, embeddings: Sequence[tuple[Tensor, Tensor]], means: Tensor
    ) -> tuple[float, Tensor]:
        """Return the weighted discrimination loss, and its gradient by the synthetic means."""
        leaf = means.detach().requires_grad_()
        losses = [discrimination(real, leaf, labels) for real, labels in embeddings]
        loss = self.matching.discrimination * torch.stack(losses).sum()
        (gradient,) = torch.autograd.grad(loss, leaf)
        return float(loss.detach()), gradient

    def by_images(
        self, theta: Tensor, groups: Sequence[Sequence[ClassPair]], cotangents: Sequence[Tensor]
    ) -> Tensor:
        """Take gradients by the class means of every layer on to the synthetic images."""
        gradients: list[Tensor] = []
        for group in groups:
            plain = [pair.plain.detach().requires_grad_() for pair in group]
            means = self.synthetic_means(theta, group, plain)
            labels = [pair.label for pair in group]
            by_means = [part[labels] for part in cotangents]
            gradients.extend(torch.autograd.grad(means, plain, by_means))
        return torch.cat(gradients)


def joined(groups: Iterable[list[Tensor]]) -> list[Tensor]:
    """Join the tensors of groups of classes, layer by layer."""
    return [torch.cat(parts) for parts in zip(*groups, strict=True)]
