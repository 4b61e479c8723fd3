"""Quadratic Bezier curves between the two ends of an expert's trajectory.

BTM (arXiv:2510.05805) replaces a trajectory by the curve

    theta(t) = (1 - t)^2 start + 2 t (1 - t) control + t^2 end

from the initialisation to the last snapshot. The control point is trained to lower the mean loss
along the curve.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class BezierCurve:
    """A quadratic curve through parameter space, from its start to its end."""

    start: Float[Tensor, " p"]
    control: Float[Tensor, " p"]
    """Pulls the curve towards itself; the curve does not pass through it."""
    end: Float[Tensor, " p"]

    def at(self, position: float) -> Float[Tensor, " p"]:
        """Return the parameters at a position from 0, the start, to 1, the end."""
        rest = 1 - position
        return (
            rest**2 * self.start
            + share_of_control(position) * self.control
            + (position**2 * self.end)
        )


def share_of_control(position: float) -> float:
    """Return 2 t (1 - t): the share of the control point, and the derivative of the curve by it."""
    return 2 * position * (1 - position)


def straight_control(start: Float[Tensor, " p"], end: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
    """Return the control point in the middle, with which the curve is the straight line."""
    return (start + end) / 2
