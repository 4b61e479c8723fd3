"""The route of each step: how a machine computes it, which does not change its meaning.

Routes follow by rule from shapes, memory and the kind of device, never from a measured time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil, sqrt
from typing import assert_never

from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.facts.machine import Machine, Speed
from ddspec.dsl.facts.network_sizes import FittedNetwork, NetworkSize, network_size
from ddspec.dsl.keys.extension import ExtensionNetwork
from ddspec.dsl.plan.route import Route
from ddspec.dsl.spec.experiment import Spec
from ddspec.dsl.spec.network import AnyNetwork, ConvNet, LibraryNetwork, network_of
from ddspec.dsl.spec.objectives.classes import (
    ClassMatching,
    DistributionMatching,
    ExtensionMatching,
    FeatureMatching,
    GradientMatching,
)
from ddspec.dsl.spec.objectives.kernel import Kernel
from ddspec.dsl.spec.objectives.performance import Performance
from ddspec.dsl.spec.objectives.trajectory import TrajectoryMatching
from ddspec.dsl.terms import NetworkName, StudentGraph

FLOAT = 4

# Activations in memory at once, in multiples of those of a forward pass.
HELD_BY_GRADIENT = 2.0
HELD_BY_SECOND_GRADIENT = 5.0
HELD_BY_KEPT_STEP = 2.2

STACKED_NORMS = ("instance", "none")
"""Norms of networks that can be stacked: each uses a single channel, or there is none."""
ONE_THREAD_BELOW = 8_000_000
"""Multiply-adds of a batch below which a second thread costs more than it gains.

Below it, too, networks are stacked on a CPU: calls cost more than their arithmetic."""
ONE_BY_ONE_ABOVE = 250_000_000
"""Multiply-adds of a batch above which one operation uses all cores as well as processes do."""
RECORDED_BELOW = 10_000_000_000
"""Multiply-adds of a batch below which a GPU waits for its host; counted, not measured."""
MOST_IN_STACK = 5
"""Networks in a stack; protocols of the field ask for five."""
KEPT_SHARE = 0.35
"""Shares of the memory that a student's kept steps, and parallel processes, may take."""
VECTORS_OF_ADAM = 3
"""Vectors of the state of a student that is trained by Adam: parameters and two running means."""
PIECE = 256
"""Real images whose activations are in memory at once where a student's loss on them is taken."""
TEST_BATCH = 1000
WORTH_A_PASS = 1000
"""Images in a pass on a CPU from which on more of them save nothing."""


