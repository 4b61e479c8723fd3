"""What a step will cost, by counting operations.

A pass of a network over a batch is a cost per layer, whatever the batch, the arithmetic of its
multiply-adds, and the traffic of its activations. The three rates are measured on the machine at
hand where they can be (`Machine.rates`); otherwise they are round figures for a kind of device.
"""

from dataclasses import dataclass

from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.facts.machine import Speed
from ddspec.dsl.plan.routes import (
    FLOAT,
    HELD_BY_GRADIENT,
    HELD_BY_KEPT_STEP,
    HELD_BY_SECOND_GRADIENT,
    TEST_BATCH,
    Placement,
    Routes,
)
from ddspec.dsl.plan.steps import Estimate
from ddspec.dsl.spec.evaluation import FullData
from ddspec.dsl.spec.experiment import Spec
from ddspec.dsl.spec.experts import Gsam
from ddspec.dsl.terms import NetworkName

# Costs in forward passes, found by measuring ConvNets of 8 to 128 pixels and 16 to 128 channels.
GRADIENT = 2.7
PENALTY = 13.0
"""A gradient with a gradient penalty."""
STUDENT = {"recomputed": 13.0, "kept": 10.5}
"""A student step and the adjoint step that goes back over it, by what becomes of its graph."""
CALLS_OF_SECOND_DERIVATIVES = 1.5
"""How much more the calls of a second derivative cost than its arithmetic lets one expect."""
TOGETHER = 0.7
"""Cost of a small network among others that are trained together, in that of one alone."""

AUGMENTATION = 6.0
"""Traffic of augmenting an image, in its own size."""
STEP_OVERHEAD = 3e-4
"""Seconds of a training step outside the network: drawing, augmenting, stepping."""
FILE_BYTES = 8192
"""An artifact that holds next to nothing."""


