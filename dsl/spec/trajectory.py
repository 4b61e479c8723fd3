"""The table [trajectory]: the form in which an expert's trajectory is kept and matched."""

from typing import Literal

from ddspec.dsl.document import Document
from ddspec.dsl.keys.declare import MCT, MTT, key
from ddspec.dsl.terms import Sampling, Spacing


class SgdTrajectory(Document):
    """Trajectories as the experts were trained."""

    type: Literal["sgd"] = key(source=MTT)
    """`sgd`: snapshots of the experts as they were trained (MTT); `convex`: straight
    segments between stored waypoints (MCT)."""


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
    whole number (`discrete`), or a position on the line (`uniform_lambda`)."""

    def epochs_of_waypoints(self, epochs: int) -> tuple[int, ...]:
        """Return the epochs of the waypoints: of 4 over 50 epochs, these are 0, 17, 34, 50."""
        segments = self.waypoints - 1
        return tuple(-(-epochs * number // segments) for number in range(segments + 1))
