"""What a step will cost, by counting operations, and the route by which it is computed.

A pass of a network over a batch is a cost per layer, whatever the batch, the arithmetic of its
multiply-adds, and the traffic of its activations. The three rates are measured on the machine at
hand where they can be (`Machine.rates`); otherwise they are round figures for a kind of device.
"""

from dataclasses import dataclass
from functools import cached_property

from ddspec.dsl.datasets import DatasetFacts
from ddspec.dsl.document import Document
from ddspec.dsl.experts_table import Gsam
from ddspec.dsl.plan import Estimate, Route
from ddspec.dsl.sizes import NetworkSize, network_size
from ddspec.dsl.spec import ConvNet, FullData, Spec, network_of
from ddspec.dsl.terms import Device, NetworkName, StudentGraph

FLOAT = 4


class Speed(Document):
    """How fast a device passes batches through networks, on so many threads."""

    layer: float
    """Seconds per layer and pass, whatever the batch."""
    flops: float
    """Floating-point operations per second."""
    bandwidth: float
    """Bytes of activations per second."""


class Rates(Document):
    """What estimates need to know of a machine."""

    one_thread: Speed
    all_threads: Speed
    """The same where there is one thread, or on a GPU."""
    base_memory: int
    """Bytes of Python, torch and its libraries before any work."""
    memory: int
    """Bytes of the whole machine, or of the GPU; 0 where that is not known."""
    measured: bool
    """On this machine; else round figures."""


ROUND_RATES: dict[Device, Rates] = {
    "cpu": Rates(
        one_thread=Speed(layer=1e-4, flops=1.2e11, bandwidth=4e9),
        all_threads=Speed(layer=1e-4, flops=2.5e11, bandwidth=7e9),
        base_memory=450 * 2**20,
        memory=0,
        measured=False,
    ),
    "cuda": Rates(
        one_thread=Speed(layer=5e-5, flops=2e13, bandwidth=1e12),
        all_threads=Speed(layer=5e-5, flops=2e13, bandwidth=1e12),
        base_memory=1500 * 2**20,
        memory=0,
        measured=False,
    ),
}


@dataclass(frozen=True)
class Machine:
    """The machine, as far as routes and estimates depend on it."""

    device: Device
    cores: int
    rates: Rates | None = None

    @property
    def known_rates(self) -> Rates:
        """Measured, or round figures for the kind of device."""
        return self.rates or ROUND_RATES[self.device]


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

STACKED_NORMS = ("instance", "none")
"""Norms of networks that can be trained together: each looks at one channel alone, or at none."""

# Activations that live at once, in those of a forward pass.
HELD_BY_GRADIENT = 2.0
HELD_BY_SECOND_GRADIENT = 5.0
HELD_BY_KEPT_STEP = 2.2

ONE_THREAD_BELOW = 8_000_000
"""Multiply-adds of a batch below which a second thread costs more than it gains, and below which
networks are trained together on a CPU: calls cost more than what they compute."""
MOST_TOGETHER = 5
"""Networks that are trained together; protocols of the field ask for five."""
KEPT_SHARE = 0.35
"""Of the machine's memory, what kept graphs may take."""
TEST_BATCH = 1000


