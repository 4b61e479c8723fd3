"""The cost of a step, estimated by counting operations.

A pass of a network over a batch costs a fixed time per layer, the arithmetic of its multiply-adds,
and the traffic of its activations. The three rates are measured on this machine if possible
(`Machine.rates`); otherwise they are round figures for a kind of device.
"""

from dataclasses import dataclass
from typing import assert_never

from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.facts.machine import Speed
from ddspec.dsl.plan.routes import (
    FLOAT,
    HELD_BY_GRADIENT,
    HELD_BY_KEPT_STEP,
    HELD_BY_SECOND_GRADIENT,
    PIECE,
    TEST_BATCH,
    VECTORS_OF_ADAM,
    Placement,
    Routes,
)
from ddspec.dsl.plan.steps import Estimate
from ddspec.dsl.spec.evaluation import FullData
from ddspec.dsl.spec.experiment import Spec
from ddspec.dsl.spec.experts import Gsam
from ddspec.dsl.spec.objectives.classes import (
    ClassMatching,
    DistributionMatching,
    DynamicSchedule,
    ExtensionMatching,
    FeatureMatching,
    FixedSchedule,
    GradientMatching,
    StudentTraining,
)
from ddspec.dsl.spec.objectives.kernel import Kernel
from ddspec.dsl.spec.objectives.performance import Performance
from ddspec.dsl.spec.objectives.trajectory import TrajectoryMatching
from ddspec.dsl.spec.trajectory import BezierTrajectory, ConvexTrajectory
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
class StepWork:
    """The costs of one experiment's steps on their routes."""

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

    def dataset(self) -> Estimate:
        """Estimate storing all images of the source as bytes, and fitting a whitening."""
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
        """Estimate training experts that keep `snapshots` snapshots each, or all of them."""
        routes, batch = self.routes, self.routes.expert_batch
        steps = self.facts.train_count / batch
        cost, held, calls = GRADIENT, HELD_BY_GRADIENT, 1.0
        if self.spec.experts.smoothing.gradient_penalty is not None:
            cost, held = PENALTY, HELD_BY_SECOND_GRADIENT
            calls = CALLS_OF_SECOND_DERIVATIVES
        if isinstance(self.spec.experts.optimizer, Gsam):
            cost *= 2
        placement, parameters = routes.experts(len(epochs)), routes.size.parameters
        each = sum(epochs) / len(epochs)
        seconds = self.training(each * steps, batch, cost, placement, calls=calls)
        seconds += self.testing(each, self.facts.test_count, placement)
        kept = sum(e + 1 if snapshots is None else snapshots for e in epochs)
        return Estimate(
            seconds=placement.rounds(len(epochs)) * seconds,
            memory_bytes=self.memory(batch, held, 6 + max(epochs), processes=placement.processes),
            disk_bytes=kept * parameters * FLOAT
            + sum(epochs) * routes.size.tensors * 8
            + (len(epochs) * parameters * FLOAT if snapshots is None else 0),
        )

    def surrogates(self, experts: int, trajectory: ConvexTrajectory | BezierTrajectory) -> Estimate:
        """Estimate training experts of which only the models of a path are kept."""
        epochs = [self.spec.experts.epochs] * experts
        if isinstance(trajectory, ConvexTrajectory):
            return self.experts(epochs, snapshots=trajectory.waypoints)
        estimate, placement = self.experts(epochs, snapshots=3), self.routes.experts(experts)
        batch = self.routes.expert_batch
        steps = trajectory.epochs * self.facts.train_count / batch
        seconds = placement.rounds(experts) * self.training(steps, batch, GRADIENT, placement)
        return estimate.model_copy(update={"seconds": estimate.seconds + seconds})

    def scores(self, networks: int, epochs: int) -> Estimate:
        """Estimate training networks for some epochs, of which a number per image is kept."""
        kept = networks * (FLOAT * self.facts.train_count + FILE_BYTES)
        training = self.experts([epochs] * networks, snapshots=0)
        return training.model_copy(update={"disk_bytes": kept})

    def path(self, experts: int) -> Estimate:
        """Estimate testing every epoch of the paths in place of trajectories."""
        epochs, tested = self.spec.experts.epochs + 1, self.facts.test_count
        return Estimate(
            seconds=self.testing(experts * epochs, tested, self.routes.alone(tested)),
            memory_bytes=self.memory(1),
            disk_bytes=experts * (epochs * 8 + FILE_BYTES),
        )

    def initialise(self) -> Estimate:
        """Estimate drawing images, or choosing them by an expert's outputs on all images."""
        looked_at = self.facts.train_count if self.spec.initial_set_needs_experts else 0
        return Estimate(
            seconds=0.1 + self.testing(1, looked_at, self.routes.alone(1)),
            memory_bytes=self.memory(1),
            disk_bytes=self.routes.stored_images * self.pixels * FLOAT,
        )

    def distill(self) -> Estimate:
        """Estimate the outer loop with the sets that it keeps."""
        matching = self.spec.matching
        match matching:
            case TrajectoryMatching():
                batch = self.routes.student_batch(matching)
                estimate = self.unroll_students(matching.iterations, matching.syn_steps, batch)
            case Performance():
                estimate = self.reduce_real_loss(matching)
            case Kernel():
                estimate = self.regress(matching)
            case GradientMatching():
                estimate = self.match_gradients(matching)
            case DistributionMatching():
                estimate = self.match_distributions(matching)
            case FeatureMatching():
                estimate = self.match_features(matching)
            case ExtensionMatching():
                estimate = self.match_classes(matching, steps=1)
            case _:
                assert_never(matching)
        images = self.routes.stored_images * self.pixels * FLOAT
        kept = len(self.spec.evaluated_iterations())
        return estimate.model_copy(update={"disk_bytes": kept * (2 * images + FILE_BYTES)})

    def unroll_students(self, iterations: int, window: int, batch: int) -> Estimate:
        """Estimate the student steps of windows, and the adjoint steps back over them."""
        placement, steps = self.routes.distill(), iterations * window
        held, cost = HELD_BY_SECOND_GRADIENT, STUDENT[placement.route.student_graph]
        if placement.route.student_graph == "kept":
            held += HELD_BY_KEPT_STEP * (window - 1)
        vectors = window
        if placement.route.keep_every > 1:
            cost += GRADIENT
            vectors = placement.route.keep_every + vectors // placement.route.keep_every
        calls = CALLS_OF_SECOND_DERIVATIVES
        return Estimate(
            seconds=self.training(steps, batch, cost, placement, calls=calls),
            memory_bytes=self.memory(batch, held, vectors + 6),
            disk_bytes=0,
        )

    def reduce_real_loss(self, matching: Performance) -> Estimate:
        """Estimate the windows, the free steps before them, and the loss on real images."""
        placement, batch = self.routes.distill(), self.routes.performance_batch(matching)
        window = self.unroll_students(matching.iterations, matching.window, batch)
        free = matching.iterations * (matching.free_steps.least + matching.free_steps.most) / 2
        seconds = self.training(free, batch, GRADIENT, placement)
        real = min(matching.real_images, self.facts.train_count)
        pieces = matching.iterations * -(-real // PIECE)
        seconds += self.training(pieces, min(real, PIECE), GRADIENT, placement)
        memory = window.memory_bytes
        if matching.student_optimizer.name == "adam":
            kept = -(-matching.window // placement.route.keep_every) + placement.route.keep_every
            memory += (VECTORS_OF_ADAM - 1) * kept * self.routes.size.parameters * FLOAT
        return Estimate(
            seconds=window.seconds + seconds,
            memory_bytes=max(memory, self.memory(min(real, PIECE), HELD_BY_GRADIENT)),
            disk_bytes=0,
        )

    def regress(self, matching: Kernel) -> Estimate:
        """Estimate the features of real and synthetic images, and the training steps.

        The regression on them costs some hundredths of that.
        """
        placement, images = self.routes.distill(), self.routes.synthetic_images
        speed = self.routes.speed(placement)
        real = min(matching.real_images, self.facts.train_count)
        regressed = images * (2 if matching.mirror else 1)
        trained = min(images, matching.pool.batch_size)
        seconds = self.passing(1.0, real, speed) + self.passing(GRADIENT, regressed, speed)
        seconds += self.training(1.0, trained, GRADIENT, placement)
        vectors = 3 * matching.pool.networks + 6
        return Estimate(
            seconds=matching.iterations * seconds,
            memory_bytes=self.memory(max(regressed, trained), HELD_BY_GRADIENT, vectors),
            disk_bytes=0,
        )

    def match_gradients(self, matching: GradientMatching) -> Estimate:
        """Estimate the gradients of both kinds of images, and training the network between."""
        estimate = self.match_classes(matching, matching.outer_steps)
        between = matching.iterations * (matching.outer_steps - 1)
        training = self.student_epochs(between * matching.network_epochs, matching.student)
        return estimate.model_copy(update={"seconds": estimate.seconds + training})

    def match_classes(self, matching: ClassMatching, steps: int) -> Estimate:
        """Estimate comparing each class by itself, so many times in an iteration.

        Of an extension's objective it is only known that it compares; it may be a gradient's.
        """
        placement, routes = self.routes.distill(), self.routes
        real, synthetic = routes.real_batch(matching), self.spec.synthetic.seen_ipc
        comparisons = matching.iterations * steps * self.facts.classes
        seconds = self.training(comparisons, real, GRADIENT, placement)
        calls = CALLS_OF_SECOND_DERIVATIVES
        seconds += self.training(comparisons, synthetic, STUDENT["kept"], placement, calls=calls)
        held = max(HELD_BY_GRADIENT * real, HELD_BY_SECOND_GRADIENT * synthetic)
        return Estimate(seconds=seconds, memory_bytes=self.memory(1, held, vectors=8), disk_bytes=0)

    def student_epochs(self, epochs: float, student: StudentTraining) -> float:
        """Return the seconds of training the network of an iteration on the synthetic set."""
        images = self.routes.synthetic_images
        batch = min(student.batch_size, images)
        return self.training(epochs * images / batch, batch, GRADIENT, self.routes.distill())

    def match_distributions(self, matching: DistributionMatching) -> Estimate:
        """Estimate the features of real images, and those of synthetic ones with a gradient."""
        seconds = matching.iterations * self.comparison(matching, GRADIENT)
        return Estimate(
            seconds=seconds, memory_bytes=self.memory_of_comparison(matching), disk_bytes=0
        )

    def match_features(self, matching: FeatureMatching) -> Estimate:
        """Estimate feature matching at the fewest steps that its schedule takes."""
        schedule = matching.schedule
        match schedule:
            case FixedSchedule():
                pixel_steps, queried = schedule.outer_steps, 0
                epochs = (schedule.outer_steps - 1) * schedule.network_epochs
            case DynamicSchedule():
                pixel_steps = schedule.window
                epochs = (schedule.window - 1) * schedule.window
                queried = schedule.query_per_class * self.facts.classes
            case _:
                assert_never(schedule)
        # Class means of synthetic images are taken before the gradient: one pass more.
        seconds = pixel_steps * self.comparison(matching, GRADIENT + 1)
        seconds += self.student_epochs(epochs, matching.student)
        seconds += self.testing(pixel_steps + epochs, queried, self.routes.distill())
        return Estimate(
            seconds=matching.iterations * seconds,
            memory_bytes=self.memory_of_comparison(matching),
            disk_bytes=0,
        )

    def comparison(self, matching: ClassMatching, synthetic_cost: float) -> float:
        """Return the seconds of one comparison of features of all classes."""
        placement, routes = self.routes.distill(), self.routes
        at_once, real = placement.route.classes, routes.real_batch(matching)
        passes = self.facts.classes / at_once
        seconds = self.training(passes, at_once * real, 1.0, placement)
        batch = at_once * self.spec.synthetic.seen_ipc
        # Every class draws and augments its real and its synthetic images by itself.
        seconds += 2 * self.facts.classes * STEP_OVERHEAD
        return seconds + self.training(passes, batch, synthetic_cost, placement)

    def memory_of_comparison(self, matching: ClassMatching) -> int:
        """Return the peak memory of comparing features."""
        at_once, routes = self.routes.distill().route.classes, self.routes
        real = at_once * routes.real_batch(matching)
        synthetic = at_once * self.spec.synthetic.seen_ipc
        return self.memory(1) + routes.compared_bytes(real, synthetic)

    def full_data(self, full: FullData, name: NetworkName) -> Estimate:
        """Estimate training fresh networks on all real images."""
        batch, placement = self.routes.full_data_batch, self.routes.full_data(name, full.repeats)
        steps = full.epochs * self.facts.train_count / batch
        return self.fresh(full.repeats, steps, batch, placement, name)

    def evaluate(self, sets: int, name: NetworkName) -> Estimate:
        """Estimate training fresh networks on synthetic sets."""
        routes, evaluation = self.routes, self.spec.evaluation
        batch, placement = routes.evaluation_batch, routes.evaluation(name, sets)
        steps = evaluation.epochs * routes.synthetic_images / batch
        searched = len(evaluation.lr_search or ())
        networks = sets * (evaluation.repeats + searched)
        training = self.fresh(networks, steps, batch, placement, name)
        if placement.route.networks > 1:
            training = training.model_copy(update={"seconds": training.seconds * COST_IN_STACK})
        return training.model_copy(update={"disk_bytes": sets * FILE_BYTES})

    def fresh(
        self, networks: int, steps: float, batch: int, placement: Placement, name: NetworkName
    ) -> Estimate:
        """Estimate training fresh networks and testing each."""
        each = self.training(steps, batch, GRADIENT, placement, name)
        each += self.testing(1, self.routes.tested, placement, name)
        together = placement.route.networks
        return Estimate(
            seconds=placement.rounds(-(-networks // together)) * together * each,
            memory_bytes=self.memory(
                batch * together, HELD_BY_GRADIENT, 6 * together, name, placement.processes
            ),
            disk_bytes=FILE_BYTES,
        )
