"""Real and synthetic images of classes, drawn and augmented for a comparison."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ddspec.engine.numerics.seeds import to_device
from ddspec.engine.stages.distill_state import DistillState
from ddspec.engine.stages.objective import Measurement, ObjectiveGradient
from ddspec.engine.stages.objectives.outer_iteration import OuterIteration
from ddspec.engine.training.augmentation import AugmentationDraw, augment, draw_augmentation
from ddspec.engine.training.partition import seen_images


@dataclass(frozen=True)
class ClassImages(OuterIteration):
    """The images of an iteration by class.

    A class draws from its own streams, so that classes may be compared in any grouping.
    """

    @property
    def classes(self) -> int:
        """Return the number of classes."""
        return self.context.facts.classes

    @property
    def ipc(self) -> int:
        """Return the synthetic images per class, as they are stored."""
        return self.step.synthetic.ipc

    @property
    def seen_ipc(self) -> int:
        """Return the synthetic images per class that a network sees."""
        return self.step.synthetic.seen_ipc

    def groups(self) -> Iterator[range]:
        """Yield the classes in groups of as many as the route takes at once."""
        at_once = self.step.route.classes
        for first in range(0, self.classes, at_once):
            yield range(first, min(first + at_once, self.classes))

    def pair(self, label: int, pixel_step: int, images: Float[Tensor, "n c h w"]) -> "ClassPair":
        """Return the real and the synthetic images of a class for one pixel step.

        `images` is the whole synthetic set, class-major.
        """
        real = self.real(label, self.step.class_matching.batch_real, "real", pixel_step)
        synthetic = images[label * self.ipc : (label + 1) * self.ipc]
        generator = self.stream("augmentation", pixel_step, label)
        families = self.step.augmentation.families
        if self.step.augmentation.siamese:
            of_real = of_synthetic = draw_augmentation(families, 1, generator)
        else:
            of_real = draw_augmentation(families, len(real), generator)
            of_synthetic = draw_augmentation(families, self.seen_ipc, generator)
        partition = self.step.synthetic.partition
        return ClassPair(label, augment(real, of_real), synthetic, of_synthetic, partition)

    def real(self, label: int, count: int, *path: str | int) -> Float[Tensor, "n c h w"]:
        """Return random real images of a class: `count` of them, or all if it has fewer."""
        images = self.context.data.train_images[self.context.of_class(label)]
        chosen = torch.randperm(len(images), generator=self.stream(*path, label))[:count]
        return images[to_device(chosen, images.device)]


@dataclass(frozen=True)
class ClassPair:
    """The images of a class in one comparison."""

    label: int
    real: Float[Tensor, "n c h w"]
    """Augmented."""
    plain: Float[Tensor, "ipc c h w"]
    """The synthetic images as they are learned."""
    draw: AugmentationDraw | None
    """Augmentation of the synthetic images."""
    partition: int = 1

    def synthetic(self, plain: Float[Tensor, "ipc c h w"]) -> Float[Tensor, "seen_ipc c h w"]:
        """Return the images that a network sees, augmented; differentiable by `plain`."""
        return augment(seen_images(plain, self.partition), self.draw)


def classes_of(labels: Sequence[int], counts: Sequence[int], like: Tensor) -> Int[Tensor, " n"]:
    """Return the class of each image, in order, if class `labels[i]` has `counts[i]` of them."""
    repeats = torch.tensor(list(counts), device=like.device)
    return torch.tensor(list(labels), device=like.device).repeat_interleave(repeats)


def measurement_of(
    state: DistillState,
    class_losses: Float[Tensor, " classes"],
    gradient: Callable[[], ObjectiveGradient],
    shared: float = 0.0,
) -> Measurement:
    """Return the measurement of a comparison: the losses of all classes, and one they `shared`."""
    total = float(class_losses.sum()) + shared
    return Measurement(
        loss=total,
        figures={"matching_loss": total},
        labels=state.labels,
        gradient=gradient,
        class_losses=class_losses,
    )
