"""The cost of the outer loop, by its objective."""

from typing import assert_never

from ddspec.dsl.plan.pass_costs import (
    CALLS_OF_SECOND_DERIVATIVES,
    FILE_BYTES,
    GRADIENT,
    STEP_OVERHEAD,
    STUDENT,
    PassCosts,
)
from ddspec.dsl.plan.route import Estimate
from ddspec.dsl.plan.routes import (
    FLOAT,
    HELD_BY_GRADIENT,
    HELD_BY_KEPT_STEP,
    HELD_BY_SECOND_GRADIENT,
    PIECE,
    VECTORS_OF_ADAM,
)
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


class OuterLoopWork(PassCosts):
    """The costs of the outer loop of one experiment."""

    def estimate(self) -> Estimate:
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
