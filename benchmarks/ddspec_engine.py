"""The work of every case done by ddspec's engine, on the route that a plan would take."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.shapes import BATCH, FAMILIES, STUDENT_LR, Shape
from benchmarks.workers import map_in_processes
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.facts.machine import ROUND_RATES, Machine
from ddspec.dsl.parsing.loader import parse_spec
from ddspec.dsl.plan.compiler import compile_spec
from ddspec.dsl.plan.steps import EvaluateStep, ExpertsStep, Plan
from ddspec.dsl.record.series import SERIES
from ddspec.dsl.spec.network import ConvNet
from ddspec.dsl.spec.objectives.performance import Performance
from ddspec.dsl.terms import Device, StudentGraph
from ddspec.engine.control import Control
from ddspec.engine.images.real_data import RealData
from ddspec.engine.machine.environment import usable_cores
from ddspec.engine.machine.memory import total_memory
from ddspec.engine.networks.flat_network import flat_network, initial_parameters
from ddspec.engine.networks.stacked import StackedNetworks
from ddspec.engine.stages.context import StageContext
from ddspec.engine.stages.distill_state import DistillState
from ddspec.engine.stages.objective import IterationEnd, Update
from ddspec.engine.stages.objectives.performance import open_performance
from ddspec.engine.stages.objectives.trajectory import match_student, student_of
from ddspec.engine.stages.outer_step import outer_step
from ddspec.engine.stages.windows import Window
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.store.store import Store
from ddspec.engine.tasks.tasks import network_blocks
from ddspec.engine.training.epoch import (
    EpochSettings,
    LabelledImages,
    cross_entropy_gradient,
    measure_accuracy,
    recorded_gradient,
    train_epoch,
)
from ddspec.engine.training.evaluation_protocols import (
    MeasuredAccuracy,
    NetworkTraining,
    TrainingSet,
    mtt_protocol,
    train_network,
    train_stack,
)
from ddspec.engine.training.optimisers import OptimiserState, SgdOptimiser
from ddspec.engine.training.stacked_epoch import stacked_gradient_fn


def facts_of(shape: Shape) -> DatasetFacts:
    """Return the facts of a dataset of a shape."""
    return DatasetFacts(
        channels=shape.channels,
        height=shape.side,
        width=shape.side,
        class_names=tuple(map(str, range(shape.classes))),
        train_per_class=(5000,) * shape.classes,
        test_per_class=(1000,) * shape.classes,
        mean=(0.5,) * shape.channels,
        std=(0.5,) * shape.channels,
        fingerprint="0" * 32,
    )


def convnet_of(shape: Shape) -> ConvNet:
    """Return the ConvNet of a shape."""
    return ConvNet(depth=shape.depth, width=shape.width)


BENCHMARK_SPEC = """
ddspec = 1
name = "benchmark"
[dataset]
name = "folder"
root = "images"
[synthetic]
student_lr = { init = 0.01, lr = 1e-9 }
images = { lr = 1.0 }
"""


def plan_of(shape: Shape, ipc: int, steps: int, device: torch.device) -> Plan:
    """Return the plan of a distillation of such images."""
    options = (
        f"network.depth={shape.depth}",
        f"network.width={shape.width}",
        f"synthetic.ipc={ipc}",
        f"matching.syn_steps={steps}",
    )
    return plan_of_spec(shape, options, device)


def plan_of_spec(shape: Shape, options: Sequence[str], device: torch.device) -> Plan:
    """Return the plan of a spec with these settings."""
    spec = parse_spec(BENCHMARK_SPEC, "benchmark.toml", options).spec
    kind: Device = "cuda" if device.type == "cuda" else "cpu"
    rates = ROUND_RATES[kind].model_copy(update={"memory": total_memory(device)})
    return compile_spec(spec, facts_of(shape), Machine(kind, usable_cores(), rates))


REAL_IMAGES = 1024
"""Real images on which the loss of a student is taken."""


class EngineDistillation:
    """The outer loop of the engine on a given route."""

    def __init__(
        self,
        shape: Shape,
        ipc: int,
        steps: int,
        device: torch.device,
        graph: StudentGraph,
        keep_every: int = 1,
    ) -> None:
        count = ipc * shape.classes
        step = plan_of(shape, ipc, steps, device).distill
        kept = {"student_graph": graph, "keep_every": keep_every}
        route = step.route.model_copy(update=kept)
        self.step = step.model_copy(update={"route": route})
        self.net = flat_network(convnet_of(shape), facts_of(shape))
        self.student = student_of(self.net, self.step)
        start = initial_parameters(convnet_of(shape), facts_of(shape), 0, "benchmark").to(device)
        wave = torch.sin(torch.arange(len(start), device=device, dtype=torch.float32))
        self.window = Window(0, 0.0, start, start + 0.01 * wave)
        self.state = first_state(shape.images(count), shape.labels(count), device)

    def iteration(self) -> None:
        """Update the images and the student's learning rate once."""

        def objective(state: DistillState, update: Update) -> IterationEnd:
            measured = match_student(state, self.step, self.window, self.net, self.student)
            return IterationEnd(update(state, measured))

        self.state = outer_step(self.state, self.step, objective)


