"""Windows for matching: a start on an expert's trajectory and its target some epochs later."""

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import TypeVar, assert_never

import h5py
import torch
from jaxtyping import Float
from torch import Tensor

from ddspec.dsl.plan.steps import DistillStep, ExpertsStep, TrajectoryStep
from ddspec.dsl.spec.objectives.trajectory import (
    GrowingStarts,
    NearPrevious,
    TrajectoryMatching,
    UniformStarts,
)
from ddspec.dsl.spec.trajectory import BezierTrajectory, ConvexTrajectory, SgdTrajectory
from ddspec.engine.matching.bezier_curve import BezierCurve
from ddspec.engine.matching.convex_path import EpochMap, interpolate_segment
from ddspec.engine.networks.flat_network import FlatNetwork
from ddspec.engine.numerics.seeds import random_stream
from ddspec.engine.stages.context import StageContext
from ddspec.engine.store.store import damaged_artifact
from ddspec.engine.store.trajectory_file import read_end, trajectory_digest, trajectory_kind


@dataclass(frozen=True)
class Window:
    """Start and target on one expert's trajectory."""

    expert: int
    epoch: float
    start: Float[Tensor, " p"]
    target: Float[Tensor, " p"]
    between: tuple[Float[Tensor, " p"], ...] = ()
    """The expert after each whole epoch between them, if intermediate matching asks for it."""

    def to(self, device: torch.device) -> "Window":
        """Return the window on a device."""
        between = tuple(parameters.to(device) for parameters in self.between)
        start, target = self.start.to(device), self.target.to(device)
        return replace(self, start=start, target=target, between=between)


@dataclass(frozen=True)
class StartRange:
    """The bounds between which a start epoch is drawn."""

    low: float
    high: float
    closed: bool = False
    """Whether the upper bound itself may be drawn; MTT's code excludes it."""

    def whole(self) -> tuple[int, int]:
        """Return the bounds for whole epochs, exclusive above, with at least one epoch."""
        low = math.ceil(self.low)
        high = math.floor(self.high) + 1 if self.closed else math.ceil(self.high)
        return low, max(low + 1, high)


def start_range_of(
    matching: TrajectoryMatching, iteration: int, previous: float | None
) -> StartRange:
    """Return the range of an iteration's start; `previous` is the start of the iteration before."""
    low, high = float(matching.min_start_epoch), float(matching.max_start_epoch)
    match matching.start_range:
        case UniformStarts():
            return StartRange(low, high)
        case NearPrevious(reach=reach):
            if previous is None:
                return StartRange(low, high)
            upper = previous + reach
            return StartRange(max(low, previous - reach), min(high, upper), closed=upper < high)
        case GrowingStarts(first_bound=first, iterations=iterations):
            # In whole epochs, as in DATM's public code.
            grown = first + int((high - first) * iteration / iterations)
            return StartRange(low, min(high, float(grown)))
        case _:
            assert_never(matching.start_range)


Result = TypeVar("Result")

CPU = torch.device("cpu")
MOST_OPEN = 256
"""Trajectories whose files are open at once; systems allow about a thousand."""


