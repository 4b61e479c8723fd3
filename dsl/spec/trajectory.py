"""The table [trajectory]: what of an expert's way is kept and matched."""

from typing import Literal

from ddspec.dsl.document import Document
from ddspec.dsl.spec.declare import MCT, MTT, key
from ddspec.dsl.terms import Sampling, Spacing


class SgdTrajectory(Document):
    """Trajectories as the experts ran them."""

    type: Literal["sgd"] = key(source=MTT)
    """`sgd`: snapshots of the experts as they ran (MTT); `convex`: straight segments between stored
    waypoints (MCT)."""


class ConvexTrajectory(Document):
    """Trajectories replaced by the straight path between stored waypoints."""

    type: Literal["convex"] = key(source=MCT)
    """Convexified trajectories."""
    waypoints: int = key(2, source=MCT, reading=True, ge=2, le=10_000)
    """Stored models per expert, evenly spread over the epochs: 2 in the paper (both ends), 4 in
    its public code, which then runs along each segment anew."""
    neighbour_smoothing: bool = key(False, source=MCT, reading=True)
    """Store the mean of the snapshots before and after a waypoint in its place, and for the last
    one the mean of the last two, as the public code does."""
    spacing: Spacing = key("path", source=MCT, reading=True)
    """How far along a segment an epoch lies: by the path length of the whole vector (`path`, the
    paper's one scalar) or of each parameter tensor (`path_per_tensor`, the public code), by equal
    steps (`uniform`), by shrinking steps (`decreasing`), or where the snapshot projects onto the
    segment (`projected`)."""
    sampling: Sampling = key("continuous", source=MCT, reading=True)
    """Start epochs are real numbers (`continuous`) or whole ones (`discrete`); or the place on the
    line is drawn uniformly (`uniform_lambda`)."""

    def epochs_of_waypoints(self, epochs: int) -> tuple[int, ...]:
        """Epochs whose snapshots are the waypoints: of 4 over 50 epochs 0, 17, 34, 50."""
        segments = self.waypoints - 1
        return tuple(-(-epochs * number // segments) for number in range(segments + 1))
