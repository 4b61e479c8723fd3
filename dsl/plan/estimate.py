"""The costs of the steps of a plan, estimated by counting operations."""

from ddspec.dsl.plan.outer_loop_estimate import OuterLoopWork
from ddspec.dsl.plan.pass_costs import (
    CALLS_OF_SECOND_DERIVATIVES,
    COST_IN_STACK,
    FILE_BYTES,
    GRADIENT,
    PENALTY,
    PassCosts,
)
from ddspec.dsl.plan.route import Estimate
from ddspec.dsl.plan.routes import (
    FLOAT,
    HELD_BY_GRADIENT,
    HELD_BY_SECOND_GRADIENT,
    Placement,
)
from ddspec.dsl.spec.evaluation import FullData
from ddspec.dsl.spec.experts import Gsam
from ddspec.dsl.spec.trajectory import BezierTrajectory, ConvexTrajectory
from ddspec.dsl.terms import NetworkName

TESTS_OF_CURVE = 10
"""How often networks along a Bezier curve are tested: at five positions, before and after."""


class StepWork(PassCosts):
    """The costs of one experiment's steps on their routes."""

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
        seconds = self.training(steps, batch, GRADIENT, placement)
        if trajectory.epochs:
            seconds += self.testing(TESTS_OF_CURVE, self.facts.test_count, placement)
        seconds *= placement.rounds(experts)
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
        return OuterLoopWork(self.routes, self.stored).estimate()

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