@dataclass(frozen=True)
class Placement:
    """A route, and how many members of a step are made at once."""

    route: Route
    processes: int = 1

    def rounds(self, tasks: int) -> int:
        """Return how many rounds of tasks it takes until all are done."""
        return -(-tasks // self.processes)


@dataclass(frozen=True)
class Routes:
    """The shapes of one experiment on one machine, and the routes that follow from them."""

    spec: Spec
    facts: DatasetFacts
    """Facts of the images that the spec asks for."""
    machine: Machine
    measured: Mapping[NetworkName, FittedNetwork] = field(default_factory=dict)
    """The networks of libraries and extensions, fitted to the images and measured."""

    @cached_property
    def size(self) -> NetworkSize:
        """Return the size of the network of experts and students."""
        return self.size_of(self.spec.network.name)

    def size_of(self, name: NetworkName | None) -> NetworkSize:
        """Return the size of an evaluation network; None means that of experts and students."""
        if name is None:
            return self.size
        facts, net = self.facts, self.network_of(name)
        if isinstance(net, LibraryNetwork | ExtensionNetwork):
            return self.measured[name].size
        return network_size(net, facts.channels, facts.height, facts.width, facts.classes)

    def network_of(self, name: NetworkName) -> AnyNetwork:
        """Return the network that an evaluation calls `name`."""
        if name in self.measured:
            return self.measured[name].network
        return network_of(name, self.spec.network)

    @property
    def tested(self) -> int:
        """Return the number of real images that an evaluation tests on."""
        return self.facts.test_count + self.facts.validation_count

    @property
    def stored_images(self) -> int:
        """Return the number of images in the synthetic set as it is stored."""
        return self.spec.synthetic.ipc * self.facts.classes

    @property
    def synthetic_images(self) -> int:
        """Return the number of synthetic images that networks are trained on."""
        return self.spec.synthetic.seen_ipc * self.facts.classes

    def student_batch(self, matching: TrajectoryMatching) -> int:
        """Return the images per student step."""
        return matching.batch_syn or self.synthetic_images

    def performance_batch(self, matching: Performance) -> int:
        """Return the images per student step whose loss on real images is reduced."""
        return (matching.syn_per_class or self.spec.synthetic.seen_ipc) * self.facts.classes

    @property
    def kernel_batch(self) -> int:
        """Return the synthetic images of a ridge regression, before they are mirrored."""
        return self.synthetic_images

    @property
    def expert_batch(self) -> int:
        """Return the images per training step of an expert."""
        return min(self.spec.experts.batch_size, self.facts.train_count)

    @property
    def evaluation_batch(self) -> int:
        """Return the images per training step of an evaluation."""
        return min(self.spec.evaluation.batch_size, self.synthetic_images)

    @property
    def full_data_batch(self) -> int:
        """Return the images per training step on all real images."""
        return min(self.spec.evaluation.batch_size, self.facts.train_count)

    @property
    def on_gpu(self) -> bool:
        """Return whether the device is a GPU."""
        return self.machine.device == "cuda"

    @property
    def room(self) -> float:
        """Return the bytes that a route may spend on speed; 0 if the memory is not known."""
        return KEPT_SHARE * self.machine.known_rates.memory

    def alone(self, batch: int, name: NetworkName | None = None) -> Placement:
        """Return the route of one network at a time, with threads by the size of a batch."""
        threads = 1 if self.is_small(batch, name) or self.on_gpu else self.machine.cores
        # Networks of libraries may draw random numbers in their steps, which recordings repeat.
        recorded = self.on_gpu and name not in self.measured
        return Placement(Route(device=self.machine.device, threads=threads, recorded=recorded))

    def is_small(self, batch: int, name: NetworkName | None) -> bool:
        """Return whether a batch's calls cost more than its arithmetic."""
        return self.size_of(name).multiply_adds * batch < ONE_THREAD_BELOW

    def beside(
        self, tasks: int, batch: int, name: NetworkName | None, memory: int, otherwise: Placement
    ) -> Placement:
        """Return a process for each core of a CPU, if tasks and memory suffice.

        `memory` is what one task needs; `otherwise` is returned if too few fit, or
        if one batch already uses all cores.
        """
        if self.size_of(name).multiply_adds * batch > ONE_BY_ONE_ABOVE:
            return otherwise
        fitting = int(self.room // max(1, memory))
        processes = min(tasks, self.machine.cores, fitting)
        threads, machine = otherwise.route.threads, self.machine
        if self.on_gpu or not machine.forks or processes < 2:
            return otherwise
        if threads > 1 and 2 * processes <= machine.cores:
            return otherwise
        return Placement(otherwise.route.model_copy(update={"threads": 1}), processes)

    def experts(self, count: int) -> Placement:
        """Return the route of training so many experts in parallel."""
        batch, held = self.expert_batch, HELD_BY_GRADIENT
        if self.spec.experts.smoothing.gradient_penalty is not None:
            held = HELD_BY_SECOND_GRADIENT
        vectors = 6 + self.spec.experts.epochs
        memory = self.active_bytes(batch, held, vectors)
        return self.beside(count, batch, None, memory, self.alone(batch))

    def evaluation(self, name: NetworkName, sets: int) -> Placement:
        """Return the route of evaluations: small networks in stacks, and stacks in parallel."""
        batch, net = self.evaluation_batch, self.network_of(name)
        stacks = isinstance(net, ConvNet) and net.norm in STACKED_NORMS
        networks = MOST_IN_STACK if stacks and (self.on_gpu or self.is_small(batch, name)) else 1
        placement = self.alone(batch, name)
        route = placement.route.model_copy(update={"networks": networks})
        tasks = sets * ceil(self.spec.evaluation.repeats / networks)
        memory = self.active_bytes(batch * networks, HELD_BY_GRADIENT, 6 * networks, name)
        return self.beside(tasks, batch * networks, name, memory, Placement(route))

    def full_data(self, name: NetworkName, networks: int) -> Placement:
        """Return the route of training networks on all real images in parallel."""
        batch = self.full_data_batch
        memory = self.active_bytes(batch, HELD_BY_GRADIENT, 6, name)
        return self.beside(networks, batch, name, memory, self.alone(batch, name))

    def distill(self) -> Placement:
        """Return the route of the outer loop."""
        match self.spec.matching:
            case TrajectoryMatching() as matching:
                batch = self.student_batch(matching)
                return self.unroll_students(matching.syn_steps, batch, matching.gradient == "exact")
            case Performance() as matching:
                batch = self.performance_batch(matching)
                vectors = VECTORS_OF_ADAM if matching.student_optimizer.name == "adam" else 1
                return self.unroll_students(matching.window, batch, vectors=vectors)
            case Kernel():
                return self.alone(self.kernel_batch)
            case GradientMatching() | ExtensionMatching() as matching:
                # Gradients are taken class by class, so each class needs its own pass.
                return self.alone(self.real_batch(matching))
            case DistributionMatching() | FeatureMatching() as matching:
                return self.compare_features(matching)
            case _:
                assert_never(self.spec.matching)

    def real_batch(self, matching: ClassMatching) -> int:
        """Return the real images of a class in one comparison."""
        return min(matching.batch_real, max(self.facts.train_per_class))

    def compare_features(self, matching: ClassMatching) -> Placement:
        """Return the route of comparing features: as many classes at once as are worth it and fit.

        A pass over many images costs a CPU as much as several passes, so few suffice there.
        """
        real, synthetic = self.real_batch(matching), self.spec.synthetic.seen_ipc
        fitting = self.facts.classes
        if self.room:
            fitting = int(self.room // self.compared_bytes(real, synthetic))
        if not self.on_gpu:
            fitting = min(fitting, ceil(WORTH_A_PASS / (real + synthetic)))
        classes = max(1, min(self.facts.classes, fitting))
        route = self.alone(classes * real).route.model_copy(update={"classes": classes})
        return Placement(route)

    def compared_bytes(self, real: int, synthetic: int) -> int:
        """Return the bytes of comparing features: real images leave no graph, synthetic ones do."""
        size = self.size
        graph = int(synthetic * size.activations * HELD_BY_GRADIENT)
        return FLOAT * max(2 * real * size.widest, graph)

    def unroll_students(
        self, steps: int, batch: int, through_steps: bool = True, vectors: int = 1
    ) -> Placement:
        """Return the route of students that are unrolled, which keeps as much of them as fits.

        That is the graphs of all steps; or the `vectors` of the state after each step; or those
        after every k-th, k chosen so that kept and recomputed vectors together are fewest. Small
        steps on a GPU are recorded instead, because launching them costs more than their
        arithmetic.
        """
        graphs = FLOAT * self.size.activations * batch * HELD_BY_KEPT_STEP * steps
        small = self.size.multiply_adds * batch < RECORDED_BELOW
        # What an extension's network does may not be recorded, such as drawing random numbers.
        recorded = self.on_gpu and small and self.spec.network.name not in self.measured
        keeps = through_steps and not recorded
        graph: StudentGraph = "kept" if graphs <= self.room and keeps else "recomputed"
        states = FLOAT * self.size.parameters * steps * vectors
        fit = graph == "kept" or states <= self.room or not self.room
        kept = {
            "student_graph": graph,
            "keep_every": 1 if fit else ceil(sqrt(steps)),
            "recorded": self.on_gpu and graph == "recomputed",
        }
        return Placement(self.alone(batch).route.model_copy(update=kept))

    def active_bytes(
        self, batch: int, held: float, vectors: int, name: NetworkName | None = None
    ) -> int:
        """Return the bytes that training or testing a network needs beside the images."""
        size = self.size_of(name)
        tests = 2 * min(TEST_BATCH, self.tested) * size.widest
        active = max(int(size.activations * batch * held), tests)
        return FLOAT * (active + vectors * size.parameters)

    def speed(self, placement: Placement) -> Speed:
        """Return the speed of each process; together they have the bandwidth of all threads."""
        rates = self.machine.known_rates
        single, all_of_them = rates.one_thread, rates.all_threads
        if placement.route.threads > 1:
            return all_of_them
        share = min(
            single.bandwidth, max(single.bandwidth, all_of_them.bandwidth) / placement.processes
        )
        return single.model_copy(update={"bandwidth": share})
