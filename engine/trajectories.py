"""Windows for matching: where a student starts, and where the expert was some epochs later."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import assert_never

import h5py
import torch
from jaxtyping import Float
from torch import Tensor

from ddspec.dsl.plan import DistillStep, ExpertsStep, TrajectoryStep
from ddspec.dsl.spec import ConvexTrajectory, SgdTrajectory
from ddspec.dsl.terms import Sampling
from ddspec.engine.bench import Bench
from ddspec.engine.convex import at_epoch, fractions, point
from ddspec.engine.networks import FlatNetwork
from ddspec.engine.seeds import stream
from ddspec.engine.store import ArtifactKind


@dataclass(frozen=True)
class Window:
    """Start and target on one expert's trajectory."""

    expert: int
    epoch: float
    start: Float[Tensor, " p"]
    target: Float[Tensor, " p"]


@dataclass
class Windows:
    """Draws windows by iteration, reading two rows of one file for each."""

    step: DistillStep
    source: ExpertsStep | TrajectoryStep
    net: FlatNetwork
    bench: Bench
    files: dict[int, h5py.File] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> "Windows":
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def file(self, expert: int) -> h5py.File:
        """The open artifact of an expert's trajectory."""
        if expert not in self.files:
            kind: ArtifactKind = "trajectory"
            if isinstance(self.source, ExpertsStep):
                kind = "expert"
            file = self.bench.store.reader(kind, self.source.members[expert].digest)
            self.files[expert] = self.stack.enter_context(file)
        return self.files[expert]

    def draw(self, iteration: int) -> Window:
        """The window of an iteration: experts in shuffled rounds, starts uniformly."""
        expert = shuffled_round(self.step.seed, self.step.expert_count, iteration)
        matching = self.step.matching
        low, high = matching.min_start_epoch, matching.max_start_epoch
        generator = stream(self.step.seed, "distill", iteration, "start")
        match self.step.trajectory:
            case SgdTrajectory():
                first = int(torch.randint(low, high, (), generator=generator))
                rows = self.file(expert)["theta"]
                start, target = rows[first], rows[first + int(matching.expert_epochs)]
                return Window(expert, float(first), self.tensor(start), self.tensor(target))
            case ConvexTrajectory(spacing=spacing, sampling=sampling):
                epoch = sampled_epoch(sampling, low, high, generator)
                file = self.file(expert)
                table = fractions(torch.from_numpy(file["step_length"][()]), spacing)
                ends = self.tensor(file["theta"][0]), self.tensor(file["theta"][1])
                target_epoch = min(epoch + matching.expert_epochs, self.step.expert_epochs)
                start, target = (
                    point(*ends, at_epoch(table, at).to(self.bench.device), self.net.sizes)
                    for at in (epoch, target_epoch)
                )
                return Window(expert, epoch, start, target)
            case _:
                assert_never(self.step.trajectory)

    def tensor(self, row: object) -> Tensor:
        """A stored vector on the device."""
        return torch.as_tensor(row, device=self.bench.device)


def sampled_epoch(sampling: Sampling, low: int, high: int, generator: torch.Generator) -> float:
    """A start on a convexified trajectory, in [low, high)."""
    match sampling:
        case "continuous":
            return low + (high - low) * float(
                torch.rand((), generator=generator, dtype=torch.float64)
            )
        case _:
            assert_never(sampling)


def shuffled_round(seed: int, count: int, iteration: int) -> int:
    """Every expert once per round, in an order of its own for each round, as in MTT's code."""
    order = torch.randperm(count, generator=stream(seed, "distill", "round", iteration // count))
    return int(order[iteration % count])