@dataclass
class Windows:
    """Draws the window of each iteration, reading only the rows that it needs.

    One thread does all reading and fetches the next window while the current one is matched. It
    never touches a GPU, because CUDA graphs may be recorded at the same time.
    """

    step: DistillStep
    source: ExpertsStep | TrajectoryStep
    net: FlatNetwork
    context: StageContext
    files: dict[int, h5py.File] = field(default_factory=dict)
    reader: ThreadPoolExecutor = field(default_factory=partial(ThreadPoolExecutor, max_workers=1))
    coming: dict[tuple[int, float | None], Future[Window]] = field(default_factory=dict)
    """The window being read ahead, by its iteration and the start of the iteration before."""

    def __enter__(self) -> "Windows":
        return self

    def __exit__(self, *error: object) -> None:
        self.reader.shutdown()
        for file in self.files.values():
            file.close()

    def file(self, expert: int) -> h5py.File:
        """Return the open artifact of an expert's trajectory."""
        if expert not in self.files:
            if len(self.files) >= MOST_OPEN:
                # The file that was opened first.
                self.files.pop(next(iter(self.files))).close()
            kind = trajectory_kind(self.source)
            digest = self.source.members[expert].digest
            self.files[expert] = self.context.store.reader(kind, digest)
        return self.files[expert]

    def take(self, iteration: int, previous: float | None) -> Window:
        """Return the window of an iteration, and start to read the next one."""
        wanted = (iteration, previous)
        # A resumed run has nothing read ahead, and draws the same window at once.
        future = self.coming.pop(wanted, None) or self.reader.submit(self.draw, *wanted)
        window = future.result()
        following = (iteration + 1, window.epoch)
        self.coming = {following: self.reader.submit(self.draw, *following)}
        return window.to(self.context.device)

    def draw(self, iteration: int, previous: float | None) -> Window:
        """Return the window of an iteration, on the CPU.

        Experts come in shuffled rounds, starts from the iteration's range.
        """
        matching = self.step.trajectory_matching
        expert = expert_of_iteration(self.step.seed, self.step.expert_count, iteration)
        bounds = start_range_of(matching, iteration, previous)
        # Epochs between start and target whose snapshots are matched too.
        inner = range(1, int(matching.expert_epochs)) if matching.intermediate else range(0)
        match self.step.trajectory:
            case SgdTrajectory():
                first = draw_epoch(bounds, self.start_generator(iteration))
                ahead = [*inner, int(matching.expert_epochs)]
                points = [self.snapshot(expert, first + epochs) for epochs in (0, *ahead)]
                return Window(expert, float(first), points[0], points[-1], tuple(points[1:-1]))
            case ConvexTrajectory() | BezierTrajectory():
                start, points = self.points(expert, self.step.trajectory, bounds, inner, iteration)
                return Window(expert, start, points[0], points[-1], tuple(points[1:-1]))
            case _:
                assert_never(self.step.trajectory)

    def start_generator(self, iteration: int) -> torch.Generator:
        """Return the random stream from which the start of an iteration is drawn."""
        return random_stream(self.step.seed, "distill", iteration, "start")

    def reread(self, expert: int, read: Callable[[h5py.File], Result]) -> Result:
        """Return what `read` gives of an expert's trajectory, opening its file again if it fails.

        A longer run may have replaced the file, which a network file system then takes away from
        under its readers. Raises StoreError if the file cannot be read at the second attempt.
        """
        try:
            return read(self.file(expert))
        except (KeyError, OSError):
            self.files.pop(expert).close()
        try:
            return read(self.file(expert))
        except (KeyError, OSError) as error:
            store, kind = self.context.store, trajectory_kind(self.source)
            digest = self.source.members[expert].digest
            if isinstance(error, KeyError):
                raise damaged_artifact(store.path(kind, digest), "is corrupt inside") from error
            raise store.second_look(kind, digest) from error

    def snapshot(self, expert: int, epoch: int) -> Tensor:
        """Return the expert after that epoch; raise StoreError if its file is damaged."""
        return torch.from_numpy(self.reread(expert, lambda file: file["theta"][epoch]))

    def points(
        self,
        expert: int,
        trajectory: ConvexTrajectory | BezierTrajectory,
        bounds: StartRange,
        inner: range,
        iteration: int,
    ) -> tuple[float, list[Tensor]]:
        """Draw a start on the path of an expert; return it with the points up to the target.

        Raises StoreError if the file is damaged.
        """

        def read(file: h5py.File) -> tuple[float, list[Tensor]]:
            # Drawn within, so that a second attempt draws the same start.
            generator = self.start_generator(iteration)
            path = path_in(file, trajectory, self.step.expert_epochs, self.net.sizes, CPU)
            start = draw_path_start(path, trajectory, bounds, generator)
            ahead = (0, *inner, self.step.trajectory_matching.expert_epochs)
            return start, [path.at(start + epochs) for epochs in ahead]

        return self.reread(expert, read)


