"""Windows for matching: where a student starts, and where the expert was some epochs later."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, assert_never

import h5py
import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ddspec.dsl.plan import DistillStep, ExpertsStep, TrajectoryStep
from ddspec.dsl.spec import ConvexTrajectory, SgdTrajectory
from ddspec.dsl.terms import Sampling
from ddspec.engine.bench import Bench
from ddspec.engine.convex import at_epoch, fractions, point
from ddspec.engine.networks import FlatNetwork
from ddspec.engine.seeds import stream
from ddspec.engine.store import ArtifactKind, damaged


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
        generator = stream(self.step.seed, "distill", iteration, "start")
        match self.step.trajectory:
            case SgdTrajectory():
                return self.between_snapshots(expert, generator)
            case ConvexTrajectory():
                return self.along_the_line(expert, self.step.trajectory, generator)
            case _:
                assert_never(self.step.trajectory)

    def between_snapshots(self, expert: int, generator: torch.Generator) -> Window:
        """A whole start epoch in [min_start_epoch, max_start_epoch)."""
        matching = self.step.matching
        low, high = matching.min_start_epoch, matching.max_start_epoch
        first = int(torch.randint(low, high, (), generator=generator))
        last = first + int(matching.expert_epochs)
        start, target = (self.tensor(self.read(expert, "theta", row)) for row in (first, last))
        return Window(expert, float(first), start, target)

    def along_the_line(
        self, expert: int, trajectory: ConvexTrajectory, generator: torch.Generator
    ) -> Window:
        """A start between the bounds; a target past the end is taken at the end."""
        matching = self.step.matching
        low, high = matching.min_start_epoch, matching.max_start_epoch
        first = sampled_epoch(trajectory.sampling, low, high, generator)
        last = min(first + matching.expert_epochs, float(self.step.expert_epochs))
        lengths = torch.from_numpy(self.read(expert, "step_length", slice(None)))
        table = fractions(lengths, trajectory.spacing)
        ends = [self.tensor(self.read(expert, "theta", row)) for row in (0, 1)]
        places = [at_epoch(table, epoch).to(self.bench.device) for epoch in (first, last)]
        start, target = (point(ends[0], ends[1], place, self.net.sizes) for place in places)
        return Window(expert, first, start, target)

    def read(self, expert: int, key: str, rows: int | slice) -> NDArray[Any]:
        """Rows of an expert's trajectory; raises StoreError where they are damaged."""
        file = self.file(expert)
        try:
            return np.asarray(file[key][rows])
        except (KeyError, OSError) as error:
            raise damaged(Path(file.filename), "is corrupt inside") from error

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
