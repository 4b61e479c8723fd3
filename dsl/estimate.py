"""What a step will cost, by counting operations, and the route by which it is computed.

Rough by design: rates are round figures for a kind of device, not a measurement of this one.
"""

from dataclasses import dataclass
from functools import cached_property

from ddspec.dsl.datasets import DatasetFacts
from ddspec.dsl.experts_table import Gsam
from ddspec.dsl.plan import Estimate, Route
from ddspec.dsl.sizes import NetworkSize, network_size
from ddspec.dsl.spec import FullData, Spec, network_of
from ddspec.dsl.terms import Device, NetworkName

FLOAT = 4
BASE_MEMORY = 600 * 2**20
"""Bytes of Python, torch and its libraries before any work."""


@dataclass(frozen=True)
class Machine:
    """The kind of machine, as far as routes and estimates depend on it."""

    device: Device
    cores: int


@dataclass(frozen=True)
class Rates:
    """Round figures for a kind of device."""

    flops: float
    """Floating-point operations per second, per thread on a CPU."""
    overhead: float
    """Seconds per block of the network and pass, whatever the batch."""


RATES: dict[Device, Rates] = {"cpu": Rates(25e9, 3e-4), "cuda": Rates(2e13, 2e-4)}

GRADIENT = 3.0
"""Cost of a gradient in forward passes."""
PENALTY = 4.5
"""Cost of a gradient with a gradient penalty, in plain gradients."""
ADJOINT = 10.0
"""Cost of an adjoint step in forward passes: the gradient again and its derivative."""

ONE_THREAD_BELOW = 8_000_000
"""Multiply-adds of a batch below which a second thread costs more than it gains."""


@dataclass(frozen=True)
class Work:
    """Counts of one experiment on one machine."""

    spec: Spec
    facts: DatasetFacts
    machine: Machine

    @cached_property
    def size(self) -> NetworkSize:
        """Of the network that experts and students share."""
        return self.size_of(self.spec.network.name)

    def size_of(self, name: NetworkName) -> NetworkSize:
        """Of an evaluation network."""
        facts = self.facts
        net = network_of(name, self.spec.network)
        return network_size(net, facts.channels, facts.height, facts.width, facts.classes)

    @property
    def pixels(self) -> int:
        """Numbers in one image."""
        return self.facts.channels * self.facts.height * self.facts.width

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
        size = self.size_of(name) if name else self.size
        small = size.multiply_adds * batch < ONE_THREAD_BELOW
        threads = 1 if small or self.machine.device == "cuda" else self.machine.cores
        return Route(device=self.machine.device, threads=threads)

    def seconds(
        self, passes: float, batch: int, cost: float, name: NetworkName | None = None
    ) -> float:
        """Of a number of passes over a batch, each `cost` forward passes dear."""
        rates = RATES[self.machine.device]
        size = self.size_of(name) if name else self.size
        flops = 2.0 * size.multiply_adds * batch * cost
        overhead = rates.overhead * size.blocks * cost / GRADIENT
        return passes * (overhead + flops / (rates.flops * self.route(batch, name).threads))

    def memory(
        self,
        batch: int,
        cost: float = 1.0,
        vectors: int = 4,
        name: NetworkName | None = None,
    ) -> int:
        """Peak: images as numbers, activations of a batch, parameter vectors."""
        images = (self.facts.train_count + self.facts.test_count) * self.pixels
        size = self.size_of(name) if name else self.size
        active = int(size.activations * batch * cost)
        return BASE_MEMORY + FLOAT * (images + active + vectors * size.parameters)

    def dataset(self) -> Estimate:
        """Reading and keeping the images as bytes."""
        images = self.facts.train_count + self.facts.test_count
        return Estimate(
            seconds=1.0 + images * 3e-4,
            memory_bytes=BASE_MEMORY + images * self.pixels * 2,
            disk_bytes=images * (self.pixels + 1),
        )

    def experts(self, epochs: list[int], snapshots: int | None) -> Estimate:
        """Training; each expert keeps `snapshots` of its epochs, or all of them."""
        batch = self.spec.experts.batch_size
        steps = -(-self.facts.train_count // batch)
        cost = GRADIENT
        if self.spec.experts.smoothing.gradient_penalty is not None:
            cost *= PENALTY
        if isinstance(self.spec.experts.optimizer, Gsam):
            cost *= 2
        training = self.seconds(sum(epochs) * steps, batch, cost)
        testing = self.seconds(sum(epochs) * self.facts.test_count / batch, batch, 1.0)
        kept = sum(e + 1 if snapshots is None else snapshots for e in epochs)
        return Estimate(
            seconds=training + testing,
            memory_bytes=self.memory(batch, vectors=4 + max(epochs)),
            disk_bytes=kept * self.size.parameters * FLOAT
            + sum(epochs) * self.size.tensors * 8
            + len(epochs) * 2 * self.size.parameters * FLOAT,
        )

    def path(self, experts: int) -> Estimate:
        """Testing every epoch of convexified trajectories."""
        epochs, batch = self.spec.experts.epochs + 1, self.facts.test_count
        return Estimate(
            seconds=self.seconds(experts * epochs, batch, 1.0),
            memory_bytes=self.memory(min(batch, 1000)),
            disk_bytes=experts * epochs * 8,
        )

    def initialise(self) -> Estimate:
        """Drawing images, or choosing them by what an expert makes of all."""
        looked_at = self.facts.train_count if self.spec.beginning_needs_experts else 0
        return Estimate(
            seconds=0.1 + self.seconds(1, looked_at, 1.0),
            memory_bytes=self.memory(1),
            disk_bytes=self.synthetic_images * self.pixels * FLOAT,
        )

    def distill(self) -> Estimate:
        """Student steps forth and adjoint steps back."""
        matching, batch = self.spec.matching, self.synthetic_batch
        passes = matching.iterations * matching.syn_steps
        kept = len(self.spec.iterates())
        return Estimate(
            seconds=self.seconds(passes, batch, GRADIENT + ADJOINT),
            memory_bytes=self.memory(batch, cost=3.0, vectors=matching.syn_steps + 6),
            disk_bytes=kept * 2 * self.synthetic_images * self.pixels * FLOAT,
        )

    def full_data(self, full: FullData, name: NetworkName) -> Estimate:
        """Training fresh networks on all real images."""
        batch = min(self.spec.evaluation.batch_size, self.facts.train_count)
        steps = full.epochs * -(-self.facts.train_count // batch)
        return Estimate(
            seconds=self.seconds(full.repeats * steps, batch, GRADIENT, name),
            memory_bytes=self.memory(batch, name=name),
            disk_bytes=8192,
        )

    def evaluate(self, sets: int, name: NetworkName) -> Estimate:
        """Training fresh networks on synthetic sets."""
        evaluation, batch = self.spec.evaluation, self.evaluation_batch
        steps = evaluation.epochs * -(-self.synthetic_images // batch)
        return Estimate(
            seconds=self.seconds(sets * evaluation.repeats * steps, batch, GRADIENT, name),
            memory_bytes=self.memory(batch, name=name),
            disk_bytes=sets * 8192,
        )