@dataclass(frozen=True)
class ConvexLine:
    """A convexified trajectory: its waypoints, and the position of every epoch between them.

    A waypoint is read from the file when a point next to it is asked for, and only once.
    """

    waypoint: Callable[[int], Float[Tensor, " p"]]
    epochs: EpochMap
    sizes: tuple[int, ...]

    @classmethod
    def of(
        cls,
        file: h5py.File,
        trajectory: ConvexTrajectory,
        epochs: int,
        sizes: tuple[int, ...],
        device: torch.device,
    ) -> "ConvexLine":
        """Return the line in the artifact of a trajectory that has `epochs` epochs."""
        projected = None
        if trajectory.spacing == "projected":
            projected = torch.from_numpy(file["projection"][()])
        epoch_map = EpochMap.of(
            torch.from_numpy(file["step_length"][()]),
            trajectory.epochs_of_waypoints(epochs),
            trajectory.spacing,
            projected,
        )
        rows = file["theta"]
        return cls(cache(lambda row: torch.from_numpy(rows[row]).to(device)), epoch_map, sizes)

    def at(self, epoch: float) -> Float[Tensor, " p"]:
        """Return the parameters at a real-valued epoch; past the end, those at the end."""
        segment, fraction = self.epochs.position(epoch)
        start, end = self.waypoint(segment), self.waypoint(segment + 1)
        return interpolate_segment(start, end, fraction.to(start.device), self.sizes)


@dataclass(frozen=True)
class CurveByEpoch:
    """A Bezier curve on which the epochs of the expert lie in equal steps."""

    curve: BezierCurve
    epochs: int

    def at(self, epoch: float) -> Float[Tensor, " p"]:
        """Return the parameters at a real-valued epoch; past the end, those at the end."""
        return self.curve.at(min(epoch / self.epochs, 1.0))


ExpertPath = ConvexLine | CurveByEpoch
"""A path between few models in place of an expert's trajectory: parameters by epoch."""


def path_in(
    file: h5py.File,
    trajectory: ConvexTrajectory | BezierTrajectory,
    epochs: int,
    sizes: tuple[int, ...],
    device: torch.device,
) -> ExpertPath:
    """Return the path in the artifact of a trajectory that has `epochs` epochs."""
    match trajectory:
        case ConvexTrajectory():
            return ConvexLine.of(file, trajectory, epochs, sizes, device)
        case BezierTrajectory():
            rows = (torch.from_numpy(file["theta"][row]).to(device) for row in range(3))
            return CurveByEpoch(BezierCurve(*rows), epochs)
        case _:
            assert_never(trajectory)


def draw_epoch(bounds: StartRange, generator: torch.Generator) -> int:
    """Draw a whole start epoch."""
    low, high = bounds.whole()
    return int(torch.randint(low, high, (), generator=generator))


def draw_path_start(
    path: ExpertPath,
    trajectory: ConvexTrajectory | BezierTrajectory,
    bounds: StartRange,
    generator: torch.Generator,
) -> float:
    """Draw a start epoch on the path of an expert."""
    match trajectory.sampling:
        case "continuous":
            return bounds.low + (bounds.high - bounds.low) * draw_share(generator)
        case "discrete":
            return float(draw_epoch(bounds, generator))
        case "uniform_lambda":
            assert isinstance(path, ConvexLine)  # the language has it for no other path
            return path.epochs.epoch_between(bounds.low, bounds.high, draw_share(generator))
        case _:
            assert_never(trajectory.sampling)


def draw_share(generator: torch.Generator) -> float:
    """Draw a uniform number in [0, 1)."""
    return float(torch.rand((), generator=generator, dtype=torch.float64))


def expert_of_iteration(seed: int, count: int, iteration: int) -> int:
    """Return the expert of an iteration: each once per round, reshuffled per round as in MTT."""
    # Computed again for each iteration, so that no round needs a state to be saved.
    order = torch.randperm(
        count, generator=random_stream(seed, "distill", "round", iteration // count)
    )
    return int(order[iteration % count])


def final_parameters(
    source: ExpertsStep | TrajectoryStep, index: int, context: StageContext
) -> Tensor:
    """Return an expert after its last epoch, from either kind of trajectory."""
    with context.store.open(trajectory_kind(source), trajectory_digest(source, index)) as file:
        return torch.from_numpy(read_end(file, source)).to(context.device)
