"""The cost of passes of a network over batches, estimated by counting operations.

A pass costs a fixed time per layer, the arithmetic of its multiply-adds, and the traffic of its
activations. The three rates are measured on this machine if possible (`Machine.rates`); otherwise
they are round figures for a kind of device.
"""

from dataclasses import dataclass

from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.facts.machine import Speed
from ddspec.dsl.plan.routes import (
    FLOAT,
    TEST_BATCH,
    Placement,
    Routes,
)
from ddspec.dsl.spec.experiment import Spec
from ddspec.dsl.terms import NetworkName

# Costs in forward passes, found by measuring ConvNets of 8 to 128 pixels and 16 to 128 channels.
GRADIENT = 2.7
PENALTY = 13.0
"""A gradient with a gradient penalty."""
STUDENT = {"recomputed": 13.0, "kept": 10.5}
"""A student step with its adjoint step, by what is done with the step's graph."""
CALLS_OF_SECOND_DERIVATIVES = 1.5
"""Overhead of second-derivative calls over what their operation count suggests."""
COST_IN_STACK = 0.7
"""Cost of a small network in a stack, relative to training it alone."""

AUGMENTATION = 6.0
"""Traffic of augmenting an image, in multiples of its size."""
STEP_OVERHEAD = 3e-4
"""Seconds of a training step outside the network: drawing, augmenting, stepping."""
FILE_BYTES = 8192
"""Bytes of an artifact that is almost empty."""


@dataclass(frozen=True)
class PassCosts:
    """The costs of passes over the images of one experiment, on their routes."""

    routes: Routes
    stored: int
    """Numbers in all images of the source, which are kept in any case."""

    @property
    def spec(self) -> Spec:
        """Return the spec."""
        return self.routes.spec

    @property
    def facts(self) -> DatasetFacts:
        """Return the facts of the images that the spec asks for."""
        return self.routes.facts

    @property
    def pixels(self) -> int:
        """Return the numbers in one image."""
        return self.facts.channels * self.facts.height * self.facts.width

    @property
    def images(self) -> int:
        """Return the number of real images in memory."""
        return self.facts.train_count + self.facts.test_count + self.facts.validation_count

    @property
    def base_memory(self) -> int:
        """Return the bytes in use before any work."""
        return self.routes.machine.known_rates.base_memory

    def passing(
        self, passes: float, batch: int, speed: Speed, name: NetworkName | None = None
    ) -> float:
        """Return the seconds of forward passes over a batch."""
        size = self.routes.size_of(name)
        per_image = 2 * size.multiply_adds / speed.flops
        per_image += FLOAT * size.activations / speed.bandwidth
        return passes * (speed.layer * size.blocks + batch * per_image)

    def training(
        self,
        steps: float,
        batch: int,
        cost: float,
        placement: Placement,
        name: NetworkName | None = None,
        calls: float = 1.0,
    ) -> float:
        """Return the seconds of steps on augmented batches, each as costly as `cost` passes.

        The launches of a step cost `calls` times those of that many passes.
        """
        speed = self.routes.speed(placement)
        augmenting = AUGMENTATION * FLOAT * self.pixels * batch / speed.bandwidth
        outside = STEP_OVERHEAD + (augmenting if self.spec.augmentation.families else 0.0)
        outside += (calls - 1) * cost * speed.layer * self.routes.size_of(name).blocks
        return self.passing(steps * cost, batch, speed, name) + steps * outside

    def testing(
        self, times: float, images: int, placement: Placement, name: NetworkName | None = None
    ) -> float:
        """Return the seconds of testing networks on real images."""
        batches = -(-images // TEST_BATCH)
        speed = self.routes.speed(placement)
        return self.passing(times * batches, images // max(1, batches), speed, name)

    def memory(
        self,
        batch: int,
        held: float = 0.0,
        vectors: int = 6,
        name: NetworkName | None = None,
        processes: int = 1,
    ) -> int:
        """Return peak memory: real images, and activations and vectors of each process."""
        active = self.routes.active_bytes(batch, held, vectors, name)
        return self.base_memory + FLOAT * self.images * self.pixels + processes * active
