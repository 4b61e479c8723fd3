"""The table [trajectory]: the form in which an expert's trajectory is kept and matched."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator

from ddspec.dsl.document import Document
from ddspec.dsl.keys.declare import BTM, DDSPEC, MCT, MTT, by_name_or, key
from ddspec.dsl.spec.experts import Adam, Sgd
from ddspec.dsl.terms import CurveSampling, Sampling, Spacing


class SgdTrajectory(Document):
    """Trajectories as the experts were trained."""

    type: Literal["sgd"] = key(source=MTT)
    """`sgd`: snapshots of the experts as they were trained (MTT); `convex`: straight
    segments between stored waypoints (MCT); `bezier`: a quadratic curve from the
    initialisation to the end, of low loss along its whole length (BTM)."""


class ConvexTrajectory(Document):
    """Trajectories replaced by straight segments between stored waypoints."""

    type: Literal["convex"] = key(source=MCT)
    """Convexified trajectories."""
    waypoints: int = key(2, source=MCT, reading=True, ge=2, le=10_000)
    """Stored models per expert, spread evenly over the epochs: 2 in the paper (both
    ends), 4 in its public code, which treats each segment as a line by itself."""
    neighbour_smoothing: bool = key(False, source=MCT, reading=True)
    """In place of a waypoint, store the mean of the snapshots before and after it; in
    place of the last one, the mean of the last two snapshots, as the public code
    does."""
    spacing: Spacing = key("path", source=MCT, reading=True)
    """How far along its segment an epoch lies: by the path length of the whole
    parameter vector (`path`, the paper's single scalar) or of each parameter tensor
    (`path_per_tensor`, the public code), in equal steps (`uniform`), in shrinking steps
    (`decreasing`), or at the projection of the snapshot onto the segment
    (`projected`)."""
    sampling: Sampling = key("continuous", source=MCT, reading=True)
    """What is drawn uniformly: a start epoch that is a real number (`continuous`) or a
    whole number (`discrete`), or a position on the line (`uniform_lambda`, which only
    `convex` has)."""

    def epochs_of_waypoints(self, epochs: int) -> tuple[int, ...]:
        """Return the epochs of the waypoints: of 4 over 50 epochs, these are 0, 17, 34, 50."""
        segments = self.waypoints - 1
        return tuple(-(-epochs * number // segments) for number in range(segments + 1))


class BezierTrajectory(Document):
    """Trajectories replaced by quadratic Bezier curves between their two ends."""

    type: Literal["bezier"] = key(source=BTM)
    """Quadratic Bezier curves (BTM)."""
    epochs: int = key(5, source=DDSPEC, ge=0, le=100_000)
    """Epochs of training the control point, after the expert is trained. It begins in
    the middle between both ends, where the curve is their straight line; with 0 epochs
    it stays there."""
    optimizer: Annotated[
        Annotated[Sgd | Adam, Discriminator("name")] | None, BeforeValidator(by_name_or("sgd"))
    ] = key(None, source=DDSPEC)
    """The optimiser of the control point. If absent, that of the experts with its first
    learning rate; of `gsam`, the SGD in it."""
    sampling: CurveSampling = key("continuous", source=DDSPEC)
    """What is drawn uniformly: a start epoch that is a real number (`continuous`) or a
    whole number (`discrete`). Epoch e lies at the position e / `experts.epochs` of the
    curve."""


Surrogate = Annotated[ConvexTrajectory | BezierTrajectory, Discriminator("type")]
"""What is matched in place of a trajectory of snapshots: a path between few stored models."""

Trajectory = Annotated[SgdTrajectory | ConvexTrajectory | BezierTrajectory, Discriminator("type")]
