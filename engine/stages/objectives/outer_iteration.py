"""The random streams of an iteration, and its freshly initialised network."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ddspec.dsl.plan.steps import DistillStep
from ddspec.engine.networks.flat_network import initial_parameters
from ddspec.engine.numerics.seeds import random_stream
from ddspec.engine.stages.context import StageContext


@dataclass(frozen=True)
class OuterIteration:
    """One iteration of the outer loop. Each draw in it has its own random stream."""

    step: DistillStep
    context: StageContext
    iteration: int

    def stream(self, *path: str | int) -> torch.Generator:
        """Return a random stream of this iteration."""
        return random_stream(self.step.seed, "distill", self.iteration, *path)

    def fresh_network(self) -> Float[Tensor, " p"]:
        """Return the initial parameters of this iteration's network, as the images are."""
        address = ("distill", self.iteration, "network")
        facts, seed = self.context.facts, self.step.seed
        theta = initial_parameters(self.step.network, facts, seed, *address)
        return theta.to(self.context.data.train_images)