@dataclass(frozen=True)
class Work:
    """Counts of one experiment on one machine."""

    spec: Spec
    facts: DatasetFacts
    """Of the images that the spec asks for."""
    machine: Machine
    stored: int
    """Numbers in all images of the source, which are kept whatever a spec asks for."""

    @cached_property
    def size(self) -> NetworkSize:
        """Of the network that experts and students share."""
        return self.size_of(self.spec.network.name)

    def size_of(self, name: NetworkName | None) -> NetworkSize:
        """Of an evaluation network; None: the one that experts and students share."""
        if name is None:
            return self.size
        facts = self.facts
        net = network_of(name, self.spec.network)
        return network_size(net, facts.channels, facts.height, facts.width, facts.classes)

    @property
    def pixels(self) -> int:
        """Numbers in one image."""
        return self.facts.channels * self.facts.height * self.facts.width

    @property
    def images(self) -> int:
        """Real images that lie in memory."""
        return self.facts.train_count + self.facts.test_count + self.facts.validation_count

    @property
    def tested(self) -> int:
        """Real images that an evaluation is tested on."""
        return self.facts.test_count + self.facts.validation_count

    @property
    def synthetic_images(self) -> int:
        """Images in the synthetic set."""
        return self.spec.synthetic.ipc * self.facts.classes

    @property
    def synthetic_batch(self) -> int:
        """Images per student step."""
        return self.spec.matching.batch_syn or self.synthetic_images

    @property
    def evaluation_batch(self) -> int:
        """Images per training step of an evaluation."""
        return min(self.spec.evaluation.batch_size, self.synthetic_images)

    def route(self, batch: int, name: NetworkName | None = None) -> Route:
        """By rule: the device there is, and threads by the size of a batch."""
        threads = 1 if self.is_small(batch, name) or self.on_gpu else self.machine.cores
        return Route(device=self.machine.device, threads=threads)

    @property
    def on_gpu(self) -> bool:
        """Whether there is one."""
        return self.machine.device == "cuda"

    def is_small(self, batch: int, name: NetworkName | None) -> bool:
        """Whether a batch costs its calls more than its arithmetic."""
        size = self.size_of(name)
        return size.multiply_adds * batch < ONE_THREAD_BELOW

    def evaluation_route(self, name: NetworkName) -> Route:
        """Of training networks on few images: small ones together."""
        batch, net = self.evaluation_batch, network_of(name, self.spec.network)
        stacks = isinstance(net, ConvNet) and net.norm in STACKED_NORMS
        networks = MOST_TOGETHER if stacks and (self.on_gpu or self.is_small(batch, name)) else 1
        return self.route(batch, name).model_copy(update={"networks": networks})

    def distill_route(self) -> Route:
        """Of the outer loop: graphs of all student steps are kept where they fit into memory."""
        activations = self.size.activations * self.synthetic_batch * HELD_BY_KEPT_STEP
        kept = FLOAT * activations * self.spec.matching.syn_steps
        fits = kept <= KEPT_SHARE * self.machine.known_rates.memory
        exact = self.spec.matching.gradient == "exact"
        graph: StudentGraph = "kept" if fits and exact else "recomputed"
        return self.route(self.synthetic_batch).model_copy(update={"student_graph": graph})

    def speed(self, route: Route) -> Speed:
        """Of the machine on that route."""
        rates = self.machine.known_rates
        return rates.one_thread if route.threads == 1 else rates.all_threads

    def passing(
        self, passes: float, batch: int, route: Route, name: NetworkName | None = None
    ) -> float:
        """Seconds of forward passes over a batch."""
        speed, size = self.speed(route), self.size_of(name)
        per_image = 2 * size.multiply_adds / speed.flops
        per_image += FLOAT * size.activations / speed.bandwidth
        return passes * (speed.layer * size.blocks + batch * per_image)

    def training(
        self, steps: float, batch: int, cost: float, name: NetworkName | None = None
    ) -> float:
        """Seconds of steps on augmented batches, each `cost` forward passes dear."""
        route = self.route(batch, name)
        augmenting = AUGMENTATION * FLOAT * self.pixels * batch / self.speed(route).bandwidth
        outside = STEP_OVERHEAD + (augmenting if self.spec.augmentation.families else 0.0)
        size = self.size_of(name)
        if cost > GRADIENT:
            outside += (
                (CALLS_OF_SECOND_DERIVATIVES - 1) * cost * self.speed(route).layer * size.blocks
            )
        return self.passing(steps * cost, batch, route, name) + steps * outside

    def testing(self, times: float, images: int, route: Route, name: NetworkName | None) -> float:
        """Seconds of testing networks on real images."""
        batches = -(-images // TEST_BATCH)
        return self.passing(times * batches, images // max(1, batches), route, name)

    def memory(
        self, batch: int, held: float = 0.0, vectors: int = 6, name: NetworkName | None = None
    ) -> int:
        """Peak: real images as numbers, activations of a batch, parameter vectors."""
        size = self.size_of(name)
        tests = 2 * min(TEST_BATCH, self.tested) * size.widest
        active = max(int(size.activations * batch * held), tests)
        numbers = self.images * self.pixels + active + vectors * size.parameters
        return self.machine.known_rates.base_memory + FLOAT * numbers

    def dataset(self) -> Estimate:
        """Reading and keeping all images of the source as bytes; fitting a whitening."""
        values = self.stored
        route = Route(device=self.machine.device, threads=self.machine.cores)
        matrix = self.pixels**2 if self.spec.dataset.zca else 0
        fitting = matrix * (2.0 * self.images + 30.0 * self.pixels) / self.speed(route).flops
        return Estimate(
            seconds=1.0 + values * 1e-7 + fitting,
            memory_bytes=self.machine.known_rates.base_memory
            + values
            + FLOAT * self.images * self.pixels
            + 3 * 8 * matrix,
            disk_bytes=values + FLOAT * matrix,
        )

    def experts(self, epochs: list[int], snapshots: int | None) -> Estimate:
        """Training; each expert keeps `snapshots` of its epochs, or all of them."""
        batch = min(self.spec.experts.batch_size, self.facts.train_count)
        steps = self.facts.train_count / batch
        cost, held = GRADIENT, HELD_BY_GRADIENT
        if self.spec.experts.smoothing.gradient_penalty is not None:
            cost, held = PENALTY, HELD_BY_SECOND_GRADIENT
        if isinstance(self.spec.experts.optimizer, Gsam):
            cost *= 2
        testing = self.testing(sum(epochs), self.facts.test_count, self.route(batch), None)
        kept = sum(e + 1 if snapshots is None else snapshots for e in epochs)
        return Estimate(
            seconds=self.training(sum(epochs) * steps, batch, cost) + testing,
            memory_bytes=self.memory(batch, held, vectors=6 + max(epochs)),
            disk_bytes=kept * self.size.parameters * FLOAT
            + sum(epochs) * self.size.tensors * 8
            + (len(epochs) * self.size.parameters * FLOAT if snapshots is None else 0),
        )

    def path(self, experts: int) -> Estimate:
        """Testing every epoch of convexified trajectories."""
        epochs, tested = self.spec.experts.epochs + 1, self.facts.test_count
        return Estimate(
            seconds=self.testing(experts * epochs, tested, self.route(tested), None),
            memory_bytes=self.memory(1),
            disk_bytes=experts * (epochs * 8 + FILE_BYTES),
        )

    def initialise(self) -> Estimate:
        """Drawing images, or choosing them by what an expert makes of all."""
        looked_at = self.facts.train_count if self.spec.beginning_needs_experts else 0
        return Estimate(
            seconds=0.1 + self.testing(1, looked_at, self.route(1), None),
            memory_bytes=self.memory(1),
            disk_bytes=self.synthetic_images * self.pixels * FLOAT,
        )

    def distill(self) -> Estimate:
        """Student steps forth and adjoint steps back."""
        matching, batch = self.spec.matching, self.synthetic_batch
        steps = matching.iterations * matching.syn_steps
        kept = len(self.spec.iterates())
        graph = self.distill_route().student_graph
        held = HELD_BY_SECOND_GRADIENT
        if graph == "kept":
            held += HELD_BY_KEPT_STEP * (matching.syn_steps - 1)
        return Estimate(
            seconds=self.training(steps, batch, STUDENT[graph]),
            memory_bytes=self.memory(batch, held, vectors=matching.syn_steps + 6),
            disk_bytes=kept * (2 * self.synthetic_images * self.pixels * FLOAT + FILE_BYTES),
        )

    def full_data(self, full: FullData, name: NetworkName) -> Estimate:
        """Training fresh networks on all real images."""
        batch = min(self.spec.evaluation.batch_size, self.facts.train_count)
        steps = full.epochs * self.facts.train_count / batch
        return self.fresh(full.repeats, steps, batch, name)

    def evaluate(self, sets: int, name: NetworkName) -> Estimate:
        """Training fresh networks on synthetic sets."""
        steps = self.spec.evaluation.epochs * self.synthetic_images / self.evaluation_batch
        networks = sets * self.spec.evaluation.repeats
        found = self.fresh(networks, steps, self.evaluation_batch, name)
        if self.evaluation_route(name).networks > 1:
            found = found.model_copy(update={"seconds": found.seconds * TOGETHER})
        return found.model_copy(update={"disk_bytes": sets * FILE_BYTES})

    def fresh(self, networks: int, steps: float, batch: int, name: NetworkName) -> Estimate:
        """Training fresh networks and testing each."""
        testing = self.testing(networks, self.tested, self.route(batch, name), name)
        return Estimate(
            seconds=self.training(networks * steps, batch, GRADIENT, name) + testing,
            memory_bytes=self.memory(batch, HELD_BY_GRADIENT, name=name),
            disk_bytes=FILE_BYTES,
        )


FILE_BYTES = 8192
"""An artifact that holds next to nothing."""