@dataclass(frozen=True)
class StepWork:
    """Costs of one experiment by its routes."""

    routes: Routes
    stored: int
    """Numbers in all images of the source, which are kept whatever a spec asks for."""

    @property
    def spec(self) -> Spec:
        """What is asked for."""
        return self.routes.spec

    @property
    def facts(self) -> DatasetFacts:
        """Of the images that the spec asks for."""
        return self.routes.facts

    @property
    def pixels(self) -> int:
        """Numbers in one image."""
        return self.facts.channels * self.facts.height * self.facts.width

    @property
    def images(self) -> int:
        """Real images that lie in memory."""
        return self.facts.train_count + self.facts.test_count + self.facts.validation_count

    @property
    def base_memory(self) -> int:
        """Bytes before any work."""
        return self.routes.machine.known_rates.base_memory

    def passing(
        self, passes: float, batch: int, speed: Speed, name: NetworkName | None = None
    ) -> float:
        """Seconds of forward passes over a batch."""
        size = self.routes.size_of(name)
        per_image = 2 * size.multiply_adds / speed.flops
        per_image += FLOAT * size.activations / speed.bandwidth
        return passes * (speed.layer * size.blocks + batch * per_image)

    def training(
        self,
        steps: float,
        batch: int,
        cost: float,
        way: Placement,
        name: NetworkName | None = None,
        calls: float = 1.0,
    ) -> float:
        """Seconds of steps on augmented batches, each `cost` forward passes dear.

        Its calls cost `calls` times what they cost in so many passes.
        """
        speed = self.routes.speed(way)
        augmenting = AUGMENTATION * FLOAT * self.pixels * batch / speed.bandwidth
        outside = STEP_OVERHEAD + (augmenting if self.spec.augmentation.families else 0.0)
        outside += (calls - 1) * cost * speed.layer * self.routes.size_of(name).blocks
        return self.passing(steps * cost, batch, speed, name) + steps * outside

    def testing(
        self, times: float, images: int, way: Placement, name: NetworkName | None = None
    ) -> float:
        """Seconds of testing networks on real images."""
        batches = -(-images // TEST_BATCH)
        speed = self.routes.speed(way)
        return self.passing(times * batches, images // max(1, batches), speed, name)

    def memory(
        self,
        batch: int,
        held: float = 0.0,
        vectors: int = 6,
        name: NetworkName | None = None,
        processes: int = 1,
    ) -> int:
        """Peak: real images as numbers, and activations and parameter vectors of each process."""
        active = self.routes.active_bytes(batch, held, vectors, name)
        return self.base_memory + FLOAT * self.images * self.pixels + processes * active

    def dataset(self) -> Estimate:
        """Reading and keeping all images of the source as bytes; fitting a whitening."""
        values, matrix = self.stored, self.pixels**2 if self.spec.dataset.zca else 0
        flops = self.routes.machine.known_rates.all_threads.flops
        fitting = matrix * (2.0 * self.images + 30.0 * self.pixels) / flops
        return Estimate(
            seconds=1.0 + values * 1e-7 + fitting,
            memory_bytes=self.base_memory
            + values
            + FLOAT * self.images * self.pixels
            + 3 * 8 * matrix,
            disk_bytes=values + FLOAT * matrix,
        )

    def experts(self, epochs: list[int], snapshots: int | None) -> Estimate:
        """Training; each expert keeps `snapshots` of its epochs, or all of them."""
        routes, batch = self.routes, self.routes.expert_batch
        steps = self.facts.train_count / batch
        cost, held, calls = GRADIENT, HELD_BY_GRADIENT, 1.0
        if self.spec.experts.smoothing.gradient_penalty is not None:
            cost, held = PENALTY, HELD_BY_SECOND_GRADIENT
            calls = CALLS_OF_SECOND_DERIVATIVES
        if isinstance(self.spec.experts.optimizer, Gsam):
            cost *= 2
        way, parameters = routes.experts(len(epochs)), routes.size.parameters
        each = sum(epochs) / len(epochs)
        seconds = self.training(each * steps, batch, cost, way, calls=calls)
        seconds += self.testing(each, self.facts.test_count, way)
        kept = sum(e + 1 if snapshots is None else snapshots for e in epochs)
        return Estimate(
            seconds=way.rounds(len(epochs)) * seconds,
            memory_bytes=self.memory(batch, held, 6 + max(epochs), processes=way.processes),
            disk_bytes=kept * parameters * FLOAT
            + sum(epochs) * routes.size.tensors * 8
            + (len(epochs) * parameters * FLOAT if snapshots is None else 0),
        )

    def path(self, experts: int) -> Estimate:
        """Testing every epoch of convexified trajectories."""
        epochs, tested = self.spec.experts.epochs + 1, self.facts.test_count
        return Estimate(
            seconds=self.testing(experts * epochs, tested, self.routes.alone(tested)),
            memory_bytes=self.memory(1),
            disk_bytes=experts * (epochs * 8 + FILE_BYTES),
        )

    def initialise(self) -> Estimate:
        """Drawing images, or choosing them by what an expert makes of all."""
        looked_at = self.facts.train_count if self.spec.initial_set_needs_experts else 0
        return Estimate(
            seconds=0.1 + self.testing(1, looked_at, self.routes.alone(1)),
            memory_bytes=self.memory(1),
            disk_bytes=self.routes.synthetic_images * self.pixels * FLOAT,
        )

    def distill(self) -> Estimate:
        """Student steps forth and adjoint steps back."""
        matching, way = self.spec.matching, self.routes.distill()
        steps = matching.iterations * matching.syn_steps
        kept = len(self.spec.evaluated_iterations())
        held, cost = HELD_BY_SECOND_GRADIENT, STUDENT[way.route.student_graph]
        if way.route.student_graph == "kept":
            held += HELD_BY_KEPT_STEP * (matching.syn_steps - 1)
        vectors = matching.syn_steps
        if way.route.keep_every > 1:
            cost += GRADIENT
            vectors = way.route.keep_every + vectors // way.route.keep_every
        images = self.routes.synthetic_images * self.pixels * FLOAT
        return Estimate(
            seconds=self.training(
                steps, self.routes.synthetic_batch, cost, way, calls=CALLS_OF_SECOND_DERIVATIVES
            ),
            memory_bytes=self.memory(self.routes.synthetic_batch, held, vectors + 6),
            disk_bytes=kept * (2 * images + FILE_BYTES),
        )

    def full_data(self, full: FullData, name: NetworkName) -> Estimate:
        """Training fresh networks on all real images."""
        batch, way = self.routes.full_data_batch, self.routes.full_data(name, full.repeats)
        steps = full.epochs * self.facts.train_count / batch
        return self.fresh(full.repeats, steps, batch, way, name)

    def evaluate(self, sets: int, name: NetworkName) -> Estimate:
        """Training fresh networks on synthetic sets."""
        routes, evaluation = self.routes, self.spec.evaluation
        batch, way = routes.evaluation_batch, routes.evaluation(name, sets)
        steps = evaluation.epochs * routes.synthetic_images / batch
        found = self.fresh(sets * evaluation.repeats, steps, batch, way, name)
        if way.route.networks > 1:
            found = found.model_copy(update={"seconds": found.seconds * TOGETHER})
        return found.model_copy(update={"disk_bytes": sets * FILE_BYTES})

    def fresh(
        self, networks: int, steps: float, batch: int, way: Placement, name: NetworkName
    ) -> Estimate:
        """Training fresh networks and testing each."""
        each = self.training(steps, batch, GRADIENT, way, name)
        each += self.testing(1, self.routes.tested, way, name)
        together = way.route.networks
        return Estimate(
            seconds=way.rounds(-(-networks // together)) * together * each,
            memory_bytes=self.memory(
                batch * together, HELD_BY_GRADIENT, 6 * together, name, way.processes
            ),
            disk_bytes=FILE_BYTES,
        )