class EnginePerformance:
    """The outer loop of performance on a batch of random real images."""

    def __init__(
        self, shape: Shape, window: int, student: str, keep_every: int, device: torch.device
    ) -> None:
        options = (
            f"network.depth={shape.depth}",
            f"network.width={shape.width}",
            "synthetic={ipc=1, images={lr=0.001, optimizer='adam'}}",
            f"matching={{objective='performance', window={window}, real_images={REAL_IMAGES}, "
            f"student_optimizer='{student}'}}",
            "evaluation.lr=0.01",
        )
        step = plan_of_spec(shape, options, device).distill
        kept = {"student_graph": "recomputed", "keep_every": keep_every}
        self.step = step.model_copy(update={"route": step.route.model_copy(update=kept)})
        images, labels = shape.images(REAL_IMAGES).to(device), shape.labels(REAL_IMAGES).to(device)
        none = images[:0], labels[:0]
        real = RealData(images, labels, *none, *none)
        context = StageContext(facts_of(shape), real, Store(Path("unused")), Control())
        assert isinstance(self.step.matching, Performance)
        opened = open_performance(self.step, self.step.matching, context)
        self.objective = opened.__enter__()  # Never left: it holds nothing open on a CPU.
        self.state = first_state(shape.images(shape.classes), shape.labels(shape.classes), device)

    def iteration(self) -> None:
        """Update the images once."""
        self.state = outer_step(self.state, self.step, self.objective)


def first_state(images: Tensor, labels: Tensor, device: torch.device) -> DistillState:
    """Return the state before the first iteration."""
    return DistillState(
        images=OptimiserState.without_memory(images.to(device)),
        average=None,
        labels=labels.to(device),
        learned_labels=None,
        student_lr=OptimiserState.without_memory(torch.tensor(STUDENT_LR, device=device)),
        iteration=0,
        series={name: () for name in SERIES},
        carried={},
        made=Provenance(),
    )


def experts_step(shape: Shape, device: torch.device) -> ExpertsStep:
    """Return the step in which a plan trains experts on such images."""
    step = plan_of(shape, 1, 1, device).only(ExpertsStep)
    return step


def evaluation_step(shape: Shape, ipc: int, device: torch.device) -> EvaluateStep:
    """Return the step in which a plan evaluates sets of such images."""
    step = plan_of(shape, ipc, 1, device).evaluations("distilled")[0]
    return step


def train_engine_experts(
    shape: Shape, images: Tensor, labels: Tensor, experts: int, epochs: int
) -> list[Tensor]:
    """Train experts as the engine does; return their last parameters."""
    net, step = flat_network(convnet_of(shape), facts_of(shape)), experts_step(shape, images.device)

    def trained(index: int, control: Control) -> Tensor:
        theta = initial_parameters(convnet_of(shape), facts_of(shape), index, "benchmark")
        at = OptimiserState.without_memory(theta.to(images.device))
        generator = torch.Generator().manual_seed(index)
        gradient_fn = recorded_gradient(cross_entropy_gradient(net), step.route.recorded)
        for _ in range(epochs):
            result = train_epoch(
                gradient_fn,
                at,
                LabelledImages(images, labels),
                EpochSettings(BATCH, SgdOptimiser(STUDENT_LR), FAMILIES),
                generator,
            )
            at = result.end
        return at.value.cpu()

    return map_in_processes(trained, range(experts), step.processes)


def evaluate_engine_networks(
    shape: Shape,
    training: tuple[Tensor, Tensor],
    tested: tuple[Tensor, Tensor],
    nets: int,
    epochs: int,
) -> list[float]:
    """Train and test fresh networks as the engine does: small ones in stacks."""
    form, facts = convnet_of(shape), facts_of(shape)
    net, device = flat_network(form, facts), training[0].device
    step = evaluation_step(shape, len(training[0]) // shape.classes, device)
    training_set, recipe = (
        TrainingSet(*training, STUDENT_LR),
        partial(mtt_protocol, epochs, STUDENT_LR),
    )
    recorded = step.route.recorded
    stacked_gradients = (
        stacked_gradient_fn(StackedNetworks(net, form), recorded)
        if step.route.networks > 1
        else None
    )
    gradient_fn = recorded_gradient(cross_entropy_gradient(net), recorded)

    def scored(theta: Tensor) -> MeasuredAccuracy:
        return MeasuredAccuracy(measure_accuracy(net, theta, *tested), None)

    def trained(block: tuple[int, int], control: Control) -> list[float]:
        numbers = range(*block)
        thetas = [initial_parameters(form, facts, index, "benchmark") for index in numbers]
        generators = [torch.Generator().manual_seed(index) for index in numbers]
        training = NetworkTraining(recipe(), BATCH, FAMILIES, scored)
        if stacked_gradients is not None:
            together = torch.stack(thetas).to(device)
            ends = train_stack(
                training, stacked_gradients, together, [training_set] * len(numbers), generators
            )
        else:
            start = thetas[0].to(device)
            ends = [train_network(training, gradient_fn, start, training_set, generators[0])]
        return [best.accuracy for _, best in ends]

    blocks = list(network_blocks(0, nets, step.route.networks))
    trained_blocks = map_in_processes(trained, blocks, step.processes)
    return [accuracy for block in trained_blocks for accuracy in block]
