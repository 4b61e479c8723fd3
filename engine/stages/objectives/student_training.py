"""The network of an iteration, trained on the synthetic set between pixel steps."""

from dataclasses import dataclass

import torch

from ddspec.dsl.plan.steps import DistillStep
from ddspec.dsl.spec.objectives.classes import StudentTraining
from ddspec.engine.networks.flat_network import FlatNetwork
from ddspec.engine.stages.context import StageContext
from ddspec.engine.stages.distill_state import DistillState
from ddspec.engine.training.epoch import (
    EpochSettings,
    GradientFn,
    LabelledImages,
    cross_entropy_gradient,
    recorded_gradient,
    train_epoch,
)
from ddspec.engine.training.optimisers import OptimiserState, SgdOptimiser
from ddspec.engine.training.partition import seen_images, seen_labels


@dataclass(frozen=True)
class TrainedStudent:
    """How the network of an iteration is trained on the synthetic set."""

    gradient_fn: GradientFn
    settings: EpochSettings
    context: StageContext
    partition: int

    @classmethod
    def of(
        cls,
        net: FlatNetwork,
        training: StudentTraining,
        step: DistillStep,
        context: StageContext,
    ) -> "TrainedStudent":
        """Return the training that a spec describes, made once for all iterations."""
        gradient_fn = recorded_gradient(cross_entropy_gradient(net), step.route.recorded)
        optimiser = SgdOptimiser(training.lr, training.momentum)
        # Each image has numbers of its own here, also where a comparison shares one draw.
        families = step.augmentation.families
        settings = EpochSettings(training.batch_size, optimiser, families)
        return cls(gradient_fn, settings, context, step.synthetic.partition)

    def epoch(
        self, network: OptimiserState, state: DistillState, generator: torch.Generator
    ) -> OptimiserState:
        """Train for one epoch on the synthetic set as it stands."""
        images = seen_images(state.images.value, self.partition)
        data = LabelledImages(images, seen_labels(state.labels, self.partition))
        leave = self.context.control.leave_if_stopped
        epoch = train_epoch(
            self.gradient_fn, network, data, self.settings, generator, lambda share: leave()
        )
        return epoch.end
